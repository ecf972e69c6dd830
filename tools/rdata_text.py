"""Reads the texts of an R package: character vectors in a lazy-load database.

A database is a pair of files: NAME.rdx, an index of offsets and lengths, and
NAME.rdb, one compressed object after the other. Objects are in R's
serialisation format, binary big-endian (R Internals, section 1.8). Only what
occurs in such packages is read: vectors, their attributes, pairlists, symbols.
"""

import struct
import zlib
from pathlib import Path

SYMBOL, PAIRLIST, CHARACTERS = 1, 2, 9
LOGICAL, INTEGER, REAL, STRINGS, LIST = 10, 13, 14, 16, 19
REFERENCE, NIL = 255, 254

HAS_ATTRIBUTES, HAS_TAG = 1 << 9, 1 << 10
IS_LATIN1 = 1 << 14  # in the flags of CHARACTERS: bit 2 of R's encoding field


class Reader:
    """Reads one serialised object."""

    def __init__(self, data):
        self.data = data
        self.offset = 0
        self.symbols = []

    def object(self):
        """The object: a vector as a list, a named list as a dict."""
        if self.take(2) != b"X\n":
            raise ValueError("not R's binary big-endian format")
        version, _writer, _oldest_reader = (self.integer() for _ in range(3))
        if version == 3:
            self.take(self.integer())  # the writer's native encoding
        elif version != 2:
            raise ValueError(f"serialisation version {version}, expected 2 or 3")
        return self.item()

    def take(self, size):
        end = self.offset + size
        if size < 0 or end > len(self.data):
            raise ValueError(f"{size} bytes at offset {self.offset} reach past the end")
        taken = self.data[self.offset : end]
        self.offset = end
        return taken

    def integer(self):
        return struct.unpack(">i", self.take(4))[0]

    def item(self):
        flags = self.integer()
        kind = flags & 0xFF
        if kind == NIL:
            return None
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == REFERENCE:
            return self.symbols[(flags >> 8 or self.integer()) - 1]
        if kind == CHARACTERS:
            return self.characters(flags)
        if kind == PAIRLIST:
            return self.pairlist(flags)
        return self.vector(kind, flags)

    def characters(self, flags):
        size = self.integer()
        if size == -1:  # NA
            return None
        return self.take(size).decode("latin-1" if flags & IS_LATIN1 else "utf-8")

    def pairlist(self, flags):
        """Tag to value; a chain of pairs ends with NIL."""
        pairs = {}
        while flags & 0xFF == PAIRLIST:
            if flags & HAS_ATTRIBUTES:
                self.item()
            tag = self.item() if flags & HAS_TAG else None
            pairs[tag] = self.item()
            flags = self.integer()
        if flags & 0xFF != NIL:
            raise ValueError(f"a pairlist ends with type {flags & 0xFF}")
        return pairs

    def vector(self, kind, flags):
        length = self.integer()
        if kind in (STRINGS, LIST):
            values = [self.item() for _ in range(length)]
        elif kind in (LOGICAL, INTEGER):
            values = list(struct.unpack(f">{length}i", self.take(4 * length)))
        elif kind == REAL:
            values = list(struct.unpack(f">{length}d", self.take(8 * length)))
        else:
            raise ValueError(f"type {kind} at offset {self.offset} is not supported")
        attributes = self.item() if flags & HAS_ATTRIBUTES else {}
        if kind == LIST and "names" in attributes:
            return dict(zip(attributes["names"], values))
        return values


def decompress(data):
    """A reader of a zlib or gzip stream."""
    return Reader(zlib.decompress(data, wbits=32 + zlib.MAX_WBITS))


def read_database(stem):
    """Name to text, one line an element, of each character vector in `stem`.rdb."""
    stem = Path(stem)
    index = decompress(stem.with_suffix(".rdx").read_bytes()).object()
    data = stem.with_suffix(".rdb").read_bytes()
    texts = {}
    for name, (offset, length) in index["variables"].items():
        # The size of the object goes before its zlib stream.
        value = decompress(data[offset + 4 : offset + length]).object()
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            texts[name] = "\n".join(value) + "\n"
    return texts
