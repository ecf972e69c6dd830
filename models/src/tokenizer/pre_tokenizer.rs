//! The pre-tokenizers that GGUF files name: how text is cut before byte pairs merge.
//!
//! A GGUF file holds only a name (`tokenizer.ggml.pre`); the patterns here are
//! those of the `tokenizer.json` files of the models behind the names.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, normalizers};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// GPT-2's own pattern.
    Gpt2,
    /// Single digits, then GPT-2's pattern.
    DigitsThenGpt2,
    Llama3,
    Qwen2,
    DeepSeekCoder,
    Tekken,
}

const NAMES: [(&str, Scheme); 14] = [
    ("default", Scheme::Gpt2),
    ("gpt-2", Scheme::Gpt2),
    ("smollm", Scheme::DigitsThenGpt2),
    ("starcoder", Scheme::DigitsThenGpt2),
    ("refact", Scheme::DigitsThenGpt2),
    ("command-r", Scheme::DigitsThenGpt2),
    ("llama-bpe", Scheme::Llama3),
    ("llama-v3", Scheme::Llama3),
    ("llama3", Scheme::Llama3),
    ("falcon3", Scheme::Llama3),
    ("qwen2", Scheme::Qwen2),
    ("deepseek-r1-qwen", Scheme::Qwen2),
    ("deepseek-coder", Scheme::DeepSeekCoder),
    ("tekken", Scheme::Tekken),
];

/// Everything that follows from a pre-tokenizer's name.
pub(super) struct PreTokenizer {
    pub(super) normalizer: Option<normalizers::unicode::NFC>,
    pub(super) splitter: PreTokenizerWrapper,
    /// Whether a piece that is a token as a whole is taken without merging.
    pub(super) ignore_merges: bool,
    /// Whether BOS precedes a text where the file does not say.
    pub(super) add_bos: bool,
}

/// All known names, for an error message.
pub(super) fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

/// The pre-tokenizer called `name`, if it is known.
pub(super) fn by_name(name: &str) -> Option<tokenizers::Result<PreTokenizer>> {
    let (_, scheme) = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(build(*scheme))
}

fn build(scheme: Scheme) -> tokenizers::Result<PreTokenizer> {
    let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
    if scheme == Scheme::DigitsThenGpt2 {
        steps.push(Digits::new(true).into());
    }
    for pattern in scheme.patterns() {
        let pattern = SplitPattern::Regex((*pattern).to_owned());
        steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
    }
    let gpt2 = matches!(scheme, Scheme::Gpt2 | Scheme::DigitsThenGpt2);
    steps.push(ByteLevel::new(false, false, gpt2).into());
    let whole_pieces = matches!(scheme, Scheme::Llama3 | Scheme::Tekken);
    Ok(PreTokenizer {
        normalizer: (scheme == Scheme::Qwen2).then_some(normalizers::unicode::NFC),
        splitter: Sequence::new(steps).into(),
        ignore_merges: whole_pieces,
        add_bos: whole_pieces,
    })
}

impl Scheme {
    /// Patterns applied one after the other, each to the pieces of the one before.
    fn patterns(self) -> &'static [&'static str] {
        match self {
            // ByteLevel brings the pattern.
            Self::Gpt2 | Self::DigitsThenGpt2 => &[],
            Self::Llama3 => &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
            Self::Qwen2 => &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
            Self::DeepSeekCoder => &[
                r"[\r\n]",
                r"\s?\p{L}+",
                r"\s?\p{P}+",
                r"[\u{0800}-\u{9fa5}\u{ac00}-\u{d7ff}]+",
                r"\p{N}",
            ],
            Self::Tekken => &[concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::normalizer::NormalizedString;
    use tokenizers::{
        Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
    };

    use super::super::vocabulary::{Spelling, spelt_bytes};
    use super::*;

    fn cut(name: &str, text: &str) -> Vec<String> {
        let pre = by_name(name).unwrap().unwrap();
        let mut text = NormalizedString::from(text);
        if let Some(normalizer) = &pre.normalizer {
            normalizer.normalize(&mut text).unwrap();
        }
        let mut pieces = PreTokenizedString::from(text);
        pre.splitter.pre_tokenize(&mut pieces).unwrap();
        let pieces = pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        let bytes = pieces
            .iter()
            .map(|(piece, _, _)| spelt_bytes(piece, Spelling::ByteLevel));
        bytes
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .filter(|piece| !piece.is_empty())
            .collect()
    }

    /// Against the same patterns in another regex engine.
    #[test]
    fn texts_are_cut_as_the_patterns_say() {
        let golden = include_str!("../../tests/data/tokenizer/splits.json");
        let golden: Vec<(String, String, Vec<String>)> = serde_json::from_str(golden).unwrap();
        for (name, text, expected) in &golden {
            assert_eq!(&cut(name, text), expected, "{name}: {text:?}");
        }
        assert!(golden.len() > 200);
    }

    /// A regex engine that gave up on the run would leave the text uncut.
    #[test]
    fn long_runs_of_blanks_are_cut() {
        let blanks = " ".repeat(super::super::MAX_BLANKS);
        for (name, _) in NAMES {
            let pieces = cut(name, &format!("{blanks}x{blanks}\n{blanks}"));
            assert_eq!(pieces[0].len(), blanks.len() - 1, "{name}");
            assert_eq!(pieces[1], " x", "{name}");
        }
    }

    #[test]
    fn every_name_builds() {
        for (name, _) in NAMES {
            assert!(by_name(name).unwrap().is_ok(), "{name}");
        }
        assert!(by_name("alien").is_none());
    }
}
