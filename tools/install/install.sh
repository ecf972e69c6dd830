#!/usr/bin/env bash
# Builds the C libraries and installs them with their headers, for pkg-config and CMake.
#
#   PREFIX=/usr/local DESTDIR= PROFILE=release tools/install/install.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

prefix=${DESTDIR:-}${PREFIX:-/usr/local}
profile=${PROFILE:-release}
version=$(cargo metadata --no-deps --format-version 1 --locked |
    python3 -c 'import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "kcache"))')
# Before 1.0 a minor version may change anything.
case $version in
0.*) abi=${version%.*} ;;
*) abi=${version%%.*} ;;
esac
soname=libkcache.so.$abi
target=${CARGO_TARGET_DIR:-target}
case $profile in
dev) built=$target/debug ;;
*) built=$target/$profile ;;
esac

# Threads of the library may outlive what a host frees last, so it is never unloaded.
cargo rustc --locked --profile "$profile" --lib --crate-type cdylib -- \
    -C link-arg="-Wl,-soname,$soname" -C link-arg=-Wl,-z,nodelete
notes=$(cargo rustc --locked --profile "$profile" --lib --crate-type staticlib -- \
    --print native-static-libs 2>&1) || { echo "$notes" >&2 && exit 1; }
# The driver is looked for when a program runs; nothing links to it.
native=$(sed -n 's/^note: native-static-libs: //p' <<<"$notes" | tr ' ' '\n' |
    grep -v -e '^-lcuda$' | awk '!seen[$0]++' | tr '\n' ' ' | sed 's/ *$//')
[ -n "$native" ] || { echo "install: rustc did not say what the static library needs" >&2 && exit 1; }

# fill NAME: a template with its values.
fill() {
    sed -e "s|@VERSION@|$version|g" -e "s|@ABI@|$abi|g" -e "s|@SONAME@|$soname|g" \
        -e "s|@NATIVE_LIBS@|$2|g" "tools/install/$1.in"
}

install -d "$prefix"/include "$prefix"/lib/pkgconfig "$prefix"/lib/cmake/kcache
install -m 644 include/kcache.h include/kcache.hpp "$prefix"/include
install -m 755 "$built"/libkcache.so "$prefix/lib/libkcache.so.$version"
install -m 644 "$built"/libkcache.a "$prefix"/lib
ln -sf "libkcache.so.$version" "$prefix/lib/$soname"
ln -sf "$soname" "$prefix"/lib/libkcache.so
fill kcache.pc "$native" >"$prefix"/lib/pkgconfig/kcache.pc
fill kcache-config.cmake "${native// /;}" >"$prefix"/lib/cmake/kcache/kcache-config.cmake
fill kcache-config-version.cmake "" >"$prefix"/lib/cmake/kcache/kcache-config-version.cmake
echo "installed kcache $version in $prefix"
