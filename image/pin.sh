#!/usr/bin/env bash
# Writes the pins of the image anew, with the newest versions that pyproject.toml allows. Needs uv; --upgrade goes to it.
set -euo pipefail
cd "$(dirname "$0")/.."
pin() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@"; }
pin image/build-requirements.in --output-file image/build-requirements.txt "$@"
# What rich and dateutil import only for Markdown, source code and names of time zones, which we never show or read,
# and what is for another system.
left_out=(httpx2-jsfetch markdown-it-py mdurl pygments tzdata win-inet-pton)
pin pyproject.toml "${left_out[@]/#/--no-emit-package=}" --output-file image/requirements.txt "$@"
