//! Stop strings in a text that comes in pieces: nothing is shown that may yet turn out to be the beginning of one.
//! Knows text only.

/// Watches one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopWatch {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

impl StopWatch {
    /// `stops` are not empty texts.
    pub(crate) fn new(stops: &[String]) -> StopWatch {
        StopWatch {
            stops: stops.to_vec(),
            held: String::new(),
        }
    }

    /// The text that can be shown now that `text` has come, and whether a stop string has ended the answer.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        if self.stops.is_empty() {
            return (text.to_owned(), false);
        }
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(at) = found {
            let mut ready = std::mem::take(&mut self.held);
            ready.truncate(at);
            return (ready, true);
        }
        let may_begin = |at: &usize| {
            let tail = &self.held[*at..];
            self.stops.iter().any(|stop| stop.starts_with(tail))
        };
        let keep = self.held.char_indices().map(|(at, _)| at).find(may_begin);
        let held = keep.map_or_else(String::new, |at| self.held.split_off(at));
        (std::mem::replace(&mut self.held, held), false)
    }

    /// What is still held, once nothing follows it.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut watch = StopWatch::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            let (ready, found) = watch.push(piece);
            shown.push(ready);
            if found {
                return (shown, true);
            }
        }
        shown.push(watch.finish());
        (shown, false)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn beginnings_are_held_until_they_are_decided() {
        assert_eq!(play(&[], &["a", "b"]), (owned(&["a", "b", ""]), false));
        assert_eq!(play(&["END"], &["a E", "N", "Dx"]), (owned(&["a ", "", ""]), true));
        assert_eq!(play(&["END"], &["a E", "NX"]), (owned(&["a ", "ENX", ""]), false));
        assert_eq!(play(&["END"], &["EN"]), (owned(&["", "EN"]), false));
        // A beginning that fails may hold another.
        assert_eq!(play(&["aab"], &["aa", "ab"]), (owned(&["", "a"]), true));
        assert_eq!(play(&["x", "yz"], &["a y", "b yzx"]), (owned(&["a ", "yb "]), true));
        assert_eq!(
            play(&["é!"], &["caf", "é", "e"]),
            (owned(&["caf", "", "ée", ""]), false)
        );
    }
}
