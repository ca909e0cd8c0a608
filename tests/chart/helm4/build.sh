#!/usr/bin/env bash
# Builds Helm 4, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Nothing is built when a folder for the same pins is there. HELM4_BIN names a folder to use instead.
set -euo pipefail
if [ -n "${HELM4_BIN:-}" ]; then echo "$HELM4_BIN"; exit; fi
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/helm4-$pins
if [ ! -x "$cache/helm" ] || [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
    go build -trimpath -o "$cache/" \
        -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" helm.sh/helm/v4/cmd/helm >&2
    touch "$cache/complete"
fi
echo "$cache"
