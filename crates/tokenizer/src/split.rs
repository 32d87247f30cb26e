//! Text to pieces: the pattern decides where no merge may cross.
//!
//! Only patterns known here are accepted, so that a tokenizer file from a stranger can never bring a
//! regular expression that runs forever. The pieces always cover the whole text.
//!
//! Must never know ids or vocabularies. The matcher is `fancy-regex`, apart from runs of white space:
//! there the pattern backtracks once per character, so those few rules are written out by hand.

use fancy_regex::{Regex, RegexBuilder, RegexInput};

/// nanochat's split pattern (GPT-4's, with at most two digits to a piece).
pub const SPLIT_PATTERN: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// GPT-2's split pattern, in tiktoken's faster spelling.
pub const GPT2_PATTERN: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";

/// cl100k_base's (GPT-4's) split pattern, in tiktoken's faster spelling.
pub const CL100K_PATTERN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// cl100k_base's pattern for Oniguruma, to which `{1,3}+` and `*+` would mean something else.
const CL100K_ONIGURUMA: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// A pattern and what it does with two or more white-space characters in a row. All of them keep a run
/// at the very end whole and otherwise leave its last character to what follows.
struct Known {
    pattern: &'static str,
    /// The same pattern as Hugging Face's regex engine must spell it.
    oniguruma: &'static str,
    /// A run that holds `\r` or `\n` is cut after the last of them.
    cuts_at_newline: bool,
    /// ... but a run at the end of the text stays whole even then.
    end_comes_first: bool,
}

static KNOWN: [Known; 3] = [
    Known {
        pattern: SPLIT_PATTERN,
        oniguruma: SPLIT_PATTERN,
        cuts_at_newline: true,
        end_comes_first: false,
    },
    Known {
        pattern: GPT2_PATTERN,
        oniguruma: GPT2_PATTERN,
        cuts_at_newline: false,
        end_comes_first: true,
    },
    Known {
        pattern: CL100K_PATTERN,
        oniguruma: CL100K_ONIGURUMA,
        cuts_at_newline: true,
        end_comes_first: true,
    },
];

/// A compiled split pattern.
pub(crate) struct Splitter {
    known: &'static Known,
    regex: Regex,
}

impl Splitter {
    /// The splitter for `pattern` in either spelling; `None` if it is not one of the known patterns.
    pub fn new(pattern: &str) -> Option<Self> {
        let known = KNOWN
            .iter()
            .find(|known| known.pattern == pattern || known.oniguruma == pattern)?;
        let regex = RegexBuilder::new(known.pattern)
            .backtrack_limit(usize::MAX)
            .build()
            .expect("the known patterns compile");
        Some(Self { known, regex })
    }

    /// The pattern as Hugging Face `tokenizers` must read it.
    pub fn oniguruma(&self) -> &'static str {
        self.known.oniguruma
    }

    /// The patterns that [`new`](Self::new) accepts, in Hugging Face's spelling.
    pub fn known_oniguruma() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.oniguruma)
    }

    /// Calls `visit` with each piece, first to last; together they are `text`.
    pub fn split<'t>(&self, text: &'t str, mut visit: impl FnMut(&'t str)) {
        let mut start = 0;
        while start < text.len() {
            let end = self.white_space(text, start);
            let end = end.unwrap_or_else(|| self.regex_match(text, start));
            visit(&text[start..end]);
            start = end;
        }
    }

    /// The end of the piece at `start` if two or more white-space characters begin there.
    fn white_space(&self, text: &str, start: usize) -> Option<usize> {
        let rest = &text[start..];
        let mut run = 0;
        let mut last = 0;
        let mut after_newline = 0;
        for (at, character) in rest.char_indices() {
            if !character.is_whitespace() {
                break;
            }
            last = at;
            run = at + character.len_utf8();
            if matches!(character, '\r' | '\n') {
                after_newline = run;
            }
        }
        if last == 0 {
            return None; // none, or a single one: it may belong to the word after it
        }
        let at_end = run == rest.len();
        let length = if at_end && self.known.end_comes_first {
            run
        } else if after_newline > 0 && self.known.cuts_at_newline {
            after_newline
        } else if at_end {
            run
        } else {
            last
        };
        Some(start + length)
    }

    /// The end of the match at `start`.
    fn regex_match(&self, text: &str, start: usize) -> usize {
        // The patterns match at every position and never emptily, and there is no limit to run into.
        // Were that ever wrong, the rest of the text would be one piece: slower, but nothing is lost.
        let input = RegexInput::new(text).from_pos(start).anchored(true);
        match self.regex.find_input(input) {
            Ok(Some(found)) if found.end() > start => found.end(),
            _ => text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static SPLITTERS: LazyLock<Vec<Splitter>> =
        LazyLock::new(|| KNOWN.iter().filter_map(|known| Splitter::new(known.pattern)).collect());

    fn pieces<'t>(splitter: &Splitter, text: &'t str) -> Vec<&'t str> {
        let mut pieces = Vec::new();
        splitter.split(text, |piece| pieces.push(piece));
        pieces
    }

    fn by_regex_alone<'t>(splitter: &Splitter, text: &'t str) -> Vec<&'t str> {
        let matches = splitter.regex.find_iter(text);
        matches.map(|found| found.unwrap().as_str()).collect()
    }

    #[test]
    fn splits_like_the_reference() {
        let splitter = Splitter::new(SPLIT_PATTERN).unwrap();
        assert_eq!(
            pieces(&splitter, "I'LL pay 12345  dollars!!\n\n  (ok)  "),
            [
                "I", "'LL", " pay", " ", "12", "34", "5", " ", " dollars", "!!\n\n", " ", " (", "ok", ")", "  "
            ]
        );
    }

    #[test]
    fn refuses_other_patterns() {
        assert!(Splitter::new("(a|aa)+$").is_none());
    }

    proptest! {
        #[test]
        fn white_space_by_hand_equals_the_regex(
            text in "([ \t\r\n\u{85}\u{a0}\u{2028}\u{3000}]|[ax1!'\u{17f}sLlé５]|\u{301}){0,40}"
        ) {
            for splitter in &*SPLITTERS {
                prop_assert_eq!(pieces(splitter, &text), by_regex_alone(splitter, &text));
            }
        }

        #[test]
        fn any_text_is_covered(text in any::<String>()) {
            for splitter in &*SPLITTERS {
                prop_assert_eq!(pieces(splitter, &text).concat(), text.as_str());
            }
        }
    }
}
