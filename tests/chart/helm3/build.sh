#!/usr/bin/env bash
# Builds Helm 3, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Nothing is built when a folder for the same pins is there. HELM3_BIN names a folder to use instead.
set -euo pipefail
if [ -n "${HELM3_BIN:-}" ]; then echo "$HELM3_BIN"; exit; fi
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/helm3-$pins
if [ ! -x "$cache/helm" ] || [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    version=$(go list -m -f '{{.Version}}' helm.sh/helm/v3)
    client=$(go list -m -f '{{.Version}}' k8s.io/client-go) # which Kubernetes it takes for granted without a cluster
    minor=${client#v0.}
    flags="-s -w -X helm.sh/helm/v3/internal/version.version=$version"
    for package in pkg/lint/rules pkg/chartutil; do
        flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=${minor%%.*}"
    done
    go build -trimpath -o "$cache/" -ldflags "$flags" helm.sh/helm/v3/cmd/helm >&2
    touch "$cache/complete"
fi
echo "$cache"
