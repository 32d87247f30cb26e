//! Patterns that nobody compiled by hand, through `fancy-regex`.

use super::Visit;
use fancy_regex::{Regex, RegexInput};

/// The longest pattern taken; those in use have a few hundred bytes.
const LONGEST: usize = 4096;

/// A split pattern behind a backtracking engine.
pub struct AnyPattern {
    pattern: String,
    regex: Regex,
}

/// Whether `{1,3}+` or the like occurs.
fn has_possessive_counts(pattern: &str) -> bool {
    pattern.match_indices("}+").any(|(at, _)| {
        let count = pattern[..at].rsplit_once('{').map_or("x", |(_, count)| count);
        count.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
    })
}

impl AnyPattern {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// Why it cannot be used, in a few words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        if has_possessive_counts(pattern) {
            return Err("`{…}+` means one thing to Rust and another to Hugging Face; write (?>…) instead".to_owned());
        }
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok(Self {
            pattern: pattern.to_owned(),
            regex,
        })
    }

    /// As it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Tells `visit` of each match and of each gap between matches. Where the engine
    /// gives up (a pattern may backtrack for ever; it stops after a million steps), the rest is one piece.
    pub fn split(&self, text: &str, visit: &mut impl Visit) {
        let mut done = 0; // what has been visited
        let mut from = 0; // where to look next
        while from < text.len() {
            let Ok(Some(found)) = self.regex.find_input(RegexInput::new(text).from_pos(from)) else {
                break;
            };
            let (start, end) = (found.start(), found.end());
            if start == end {
                // Empty matches cut nothing, or `a*` would cut everything into characters.
                from = end + text[end..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            if done < start {
                visit.piece(done, start);
            }
            visit.piece(start, end);
            done = end;
            from = end;
        }
        if done < text.len() {
            visit.piece(done, text.len());
        }
    }
}
