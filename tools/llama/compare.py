"""Runs `run` and llama.cpp in turn and prints the medians of their decode speeds as JSON.

One process for each measurement; its peak memory is what the kernel reports
when it ends. Models are mapped files on both sides, so weights count once.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN = HERE.parent.parent / "target" / "release" / "run"

# 32 tokens of the demo model's tokenizer.
PROMPT = (
    "The harbour town had one lighthouse, two churches and a long stone pier. "
    "Every morning before sunrise the fishermen walked down to their boats, "
    "looked at the sky and"
)


def measure(command):
    """What `command` printed as JSON, with the peak memory of its process in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}")
    return json.loads(output), usage.ru_maxrss * 1024


def llama(model, options):
    """One generation by llama.cpp."""
    numbers = [str(options.new_tokens), str(options.threads)]
    printed, peak = measure([sys.executable, HERE / "decode.py", model, PROMPT, *numbers])
    return {**printed, "peak_bytes": peak}


def kcache(model, options):
    """One generation by `run`."""
    flags = {
        "--model": model,
        "--prompt": PROMPT,
        "--max-new-tokens": options.new_tokens,
        "--threads": options.threads,
        "--temperature": 0,
    }
    command = [RUN, "generate", "--ignore-eos", "--json", "--quiet"]
    printed, peak = measure([*command, *(str(part) for flag in flags.items() for part in flag)])
    stats = printed["stats"]
    return {
        "prompt_tokens": stats["prompt_tokens"],
        "tokens": printed["tokens"],
        "tokens_per_second": stats["decode_tokens_per_second"],
        "weights_bytes": stats["memory"]["weights"],
        "peak_bytes": peak,
    }


def summary(runs):
    speeds = [run["tokens_per_second"] for run in runs]
    return {
        "tokens_per_second": round(statistics.median(speeds), 2),
        "all_runs": [round(speed, 2) for speed in speeds],
        "prompt_tokens": runs[0]["prompt_tokens"],
        "weights_bytes": runs[0]["weights_bytes"],
        "peak_bytes": max(run["peak_bytes"] for run in runs),
    }


def agreement(a, b):
    """How many tokens two generations share from the start."""
    pairs = zip(a["tokens"], b["tokens"])
    return next((i for i, (x, y) in enumerate(pairs) if x != y), len(a["tokens"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--f16", required=True, help="GGUF file with F16 weights, for both sides")
    parser.add_argument("--demo", required=True, help="the model as it ships, for `run` alone")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5, help="measured after one warm-up")
    options = parser.parse_args()

    sides = {
        "llama.cpp F16": lambda: llama(options.f16, options),
        "kcache F16": lambda: kcache(options.f16, options),
        "kcache as shipped": lambda: kcache(options.demo, options),
    }
    load = os.getloadavg()[0]
    runs = {name: [] for name in sides}
    # In turn, so that a busy moment of the machine meets all alike.
    for number in range(1 + options.runs):
        for name, side in sides.items():
            result = side()
            print(f"{name}: {result['tokens_per_second']:.1f} tokens/s", file=sys.stderr)
            if number > 0:
                runs[name].append(result)

    peer = runs["llama.cpp F16"]
    figures = {name: summary(results) for name, results in runs.items()}
    speed = {name: side["tokens_per_second"] for name, side in figures.items()}
    json.dump({
        "llama_cpp_python": importlib.metadata.version("llama-cpp-python"),
        "system": peer[0]["system"],
        # Above 0.2 or so, other work took time from the measurement.
        "load_before": round(load, 2),
        "threads": options.threads,
        "new_tokens": options.new_tokens,
        "sides": figures,
        "ratio_f16": round(speed["kcache F16"] / speed["llama.cpp F16"], 3),
        "ratio_as_shipped": round(speed["kcache as shipped"] / speed["llama.cpp F16"], 3),
        "same_tokens_f16": agreement(peer[0], runs["kcache F16"][0]),
    }, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
