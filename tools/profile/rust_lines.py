"""Where the warps of a kernel waited, by line of Rust, from a report of Nsight Compute.

    python3 tools/profile/rust_lines.py attention.ncu-rep

The report needs `--set full` or the source counters. Prints for each line its share of all samples,
and the instructions that warps executed there. A line is the innermost of what was inlined.
"""

import collections
import glob
import sys

for pattern in ("/opt/nvidia/nsight-compute/*", "/usr/local/cuda*/nsight-compute*"):
    sys.path[:0] = glob.glob(f"{pattern}/extras/python")
import ncu_report  # noqa: E402  part of Nsight Compute


def by_address(action, name):
    """A metric's values by the address of the instruction."""
    metric = action.metric_by_name(name)
    if metric is None or not metric.has_correlation_ids():
        return {}
    addresses = metric.correlation_ids()
    return {addresses.as_uint64(i): metric.as_uint64(i) for i in range(metric.num_instances())}


def by_line(action, names):
    """The sum of metrics by file and line."""
    lines = collections.Counter()
    for name in names:
        for address, value in by_address(action, name).items():
            source = action.source_info(address)
            lines[(source.file_name(), source.line()) if source else ("?", 0)] += value
    return lines


def main():
    action = ncu_report.load_report(sys.argv[1])[0][0]
    stalls = [
        name
        for name in action.metric_names()
        if name.startswith("smsp__pcsamp_warps_issue_stalled") and "not_issued" not in name
    ]
    samples, executed = by_line(action, stalls), by_line(action, ["inst_executed"])
    total = sum(samples.values())
    print(f"{action.name()}: {total} samples")
    for (file, line), count in samples.most_common(40):
        where = "/".join(file.split("/")[-3:])
        print(f"{100 * count / total:5.1f}% {executed[(file, line)]:9d} {where}:{line}")


if __name__ == "__main__":
    main()
