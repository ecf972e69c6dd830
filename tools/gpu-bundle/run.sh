#!/usr/bin/env bash
# Runs every test and bench of a bundle on a machine with a GPU, and prints a table.
#
#   bundle/run.sh [--sanitize] [LOG-FOLDER]
#
# --sanitize goes on with sanitize.sh. Exits with 1 if a test failed or a program broke off.
set -uo pipefail
cd "$(dirname "$0")"

sanitize=
[ "${1:-}" != --sanitize ] || { sanitize=yes; shift; }
logs=${1:-logs}
mkdir -p "$logs"
logs=$(realpath "$logs")
failed=0
table=()

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || {
    echo "run.sh: this machine has no GPU, or no driver" >&2
    exit 1
}
. ./data.sh

# test PROGRAM LABEL: runs it, and adds a row to the table.
test_program() {
    local log=$logs/$2.log start=$SECONDS status passed broken result=ok
    # One at a time: a device's memory and its loss are shared.
    timeout 300 "$1" --test-threads 1 --nocapture >"$log" 2>&1
    status=$?
    passed=$(grep -c '^test .*\bok$\|^ok$' "$log")
    broken=$(grep -c '^test .*FAILED$\|^FAILED$' "$log")
    if [ $status -ne 0 ]; then
        failed=1
        result="exit status $status"
        echo "--- $2"
        tail -n 40 "$log"
    fi
    table+=("$(printf '%-28s %6d %6d %7ds  %s' "$2" "$passed" "$broken" $((SECONDS - start)) "$result")")
}

for program in tests/*; do
    [ -x "$program" ] || continue
    name=$(basename "$program")
    if [ "$name" = device_kernels ]; then
        for image in sm_90a sm_80; do
            KCACHE_TEST_IMAGE=$image test_program "$program" "$name-$image"
        done
    else
        test_program "$program" "$name"
    fi
done

for program in benches/*; do
    [ -x "$program" ] || continue
    name=$(basename "$program")
    echo "--- bench $name"
    timeout 300 "$program" --bench 2>&1 | tee "$logs/bench-$name.log"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || failed=1
    table+=("$(printf '%-28s %23s  exit status %d' "bench $name" '' "$status")")
done

if [ -n "$sanitize" ]; then
    ./sanitize.sh "$logs" || failed=1
fi
echo
printf '%-28s %6s %6s %8s\n' program passed failed time
printf '%s\n' "${table[@]}"
exit $failed
