//! Stop strings in streamed text.

/// Holds back text that may be the beginning of a stop string.
#[derive(Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    pending: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// Text that is safe to show; more may follow.
    Continue(String),
    /// The text before a stop string; nothing follows.
    Stop(String),
}

impl StopStrings {
    /// Looks for any of `stops`; empty strings are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|s| !s.is_empty()).collect(),
            pending: String::new(),
        }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) -> Scan {
        self.pending.push_str(text);
        let found = self
            .stops
            .iter()
            .filter_map(|s| self.pending.find(s.as_str()));
        if let Some(at) = found.min() {
            self.pending.truncate(at);
            return Scan::Stop(std::mem::take(&mut self.pending));
        }
        let held = self.held_back();
        let tail = self.pending.split_off(self.pending.len() - held);
        Scan::Continue(std::mem::replace(&mut self.pending, tail))
    }

    /// The text still held back, once no more comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.pending)
    }

    /// Length of the longest end of `pending` that begins a stop string.
    fn held_back(&self) -> usize {
        let text = &self.pending;
        let longest = |stop: &String| {
            (1..stop.len().min(text.len() + 1))
                .rev()
                .find(|&n| stop.is_char_boundary(n) && text.ends_with(&stop[..n]))
        };
        self.stops.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut scanner = StopStrings::new(stops.iter().map(|s| s.to_string()));
        let mut shown = String::new();
        for piece in pieces {
            match scanner.push(piece) {
                Scan::Continue(text) => shown += &text,
                Scan::Stop(text) => return (shown + &text, true),
            }
        }
        (shown + &scanner.finish(), false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_found() {
        assert_eq!(
            scan(&["END"], &["so E", "N", "D and on"]),
            ("so ".into(), true)
        );
        assert_eq!(
            scan(&["\n\n", "Q:"], &["a\n", "Q", ": b"]),
            ("a\n".into(), true)
        );
    }

    #[test]
    fn held_back_text_appears_when_it_was_no_stop() {
        assert_eq!(
            scan(&["END"], &["the E", "N", "T"]),
            ("the ENT".into(), false)
        );
        assert_eq!(scan(&["END"], &["EN"]), ("EN".into(), false));
        assert_eq!(scan(&[""], &["text"]), ("text".into(), false));
    }

    #[test]
    fn characters_are_never_split() {
        assert_eq!(scan(&["éé"], &["é", "x"]), ("éx".into(), false));
        assert_eq!(scan(&["éé"], &["aé", "é"]), ("a".into(), true));
    }

    #[test]
    fn text_that_cannot_stop_is_shown_at_once() {
        let mut scanner = StopStrings::new(["END".to_string()]);
        assert_eq!(scanner.push("abc E"), Scan::Continue("abc ".into()));
    }
}
