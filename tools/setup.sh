#!/usr/bin/env bash
# Installs what the project needs and the machine lacks. Quick when nothing is missing.
set -euo pipefail

# The packages that make each command of a Debian system work.
packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v g++ >/dev/null || packages+=(g++)
command -v clang >/dev/null || packages+=(clang)
command -v cmake >/dev/null || packages+=(cmake)
command -v pkg-config >/dev/null || packages+=(pkg-config)
command -v valgrind >/dev/null || packages+=(valgrind)
command -v make >/dev/null || packages+=(make)
command -v curl >/dev/null || packages+=(curl)
command -v python3 >/dev/null || packages+=(python3)
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
python3 -c 'import ensurepip' >/dev/null 2>&1 || packages+=(python3-venv)

# Whether a rustc writes PTX for every architecture and has the source of `core` beside it.
compiles_kernels() {
    [[ $("$1" --print target-cpus --target nvptx64-nvidia-cuda 2>/dev/null) == *sm_90a* ]] &&
        [ -e "$("$1" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]
}
if [ -n "${KCACHE_KERNEL_RUSTC:-}" ]; then
    compiles_kernels "$KCACHE_KERNEL_RUSTC" || {
        echo "setup: $KCACHE_KERNEL_RUSTC (KCACHE_KERNEL_RUSTC) cannot compile the kernels" >&2
        exit 1
    }
elif ! compiles_kernels rustc && ! compiles_kernels /usr/bin/rustc; then
    packages+=(rustc-web rust-web-src)
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
