#!/usr/bin/env bash
# Builds the image of intel-agent with the Containerfile from Debian's packages and Python's, without an image registry.
# Needs root, buildah, mmdebstrap, git, and Python 3.11 or later with venv.
set -euo pipefail
usage='usage: image/build.sh [--arch amd64|arm64] [--output FILE] [--name NAME:TAG] [--fresh]

  --arch    the architecture of the image; default: the one of this machine
  --output  the OCI archive; default: build/intel-agent.oci.tar
  --name    what containerd calls it when it is imported; default: localhost/intel-agent:latest
  --fresh   get from Debian again what is kept from an earlier build'
native=$(dpkg --print-architecture)
arch=$native output=build/intel-agent.oci.tar name=localhost/intel-agent:latest fresh=
while [ $# -gt 0 ]; do
    case $1 in
        --arch) arch=$2; shift 2 ;;
        --output) output=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        --fresh) fresh=1; shift ;;
        --help) echo "$usage"; exit ;;
        *) echo "$usage" >&2; exit 2 ;;
    esac
done
output=$(realpath --canonicalize-missing "$output")
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent
work=$(mktemp -d)
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; } # nothing is left, nothing is reused
cleanup() {
    buildah rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

tools() { # prints the folder of a virtual environment with what builds the agent
    local pins folder
    pins=$({ python3 --version; cat image/build-requirements.txt; } | sha256sum | cut -c1-12)
    folder=$cache/image-tools-$pins
    if [ ! -e "$folder/complete" ]; then
        python3 -m venv --clear "$folder"
        "$folder/bin/pip" install --quiet --require-hashes --requirement image/build-requirements.txt >&2
        touch "$folder/complete"
    fi
    echo "$folder/bin"
}

base() { # architecture, use: makes the image localhost/base:USE
    local pins file container
    pins=$({ echo "${DEBIAN_SUITE:-} ${DEBIAN_MIRROR:-}"; cat image/base.sh; } | sha256sum | cut -c1-12)
    file=$cache/image-base-$pins/$1-$2.tar
    if [ -n "$fresh" ] || [ ! -e "$file" ]; then
        mkdir -p "${file%/*}"
        image/base.sh "$1" "$2" "$work/base.tar"
        mv "$work/base.tar" "$file"
    fi
    container=$(buildah from --arch "$1" scratch)
    buildah add --quiet "$container" "$file" / >/dev/null
    buildah config --os linux --arch "$1" "$container"
    buildah commit --quiet "$container" "localhost/base:$2" >/dev/null
    buildah rm "$container" >/dev/null
}

tools=$(tools)
VERSION=${VERSION:-$("$tools/python" -m hatchling version)}
base "$arch" run
base "$native" build
"$tools/python" image/pip_settings.py "$work/pip.conf" "$work/ca.pem"
# buildah 1.28 does not know BUILDPLATFORM by itself when it builds for another platform.
buildah build --isolation chroot --pull=never --identity-label=false --timestamp "$SOURCE_DATE_EPOCH" \
    --platform "linux/$arch" --build-arg "BUILDPLATFORM=linux/$native" \
    --build-arg BASE=localhost/base:run --build-arg BUILD_BASE=localhost/base:build \
    --build-arg "VERSION=$VERSION" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" \
    --secret "id=pip.conf,src=$work/pip.conf" --secret "id=ca.pem,src=$work/ca.pem" \
    --tag "$name" --file Containerfile . >&2
buildah push --quiet "$name" "oci:$work/layout:$name" >&2
mkdir -p "${output%/*}"
"$tools/python" image/archive.py "$work/layout" "$name" "$output"
echo "$output"
