#!/usr/bin/env bash
# Runs the kernels' tests, with small sizes, under compute-sanitizer's memcheck and racecheck.
#
#   bundle/sanitize.sh [LOG-FOLDER]
#
# First a kernel that is wrong on purpose: a tool that does not report it has not run. Each test is a
# process of its own, so that a slow one does not hide the others.
set -uo pipefail
cd "$(dirname "$0")"

logs=${1:-logs}
mkdir -p "$logs"
logs=$(realpath "$logs")
processes=${PROCESSES:-12}
seconds=${SECONDS_EACH:-200}
export KCACHE_TEST_SIZES=small
command -v compute-sanitizer >/dev/null || PATH=$PATH:/usr/local/cuda/bin
failed=0

# check TOOL TEST [ARGUMENT]: the tool's verdict on a test.
check() {
    timeout "$seconds" compute-sanitizer --tool "$1" --error-exitcode 9 \
        tests/device_kernels --exact "$2" --test-threads 1 --nocapture "${@:3}" \
        >"$logs/$1-${2//::/-}.log" 2>&1
}
export -f check
export seconds logs

for tool in memcheck racecheck; do
    canary=canary::canary_out_of_bounds
    [ $tool = memcheck ] || canary=canary::canary_race
    check $tool $canary --ignored
    if grep -qE 'ERROR SUMMARY: [1-9]|RACECHECK SUMMARY: [1-9]' "$logs/$tool-${canary//::/-}.log"; then
        echo "$tool: canary reported"
    else
        echo "$tool: the canary is silent" && failed=1
        tail -n 20 "$logs/$tool-${canary//::/-}.log"
        continue
    fi
    mapfile -t names < <(tests/device_kernels --list 2>/dev/null |
        sed -n 's/: test$//p' | grep -v canary)
    printf '%s\n' "${names[@]}" |
        xargs -P "$processes" -I{} bash -c "check $tool {} || echo '$tool: {}: exit status' \$?" |
        tee "$logs/$tool.log"
    clean=$(grep -lE '(ERROR|RACECHECK) SUMMARY: 0 ' "$logs/$tool"-*.log | wc -l)
    echo "$tool: $clean of ${#names[@]} tests clean"
    [ "$clean" -eq ${#names[@]} ] || failed=1
done
exit $failed
