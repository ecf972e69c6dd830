//! Ids to valid UTF-8, one id at a time.

use super::Tokenizer;
use crate::Result;

/// Decodes a growing sequence of ids.
///
/// A character may be spread over several tokens: its bytes wait here, at most
/// three of them, until the rest arrives or cannot arrive any more.
#[derive(Clone, Debug)]
pub struct TextStream {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// Whether a space at the front of the text is still to be dropped.
    trim_space: bool,
    /// The start of a character.
    pending: Vec<u8>,
}

impl TextStream {
    pub(super) fn new(tokenizer: Tokenizer, skip_special: bool, trim_space: bool) -> Self {
        Self {
            tokenizer,
            skip_special,
            trim_space,
            pending: Vec::new(),
        }
    }

    /// Takes the next id and returns the text that is complete with it, possibly none.
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] if the model has no such id.
    pub fn push(&mut self, id: u32) -> Result<String> {
        let mut bytes = self.tokenizer.bytes(id)?;
        if self.skip_special && self.tokenizer.is_special(id) {
            return Ok(String::new());
        }
        if self.trim_space && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            self.trim_space = false;
        }
        self.pending.extend_from_slice(bytes);
        Ok(take_complete(&mut self.pending))
    }

    /// Ends the text: a character still incomplete becomes U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Takes all text from `bytes` but the start of a last, incomplete character.
/// Bytes that no continuation can make valid become U+FFFD, as
/// [`String::from_utf8_lossy`] has it.
fn take_complete(bytes: &mut Vec<u8>) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text += valid;
                rest = &[];
                break;
            }
            Err(error) => error,
        };
        let (valid, after) = rest.split_at(error.valid_up_to());
        text += &String::from_utf8_lossy(valid);
        rest = after;
        let Some(invalid) = error.error_len() else {
            break;
        };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[invalid..];
    }
    bytes.drain(..bytes.len() - rest.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `n`; checks that little waits.
    fn in_pieces(bytes: &[u8], n: usize) -> String {
        let mut pending = Vec::new();
        let mut text = String::new();
        for piece in bytes.chunks(n) {
            pending.extend_from_slice(piece);
            text += &take_complete(&mut pending);
            assert!(pending.len() < 4, "{} bytes wait", pending.len());
        }
        text + &String::from_utf8_lossy(&pending)
    }

    #[test]
    fn pieces_join_to_what_decoding_at_once_gives() {
        let cases: [&[u8]; 7] = [
            "aé日𝄞z".as_bytes(),
            b"\xff\xfe\xfd",
            b"\xe6\x97",
            b"\xe6\x97a\xe6",
            b"\xf0\x9d\x84\x9e\xf0\x9d\x84",
            b"\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80",
            b"\x80\x80ok\x80",
        ];
        for case in cases {
            for n in 1..=case.len() {
                assert_eq!(
                    in_pieces(case, n),
                    String::from_utf8_lossy(case),
                    "{case:x?} by {n}"
                );
            }
        }
    }
}
