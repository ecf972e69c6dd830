"""How much of the copies of V ran under kernels, and of the gather under the scan, from a timeline of
`run profile --trace`.

    python3 tools/profile/overlap.py profile.json
"""

import bisect
import json
import sys

DEVICE = 2
MULTIPROCESSORS = 3


def union(spans):
    """The same time as stretches [start, end] that do not touch, in order."""
    merged = []
    for start, end in sorted((e["ts"], e["ts"] + e["dur"]) for e in spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def report(what, spans, cover, under):
    """Prints how much of the spans lies in the stretches `cover`."""
    total = sum(e["dur"] for e in spans)
    if not total:
        return
    ends = [end for _, end in cover]
    covered = 0.0
    for e in spans:
        start, end = e["ts"], e["ts"] + e["dur"]
        for first, last in cover[bisect.bisect_left(ends, start) :]:
            if first >= end:
                break
            covered += min(last, end) - max(first, start)
    print(f"{what}: {total / 1e3:.2f} ms, {100 * covered / total:.0f}% under {under}")


def main():
    with open(sys.argv[1]) as file:
        events = json.load(file)["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    device = [e for e in spans if e["pid"] == DEVICE]
    kernels_row = next(e["tid"] for e in device if e["name"] == "mlp")
    kernels = union(e for e in device if e["tid"] == kernels_row)
    for name in ("push", "fetch"):
        copies = [e for e in device if e["tid"] != kernels_row and e["name"] == name]
        report(f"{name}, copies", copies, kernels, "kernels")
    blocks = [e for e in spans if e["pid"] == MULTIPROCESSORS]
    scans = union(e for e in blocks if e["name"] == "score")
    for name in ("select", "hot rows", "gather"):
        report(f"{name}, blocks", [e for e in blocks if e["name"] == name], scans, "the scan")


if __name__ == "__main__":
    main()
