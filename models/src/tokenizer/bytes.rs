//! A tokenizer without a checkpoint: each byte is its own token.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::vocabulary::{Vocabulary, byte_level};
use super::{Affixes, Parts};
use crate::{Error, Result};

pub(super) fn parts(rows: usize) -> Result<Parts> {
    if rows < 256 {
        let message = format!("an embedding of {rows} rows has none for each byte");
        return Err(Error::Tokenizer(message));
    }
    let failed = |e: tokenizers::Error| Error::Tokenizer(e.to_string());
    let letters = ByteLevel::alphabet().into_iter();
    let ids: Vocab = letters
        .filter_map(|c| Some((c.to_string(), byte_level(c)?.into())))
        .collect();
    let model = BPE::builder().vocab_and_merges(ids, Vec::new()).build();
    let mut encoder = tokenizers::Tokenizer::new(model.map_err(failed)?);
    encoder.with_pre_tokenizer(Some(ByteLevel::new(false, false, false)));
    let mut vocabulary = Vocabulary::default();
    for byte in 0..=u8::MAX {
        vocabulary.push(&[byte], false);
    }
    Ok(Parts {
        encoder,
        vocabulary,
        affixes: Affixes::default(),
        space_prefix: false,
        rows,
    })
}

#[cfg(test)]
mod tests {
    use crate::tokenizer::Tokenizer;

    #[test]
    fn ids_are_bytes_and_back() {
        let tokenizer = Tokenizer::of_bytes(300).unwrap();
        let text = "Zürich, 1\n";
        let ids = tokenizer.encode(text, true).unwrap();
        let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
        assert_eq!(ids, bytes);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
        assert!(Tokenizer::of_bytes(255).is_err());
    }
}
