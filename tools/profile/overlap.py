"""How much of the copies of V ran under kernels, from a timeline of `run profile --trace`.

    python3 tools/profile/overlap.py profile.json
"""

import json
import sys

DEVICE = 2


def main():
    events = json.load(open(sys.argv[1]))["traceEvents"]
    spans = [e for e in events if e["ph"] == "X" and e["pid"] == DEVICE]
    kernels_row = next(e["tid"] for e in spans if e["name"] == "mlp")
    kernels = [e for e in spans if e["tid"] == kernels_row]
    for name in ("push", "fetch"):
        copies = [e for e in spans if e["tid"] != kernels_row and e["name"] == name]
        total = sum(e["dur"] for e in copies)
        under = sum(
            max(0, min(c["ts"] + c["dur"], k["ts"] + k["dur"]) - max(c["ts"], k["ts"]))
            for c in copies
            for k in kernels
        )
        if total:
            print(f"{name}: {total / 1e3:.2f} ms of copies, {100 * under / total:.0f}% under kernels")


if __name__ == "__main__":
    main()
