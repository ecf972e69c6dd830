//! SentencePiece BPE with bytes for rare characters, from GGUF and from tokenizer.json.

use kcache_models::tokenizer::Tokenizer;

use crate::data::{check, data, from_gguf, from_hf, golden};
use crate::random::Random;

fn both() -> [Tokenizer; 2] {
    let folder = data("sentencepiece");
    [from_gguf(&folder.join("tokenizer.gguf")), from_hf(&folder)]
}

#[test]
fn ids_equal_those_of_the_sentencepiece_library() {
    let golden = golden("sentencepiece/ids.json");
    for tokenizer in both() {
        check(&tokenizer, &golden);
    }
}

#[test]
fn golden_texts_come_back() {
    for tokenizer in both() {
        for (text, ids) in golden("sentencepiece/ids.json") {
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
    }
}

#[test]
fn any_text_comes_back() {
    let mut random = Random::new(2);
    let texts: Vec<String> = (0..300)
        .map(|_| random.text(40).replace('▁', "_"))
        .collect();
    for tokenizer in both() {
        for text in &texts {
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(&tokenizer.decode(&ids, false).unwrap(), text);
        }
    }
}

#[test]
fn bos_is_added_only_on_demand() {
    for tokenizer in both() {
        let ids = tokenizer.encode("truth", false).unwrap();
        let with_bos = tokenizer.encode("truth", true).unwrap();
        assert_eq!(with_bos, [&[1], &ids[..]].concat());
        assert_eq!(tokenizer.decode(&with_bos, true).unwrap(), "truth");
    }
}

/// What follows a prompt keeps the space that parts it from the prompt.
#[test]
fn a_continuation_keeps_its_first_space() {
    for tokenizer in both() {
        let ids = tokenizer.encode("truth", false).unwrap();
        let text = |mut stream: kcache_models::tokenizer::TextStream| {
            let mut text = String::new();
            for id in &ids {
                text += &stream.push(*id).unwrap();
            }
            text + &stream.finish()
        };
        assert_eq!(text(tokenizer.stream()), "truth");
        assert_eq!(text(tokenizer.continuation()), " truth");
    }
}

/// Each text between special tokens begins with a space of its own.
#[test]
fn special_tokens_part_texts() {
    for tokenizer in both() {
        let a = tokenizer.encode("that", false).unwrap();
        let b = tokenizer.encode("man", false).unwrap();
        let ids = tokenizer.encode("that</s>man", false).unwrap();
        assert_eq!(ids, [&a[..], &[2], &b[..]].concat());
    }
}
