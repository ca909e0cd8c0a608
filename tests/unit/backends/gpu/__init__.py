"""Tests of the GPU backend, by subject."""
