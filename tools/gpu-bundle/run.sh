#!/usr/bin/env bash
# Runs every test and bench of a bundle on a machine with a GPU, and prints a table.
#
#   bundle/run.sh [LOG-FOLDER]
#
# Exits with 1 if a test failed or a program broke off.
set -uo pipefail
cd "$(dirname "$0")"

logs=${1:-logs}
mkdir -p "$logs"
failed=0
table=()

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || {
    echo "run.sh: this machine has no GPU, or no driver" >&2
    exit 1
}

# Tests find the repository's data below this folder.
export CARGO_MANIFEST_DIR=$PWD/data
export KCACHE_TEST_DATA=$PWD/data

for program in tests/*; do
    name=$(basename "$program")
    log=$logs/$name.log
    start=$SECONDS
    # One at a time: a device's memory and its loss are shared.
    timeout 300 "$program" --test-threads 1 >"$log" 2>&1
    status=$?
    passed=$(grep -c '^test .* ok$' "$log")
    broken=$(grep -c '^test .* FAILED$' "$log")
    ignored=$(grep -c '^test .* ignored' "$log")
    result=ok
    if [ $status -ne 0 ]; then
        failed=1
        result="exit status $status"
        echo "--- $name"
        tail -n 60 "$log"
    fi
    grep -E '^test .* (ok|FAILED)$' "$log" | sed "s|^test |$name: |"
    table+=("$(printf '%-24s %6d %6d %7d %7ds  %s' \
        "$name" "$passed" "$broken" "$ignored" $((SECONDS - start)) "$result")")
done

for program in benches/*; do
    [ -x "$program" ] || continue
    name=$(basename "$program")
    echo "--- bench $name"
    timeout 300 "$program" --bench 2>&1 | tee "$logs/bench-$name.log"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || failed=1
    table+=("$(printf '%-24s %30s  exit status %d' "bench $name" '' "$status")")
done

echo
printf '%-24s %6s %6s %7s %8s\n' program passed failed ignored time
printf '%s\n' "${table[@]}"
exit $failed
