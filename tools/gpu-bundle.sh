#!/usr/bin/env bash
# Builds the tests and benches with what they have for a GPU, and packs them into bundle/ for a
# machine that has a GPU and no Rust: copy the folder there and run bundle/run.sh.
#
#   tools/gpu-bundle.sh [--data PATH]... [--] [CARGO-SELECTION]...
#
# --data copies a file or folder of the repository along, at the same path, for tests that read it.
# The selection is cargo's: --lib --test NAME --bench NAME. Default: --lib --tests --benches.
set -euo pipefail
cd "$(dirname "$0")/.."

limit_mib=64
data=()
while [ $# -gt 0 ]; do
    case $1 in
        --data) data+=("$2"); shift 2 ;;
        --) shift; break ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- --lib --tests --benches

rm -rf bundle
mkdir -p bundle/tests bundle/benches bundle/data

# Prints the path of each test program that cargo builds for a selection.
programs() {
    cargo test --package kcache --locked --features gpu-tests --no-run \
        --message-format json-render-diagnostics "$@" |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"] or "bench" in message.get("target", {}).get("kind", []):
        print(message["target"]["kind"][0], message["target"]["name"], message["executable"])
'
}

# Tests are built as `cargo test` builds them, benches with all optimisations.
pack() {
    while read -r kind name path; do
        folder=tests
        [ "$kind" != bench ] || folder=benches
        strip -o "bundle/$folder/$name" "$path"
    done
}

tests=()
benches=()
while [ $# -gt 0 ]; do
    case $1 in
        --benches) benches+=("$1"); shift ;;
        --bench) benches+=("$1" "$2"); shift 2 ;;
        --test) tests+=("$1" "$2"); shift 2 ;;
        *) tests+=("$1"); shift ;;
    esac
done
[ ${#tests[@]} -eq 0 ] || programs "${tests[@]}" | pack
[ ${#benches[@]} -eq 0 ] || programs --profile bench "${benches[@]}" | pack
for path in "${data[@]}"; do
    cp -r --parents "$path" bundle/data
done
cp tools/gpu-bundle/run.sh bundle/run.sh

mib=$(du -sm bundle | cut -f1)
du -sh bundle/*/* bundle
if [ "$mib" -gt $limit_mib ]; then
    echo "gpu-bundle: $mib MiB exceed the limit of $limit_mib MiB: select less" >&2
    exit 1
fi
