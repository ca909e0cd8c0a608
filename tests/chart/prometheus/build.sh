#!/usr/bin/env bash
# Fetches Debian's prometheus and promtool into a cache folder, installs nothing, and prints that folder.
# Nothing is fetched when it is there, nor where both are installed.
set -euo pipefail
if installed=$(command -v prometheus) && [ -x "${installed%/*}/promtool" ]; then
    echo "${installed%/*}"
    exit
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/intel-agent/prometheus-$(sha256sum "$0" | cut -c1-12)
if [ ! -e "$cache/complete" ]; then
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
    apt=(apt-get -qq -o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache" -o APT::Sandbox::User="$(id -un)")
    "${apt[@]}" update >&2
    (cd "$cache/apt" && "${apt[@]}" download prometheus >&2)
    dpkg -x "$cache"/apt/prometheus_*.deb "$cache/apt/unpacked"
    mv "$cache/apt/unpacked/usr/bin/prometheus" "$cache/apt/unpacked/usr/bin/promtool" "$cache/"
    rm -r "$cache/apt"
    touch "$cache/complete"
fi
echo "$cache"
