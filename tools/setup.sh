#!/usr/bin/env bash
# Installs what the project needs and the machine lacks. Quick when nothing is missing.
#
# With the argument `kernels` also what compiling them to PTX needs.
set -euo pipefail

# The packages that make each command of a Debian system work.
packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v make >/dev/null || packages+=(make)
command -v python3 >/dev/null || packages+=(python3)
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
python3 -c 'import ensurepip' >/dev/null 2>&1 || packages+=(python3-venv)
if [ "${1:-}" = kernels ]; then
    command -v unzip >/dev/null || packages+=(unzip)
    # A compiler with a PTX back end, and the source of `core` that matches it.
    dpkg -s rustc-web rust-web-src >/dev/null 2>&1 || packages+=(rustc-web rust-web-src)
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: this system has no apt-get; install what these Debian packages hold: ${packages[*]}" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "setup: root must run: apt-get install ${packages[*]}" >&2
        exit 1
    fi
    as_root apt-get update --quiet
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
fi

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is not in PATH; install Rust 1.95 or newer with rustup" >&2
    exit 1
fi
