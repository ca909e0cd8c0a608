#!/usr/bin/env bash
# Builds the existing device plugins, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Each is built with the versions that its own module pins. Nothing is built when a folder for the same pins is there.
set -euo pipefail
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/plugins-$pins
if [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    module=github.com/intel/intel-device-plugins-for-kubernetes
    go mod download $module >&2
    cd "$(go list -m -f '{{.Dir}}' $module)"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$cache/" ./cmd/{dlb,dsa,fpga,gpu,iaa,npu,qat,sgx}_plugin >&2
    touch "$cache/complete"
fi
echo "$cache"
