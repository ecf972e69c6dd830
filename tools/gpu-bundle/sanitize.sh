#!/usr/bin/env bash
# Runs the kernels' tests, with small sizes, under compute-sanitizer's memcheck and racecheck.
#
#   bundle/sanitize.sh [LOG-FOLDER]
#
# First a kernel that is wrong on purpose: a tool that does not report it has not run. Each test is a
# process of its own, so that a slow one does not hide the others. A test is clean if it passed, and
# the tool found nothing. PROCESSES run at a time, each for SECONDS_EACH at most; ONLY those whose
# name matches that expression.
set -uo pipefail
cd "$(dirname "$0")"

logs=${1:-logs}
mkdir -p "$logs"
logs=$(realpath "$logs")
processes=${PROCESSES:-12}
seconds=${SECONDS_EACH:-200}
only=${ONLY:-.}
export KCACHE_TEST_SIZES=small
command -v compute-sanitizer >/dev/null || PATH=$PATH:/usr/local/cuda/bin
failed=0

# check TOOL TEST [ARGUMENT]: runs a test under the tool.
check() {
    timeout "$seconds" compute-sanitizer --tool "$1" --error-exitcode 9 \
        tests/device_kernels --exact "$2" --test-threads 1 --nocapture "${@:3}" \
        >"$logs/$1-${2//::/-}.log" 2>&1
}

# verdict TOOL TEST: one row of the table; its last word is "clean", or why it is not.
verdict() {
    local start=$SECONDS status result=clean
    check "$1" "$2"
    status=$?
    if [ $status -eq 124 ]; then
        result="timeout after $seconds s"
    elif [ $status -ne 0 ]; then
        result="exit status $status"
    elif ! grep -qE '(ERROR|RACECHECK) SUMMARY: 0 ' "$logs/$1-${2//::/-}.log"; then
        result="no summary"
    elif ! grep -q '1 passed' "$logs/$1-${2//::/-}.log"; then
        result="did not run"
    fi
    printf '%-10s %-52s %5ds  %s\n' "$1" "$2" $((SECONDS - start)) "$result"
}
export -f check verdict
export seconds logs

for tool in memcheck racecheck; do
    canary=canary::canary_out_of_bounds report='Invalid __global__ write'
    [ $tool = memcheck ] || canary=canary::canary_race report='RACECHECK SUMMARY: [1-9]'
    check $tool $canary --ignored
    if grep -qE "$report" "$logs/$tool-${canary//::/-}.log"; then
        echo "$tool: canary reported"
    else
        echo "$tool: the canary is silent" && failed=1
        tail -n 20 "$logs/$tool-${canary//::/-}.log"
        continue
    fi
    mapfile -t names < <(tests/device_kernels --list 2>/dev/null |
        sed -n 's/: test$//p' | grep -v canary | grep -E "$only")
    printf '%s\n' "${names[@]}" |
        xargs -P "$processes" -I{} bash -c "verdict $tool {}" | tee "$logs/$tool.log"
    clean=$(grep -c ' clean$' "$logs/$tool.log")
    echo "$tool: $clean of ${#names[@]} tests clean"
    [ "$clean" -gt 0 ] && [ "$clean" -eq ${#names[@]} ] || failed=1
done
exit $failed
