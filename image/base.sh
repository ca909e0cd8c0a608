#!/usr/bin/env bash
# Makes a base for the Containerfile from Debian's packages, as a tar file; no image registry is asked.
# Packages are only unpacked, so the base may be for an architecture that this machine cannot run.
#
#   base.sh amd64|arm64 run|build FILE.tar
#
# DEBIAN_SUITE (default: bookworm) and DEBIAN_MIRROR (default: mmdebstrap's) say where the packages come from.
# With a mirror that keeps a day's state, the base is the same for ever.
set -euo pipefail
architecture=$1 use=$2 output=$3
packages=python3-minimal,libpython3-stdlib,base-files
if [ "$use" = build ]; then packages=$packages,python3,python3-pip,dash,coreutils; fi

# A record of each package, as in images without dpkg: its name, its version, and its files.
# shellcheck disable=SC2016 # $1 is mmdebstrap's
record='
cd "$1/var/lib/dpkg" && mkdir -p status.d && for each in "$1"/var/cache/apt/archives/*.deb; do
    name=$(dpkg-deb --field "$each" Package)
    dpkg-deb --field "$each" >"status.d/$name"
    dpkg-deb --ctrl-tarfile "$each" | tar --extract --to-stdout ./md5sums >"status.d/$name.md5sums" || true
done && rm -rf "$1/var/cache/apt/archives" && ls status.d | grep -q .'

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} mmdebstrap --quiet --variant=extract --format=tar \
    --architectures="$architecture" --include="$packages" --skip=download/empty,cleanup/apt/cache \
    --extract-hook="$record" "${DEBIAN_SUITE:-bookworm}" "$output" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
