//! What each id stands for, in bytes.

/// How a vocabulary spells bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One printable character per byte (GPT-2).
    ByteLevel,
    /// Text with `▁` for a space, and `<0x0A>` for bytes outside the vocabulary.
    SentencePiece,
}

/// The longest token, in bytes: far above any real one, and small enough to
/// keep the encoder's search structures in proportion.
pub(super) const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// The bytes of every id, in one allocation.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// End of each id's bytes.
    ends: Vec<usize>,
    special: Vec<bool>,
}

impl Vocabulary {
    /// Adds the next id.
    pub(super) fn push(&mut self, bytes: &[u8], special: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.special.push(special);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of `id`; none if it stands for nothing.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..end]
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }
}

/// The bytes that an entry of the model's vocabulary stands for.
pub(super) fn spelt_bytes(token: &str, spelling: Spelling) -> Vec<u8> {
    match spelling {
        // An entry with a character outside the alphabet can only be plain text.
        Spelling::ByteLevel => token
            .chars()
            .map(byte_level)
            .collect::<Option<_>>()
            .unwrap_or_else(|| token.as_bytes().to_vec()),
        Spelling::SentencePiece => token.replace('▁', " ").into_bytes(),
    }
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes
/// are U+0100 onwards in ascending order.
pub(super) fn byte_level(c: char) -> Option<u8> {
    let code = u32::from(c);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Whether `token` has the shape of a SentencePiece byte token, `<0x…>`.
pub(super) fn looks_like_byte(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}

/// The byte of `<0x00>` to `<0xFF>`.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let two_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    two_digits.then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_level_alphabet_holds_every_byte_once() {
        let mut seen: Vec<u8> = ('\0'..'\u{200}').filter_map(byte_level).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(spelt_bytes("Ġthe", Spelling::ByteLevel), b" the");
        assert_eq!(spelt_bytes("ĊĠ", Spelling::ByteLevel), b"\n ");
        assert_eq!(spelt_bytes("Ã©", Spelling::ByteLevel), "é".as_bytes());
    }

    #[test]
    fn entries_outside_the_alphabet_are_plain_text() {
        assert_eq!(spelt_bytes("a b", Spelling::ByteLevel), b"a b");
        assert_eq!(spelt_bytes("日", Spelling::ByteLevel), "日".as_bytes());
    }

    #[test]
    fn byte_tokens_are_two_hex_digits() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        assert_eq!(byte_token("<0xff>"), Some(255));
        for bad in [
            "<0x-1>", "<0x+1>", "<0xZZ>", "<0x1>", "<0x001>", "0x0A", "<0x>",
        ] {
            assert_eq!(byte_token(bad), None, "{bad}");
        }
        assert!(looks_like_byte("<0xZZ>") && !looks_like_byte("<0x001>"));
    }

    #[test]
    fn ids_outside_stand_for_nothing() {
        let mut v = Vocabulary::default();
        v.push(b"a", false);
        v.push(b"", false);
        v.push(b"bc", true);
        assert_eq!(
            (v.bytes(0), v.bytes(1), v.bytes(2)),
            (&b"a"[..], &b""[..], &b"bc"[..])
        );
        assert_eq!(v.bytes(3), b"");
        assert!(v.is_special(2) && !v.is_special(0) && !v.is_special(u32::MAX));
    }
}
