//! Random texts and ids from a printed seed.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(n)) as u32
    }

    /// ASCII, two-, three- and four-byte characters and blanks in equal parts.
    pub fn char(&mut self) -> char {
        let (start, end) = match self.below(5) {
            0 => (0x20, 0x7f),
            1 => (0xa0, 0x800),
            2 => (0x800, 0xffff),
            3 => (0x1_0000, 0x3_ffff),
            _ => return [' ', ' ', '\n', '\t', '\u{3000}'][self.below(5) as usize],
        };
        char::from_u32(start + self.below(end - start)).unwrap_or('-')
    }

    pub fn text(&mut self, max_chars: u32) -> String {
        let n = self.below(max_chars + 1);
        (0..n).map(|_| self.char()).collect()
    }
}
