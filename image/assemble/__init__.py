"""Puts the image's file system together: the Python of a base, the agent, what both need, and nothing else.

Nothing of the base is executed, so the image may be for another architecture than the build.
Runs in the build stage of the Containerfile: `python3 -m assemble --help`.
"""
