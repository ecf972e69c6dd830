"""Compares the committed logits of random checkpoints with the `transformers` library.

The library computes norms and rotary angles in float32 whatever the model's
type, so it agrees with float64 logits to about 1e-6 of their range.

    pip install torch transformers==5.23.0
    python tools/reference/transformers_check.py tests/data/checkpoints/*/
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-5


def difference(folder):
    """The largest difference of a logit, as a share of the largest logit."""
    reference = json.loads((folder / "reference.json").read_text())
    ids = torch.tensor([reference["prompt_ids"]])
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    )
    expected = torch.tensor(reference["last_logits"], dtype=torch.float64)
    with torch.no_grad():
        logits = model(ids).logits[0, -len(expected) :]
    return float((logits - expected).abs().max() / expected.abs().max())


def main():
    worst = 0
    for folder in map(Path, sys.argv[1:]):
        share = difference(folder)
        print(f"{folder.name}: {share:.1e}")
        worst = max(worst, share)
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
