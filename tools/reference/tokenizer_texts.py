"""Texts on which tokenizers differ, for the golden data of models/tests/data/tokenizer/."""

import json

TEXTS = [
    "",
    " ",
    "Hello world",
    " Hello  world ",
    "   three before, three after   ",
    "I'm you're we've he'd they'll it's don't",
    "I'M YOU'RE WE'VE HE'D THEY'LL IT'S DON'T",
    "'s at the front, rock'n'roll, ''' and ’s",
    "0 12 345 6789 1234567890 3.14159 1,000,000 2024-01-31",
    "a1b22c333d4444 v2.0.1 x86_64 0xFF",
    "½ ² Ⅷ ٣٤ 〇一二三 ①",
    "line\nline\n\nline\n\n\nline\r\nline\r\n\r\n",
    "  \n  \n\tindented\n\t\ttwice\n",
    "trailing blanks   \n   leading blanks",
    "tabs\t\t\tand\u00a0no-break\u00a0\u00a0spaces\u3000wide\u2028line",
    "def f(x: int) -> str:\n    return f\"{x!r:>10}\"  # comment\n",
    "if (a && b || !c) { x += y[0] / 2; } /* ok */ // end",
    "https://example.org/a_b?c=d&e=%20#f, user@example.org",
    "wait... what?! (really) [yes] {no} <maybe> «oui» „ja“ — so – it…",
    "$5 €6 £7 ¥8 + − × ÷ = ≠ ≤ ≥ ^ ~ ` | \\ / @ # % & *",
    "naïve café Größe Straße ÅNGSTRÖM ŒUVRE ĳ ŉ",
    "e\u0301 a\u0308 n\u0303 \u0301alone \u200dzwj\u200d",
    "Привет, мир! Как дела? Ёлка",
    "Καλημέρα κόσμε. Ὀδυσσεύς",
    "שלום עולם مرحبا بالعالم ۱۲۳",
    "नमस्ते दुनिया ก็ดี สวัสดีชาวโลก",
    "你好，世界！我爱北京天安门。今天是2024年1月31日",
    "日本語のテキスト、カタカナ・ひらがな。ｶﾀｶﾅ",
    "안녕하세요 세계! 한국어 텍스트",
    "🙂🙃 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷 ❤️ 1️⃣",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 𐐷 𠀀",
    "CamelCase mixedCASEWords iPhone JSONParser ÉCOLEprimaire ǅungla",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "----------------====----------------",
    "                                ",
    "\n\n\n\n\n\n\n\n",
    "The quick brown fox jumps over the lazy dog.\nPack my box with five dozen liquor jugs!",
]


def write_rows(path, rows):
    """One row a line, so that a difference shows its text."""
    if path.suffix != ".json":
        raise SystemExit(f"{path}: expected a .json file to write")
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
