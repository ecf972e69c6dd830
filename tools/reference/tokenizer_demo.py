"""Writes models/tests/data/tokenizer/demo.json: ids of texts by the demo model's vocabulary.

Byte-pair encoding as plain as it can be written, over the vocabulary and merges
of the GGUF file.

    pip install gguf==0.19.0 regex==2026.11.15
    python tools/reference/tokenizer_demo.py MODEL.gguf models/tests/data/tokenizer/demo.json
"""

import sys
from pathlib import Path

import gguf

from tokenizer_splits import cut
from tokenizer_texts import TEXTS, write_rows

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
ALPHABET = {byte: chr(byte) for byte in PRINTABLE}
ALPHABET |= {byte: chr(0x100 + i) for i, byte in enumerate(OTHERS)}


def merge(symbols, ranks):
    """Joins the pair of lowest rank, leftmost first, until no pair has one."""
    while len(symbols) > 1:
        pairs = list(zip(symbols, symbols[1:]))
        rank, at = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairs))
        if rank == len(ranks):
            break
        symbols = symbols[:at] + [symbols[at] + symbols[at + 1]] + symbols[at + 2 :]
    return symbols


def encode(text, ids, ranks):
    pieces = ([ALPHABET[byte] for byte in piece.encode()] for piece in cut(text, "smollm"))
    symbols = [symbol for piece in pieces for symbol in merge(piece, ranks)]
    # Bytes that are no tokens are left out.
    return [ids[symbol] for symbol in symbols if symbol in ids]


def main(model, path):
    fields = gguf.GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    ids = {token: i for i, token in enumerate(tokens)}
    ranks = {tuple(pair.split(" ")): rank for rank, pair in enumerate(merges)}
    write_rows(path, [[text, encode(text, ids, ranks)] for text in TEXTS])


if __name__ == "__main__":
    model, path = map(Path, sys.argv[1:])
    main(model, path)
