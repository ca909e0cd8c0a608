#!/usr/bin/env bash
# Builds Kubernetes' own binaries, pinned by go.mod beside this file, into a cache folder, and prints that folder.
# Nothing is built when a folder for the same pins is there. KUBERNETES_BIN names a folder to use instead.
set -euo pipefail
if [ -n "${KUBERNETES_BIN:-}" ]; then echo "$KUBERNETES_BIN"; exit; fi
cd "$(dirname "$0")"
pins=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/kubernetes-$pins
if [ ! -x "$cache/kubelet" ] || [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache"
    version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    minor=${version#v1.}
    package=k8s.io/component-base/version
    go build -trimpath -o "$cache/" \
        -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}" \
        k8s.io/kubernetes/cmd/{kubelet,kube-apiserver,kube-scheduler,kube-controller-manager,kubectl} >&2
    touch "$cache/complete"
fi
echo "$cache"
