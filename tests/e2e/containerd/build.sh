#!/usr/bin/env bash
# Builds containerd, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Nothing is built when a folder for the same pins is there. CONTAINERD_BIN names a folder to use instead.
set -euo pipefail
if [ -n "${CONTAINERD_BIN:-}" ]; then echo "$CONTAINERD_BIN"; exit; fi
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/containerd-$pins
if [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    module=github.com/containerd/containerd/v2
    version=$(go list -m -f '{{.Version}}' $module)
    CGO_ENABLED=0 go build -trimpath -o "$cache/" \
        -tags no_btrfs,no_devmapper,no_zfs -ldflags "-s -w -X $module/version.Version=$version" \
        $module/cmd/{containerd,containerd-shim-runc-v2,ctr} >&2
    touch "$cache/complete"
fi
echo "$cache"
