#!/usr/bin/env bash
# Builds the judge of NFD rules, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Nothing is built when a folder for the same pins is there.
set -euo pipefail
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh main.go | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/nfd-$pins
if [ ! -x "$cache/nfd" ] || [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    go build -trimpath -ldflags "-s -w" -o "$cache/" . >&2
    touch "$cache/complete"
fi
echo "$cache"
