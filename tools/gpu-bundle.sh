#!/usr/bin/env bash
# Builds what needs a GPU, and packs it into bundle.tar.xz for a machine that has a GPU and no Rust:
# unpack it there and run bundle/run.sh.
#
#   tools/gpu-bundle.sh [--data PATH]... [--part I/N PATH]... [--data-only | [--c-api] CARGO-SELECTION...]
#
# --data copies a file or folder of the repository along, at the same path, for tests that read it.
# --part copies part I of N of a file that is too large for one bundle; the run.sh that has seen all
# parts joins them. --data-only packs no programs. --c-api packs the shared library and the C programs
# of bundle/c_api.sh. The selection is cargo's: --lib --bins --test NAME
# --bench NAME; without one, everything that a GPU has a part in.
set -euo pipefail
cd "$(dirname "$0")/.."

limit_mib=64
everything=(--lib --bins --test device_kernels --test demo_on_device --benches)

rm -rf bundle bundle.tar.xz
mkdir -p bundle/{tests,bin,benches,data}
cp tools/gpu-bundle/*.sh bundle/
cp -r --parents tests/data/checkpoints/qwen2-bf16 bundle/data

tests=() bins=() benches=() data_only= c_api=
while [ $# -gt 0 ]; do
    case $1 in
        --data) cp -r --parents "$2" bundle/data; shift 2 ;;
        --part)
            mkdir -p "bundle/data/$(dirname "$3")"
            split -n "$2" "$3" >"bundle/data/$3.part-${2/\//-of-}"
            shift 3
            ;;
        --data-only) data_only=yes; shift ;;
        --c-api) c_api=yes; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || [ -n "$c_api" ] || set -- "${everything[@]}"
while [ $# -gt 0 ]; do
    case $1 in
        --benches) benches+=("$1"); shift ;;
        --bench) benches+=("$1" "$2"); shift 2 ;;
        --bins) bins+=("$1"); shift ;;
        --test) tests+=("$1" "$2"); shift 2 ;;
        *) tests+=("$1"); shift ;;
    esac
done

# pack KIND CARGO-COMMAND...: builds, and packs the programs of this kind; cargo makes others along.
pack() {
    local wanted=$1
    shift
    cargo "$@" --package kcache --locked --message-format json-render-diagnostics |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        kind = message["target"]["kind"][0]
        if kind != "bench" and message["profile"]["test"]:
            kind = "test"
        print(kind, message["target"]["name"], message["executable"])
' |
        while read -r kind name path; do
            [ "$kind" = "$wanted" ] || continue
            case $kind in
                test) strip -o "bundle/tests/$name" "$path" ;;
                bench) strip -o "bundle/benches/$name" "$path" ;;
                bin) strip -o "bundle/bin/$name" "$path" ;;
            esac
        done
}

if [ -z "$data_only" ]; then
    # Tests are built as `cargo test` builds them, all else with all optimisations.
    [ ${#tests[@]} -eq 0 ] || pack test test --no-run --features gpu-tests "${tests[@]}"
    [ ${#benches[@]} -eq 0 ] || pack bench bench --no-run "${benches[@]}"
    [ ${#bins[@]} -eq 0 ] || pack bin build --release "${bins[@]}"
fi

if [ -n "$c_api" ]; then
    prefix=$(mktemp -d)
    PREFIX=$prefix tools/install/install.sh
    mkdir bundle/c_api
    strip -o bundle/c_api/libkcache.so.0.1 "$(realpath "$prefix/lib/libkcache.so")"
    for source in examples/simple.c examples/batch.c tests/c_api/{threads,cancel,tokens}.c; do
        cc -std=c99 -O2 -I"$prefix/include" "$source" -o "bundle/c_api/$(basename "$source" .c)" \
            -L"$prefix/lib" -Wl,-rpath,'$ORIGIN' -lkcache -lpthread -lm
    done
    rm -r "$prefix"
fi

du -sh bundle/*/* bundle
# Programs hold the kernels as text, which packs well.
tar -cf - bundle | xz -T0 -3 >bundle.tar.xz
mib=$(du -sm bundle.tar.xz | cut -f1)
if [ "$mib" -gt $limit_mib ]; then
    echo "gpu-bundle: $mib MiB exceed the limit of $limit_mib MiB: select less, or send data in parts" >&2
    exit 1
fi
echo "gpu-bundle: bundle.tar.xz, $mib MiB"
