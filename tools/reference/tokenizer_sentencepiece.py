"""Writes models/tests/data/tokenizer/sentencepiece/: a small SentencePiece model
as GGUF and as tokenizer.json, and what the SentencePiece library makes of texts.

Trained as Llama's tokenizer was: BPE, bytes for rare characters, every digit by
itself, text as it is, blanks kept.

    pip install gguf==0.19.0 sentencepiece==0.2.3 tokenizers==0.23.3
    python tools/reference/tokenizer_sentencepiece.py models/tests/data/tokenizer/sentencepiece
"""

import io
import random
import sys
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from tokenizer_texts import TEXTS, write_rows

SEED = 20250101
VOCABULARY = 800
RANDOM_TEXTS = 200

# Jane Austen, Pride and Prejudice, 1813.
PASSAGE = """It is a truth universally acknowledged, that a single man in possession
of a good fortune, must be in want of a wife.

However little known the feelings or views of such a man may be on his
first entering a neighbourhood, this truth is so well fixed in the minds
of the surrounding families, that he is considered the rightful property
of some one or other of their daughters.

"My dear Mr. Bennet," said his lady to him one day, "have you heard that
Netherfield Park is let at last?"

Mr. Bennet replied that he had not.

"But it is," returned she; "for Mrs. Long has just been here, and she
told me all about it."

Mr. Bennet made no answer.

"Do not you want to know who has taken it?" cried his wife impatiently.

"_You_ want to tell me, and I have no objection to hearing it."
"""


def train():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PASSAGE.splitlines() * 4 + TEXTS),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        character_coverage=0.98,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        num_threads=1,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def token_type(model, i):
    if model.is_unknown(i):
        return gguf.TokenType.UNKNOWN
    if model.is_control(i):
        return gguf.TokenType.CONTROL
    return gguf.TokenType.BYTE if model.is_byte(i) else gguf.TokenType.NORMAL


def write_gguf(path, model):
    ids = range(model.vocab_size())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([model.id_to_piece(i) for i in ids])
    writer.add_token_scores([model.get_score(i) for i in ids])
    writer.add_token_types([token_type(model, i) for i in ids])
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def merges(model):
    """All pairs of pieces that make a piece, by the score of what they make."""
    kinds = {i: token_type(model, i) for i in range(model.vocab_size())}
    ids = {model.id_to_piece(i): i for i in kinds if kinds[i] == gguf.TokenType.NORMAL}
    pairs = []
    for piece, i in ids.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                pairs.append((-model.get_score(i), ids[left], ids[right], (left, right)))
    return [pair for *_, pair in sorted(pairs)]


def write_json(path, model):
    """As converted Llama checkpoints have it."""
    vocab = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    bpe = models.BPE(vocab, merges(model), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", model.bos_id())]
    )
    tokenizer.add_special_tokens([
        AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>")
    ])
    tokenizer.save(str(path), pretty=False)


def random_texts(rng, model):
    """Pieces in a row, among them runs of blanks and characters outside the vocabulary."""
    pieces = [model.id_to_piece(i) for i in range(model.vocab_size())]
    plain = [p.replace("▁", " ") for i, p in enumerate(pieces) if len(p) and i >= 259]
    others = [" ", "  ", "     ", "\n", "\t", "é", "日", "🙂", "--", "...", "7"]
    for _ in range(RANDOM_TEXTS):
        yield "".join(rng.choice(rng.choice([plain, plain, others])) for _ in range(12))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    model = train()
    write_gguf(folder / "tokenizer.gguf", model)
    write_json(folder / "tokenizer.json", model)
    texts = TEXTS + list(random_texts(random.Random(SEED), model))
    write_rows(folder / "ids.json", [[text, model.encode(text)] for text in texts])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
