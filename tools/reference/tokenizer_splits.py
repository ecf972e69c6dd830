"""Writes models/tests/data/tokenizer/splits.json: how pre-tokenizers cut texts.

The patterns are those of the models' own tokenizer.json files; the regex engine
is another than the library's.

    pip install regex==2026.11.15
    python tools/reference/tokenizer_splits.py models/tests/data/tokenizer/splits.json
"""

import sys
import unicodedata
from pathlib import Path

import regex

from tokenizer_texts import TEXTS, write_rows

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PREFIX = r"[^\r\n\p{L}\p{N}]?"

# Each pattern cuts the pieces of the one before.
SCHEMES = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [
        rf"{CONTRACTIONS}|{PREFIX}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{TAIL}"
    ],
    "qwen2": [rf"{CONTRACTIONS}|{PREFIX}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{TAIL}"],
    "deepseek-coder": [
        r"[\r\n]",
        r"\s?\p{L}+",
        r"\s?\p{P}+",
        "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
        r"\p{N}",
    ],
    "tekken": [
        rf"{PREFIX}{UPPER}*{LOWER}+|{PREFIX}{UPPER}+{LOWER}*|\p{{N}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}"
    ],
}
NORMAL_FORMS = {"qwen2": "NFC"}


def split(text, pattern):
    """Matches and what lies between them, in order."""
    pieces, end = [], 0
    for match in regex.finditer(pattern, text):
        pieces += [text[end : match.start()], match.group()]
        end = match.end()
    return [piece for piece in pieces + [text[end:]] if piece]


def cut(text, name):
    if name in NORMAL_FORMS:
        text = unicodedata.normalize(NORMAL_FORMS[name], text)
    pieces = [text]
    for pattern in SCHEMES[name]:
        pieces = [part for piece in pieces for part in split(piece, pattern)]
    return pieces


def main(path):
    write_rows(path, [[name, text, cut(text, name)] for name in SCHEMES for text in TEXTS])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
