//! Text to pieces: the pattern decides where no merge may cross.
//!
//! The patterns that matter are compiled by hand (`machine`, by the rules in `patterns` over the character
//! classes of `class`); any other goes through `fancy-regex` (`regex`). The pieces always cover the whole
//! text: what a foreign pattern does not match is a piece of its own.
//!
//! Must never know ids or vocabularies.

mod class;
mod machine;
mod patterns;
mod regex;
#[cfg(test)]
mod tests;

pub use patterns::{CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, SPLIT_PATTERN};

use class::Classes;
use patterns::{Family, Gpt2, Gpt4, KNOWN, Known, O200k};
use regex::AnyPattern;

/// What hears of the pieces.
pub(crate) trait Visit {
    /// The next piece lies from `start` to `end`.
    fn piece(&mut self, start: usize, end: usize);
}

impl<F: FnMut(usize, usize)> Visit for F {
    #[inline(always)]
    fn piece(&mut self, start: usize, end: usize) {
        self(start, end);
    }
}

/// A split pattern made ready.
pub(crate) enum Splitter {
    /// By hand.
    Known {
        known: &'static Known,
        classes: &'static Classes,
    },
    /// By a regex engine.
    Any(AnyPattern),
}

impl Splitter {
    /// The splitter for `pattern`, as Rust and tiktoken spell it or as Hugging Face does.
    ///
    /// # Errors
    /// Why the pattern cannot be used, in a few words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let known = KNOWN
            .iter()
            .find(|known| known.pattern == pattern || known.oniguruma == pattern);
        match known {
            Some(known) => Ok(Self::Known {
                known,
                classes: Classes::shared(),
            }),
            None => AnyPattern::new(pattern).map(Self::Any),
        }
    }

    /// The pattern as Hugging Face `tokenizers` must read it.
    pub fn oniguruma(&self) -> &str {
        match self {
            Self::Known { known, .. } => known.oniguruma,
            Self::Any(any) => any.pattern(),
        }
    }

    /// Tells `visit` of each piece, first to last; together they are `text`.
    pub fn split(&self, text: &str, visit: &mut impl Visit) {
        let (known, classes) = match self {
            Self::Known { known, classes } => (known, *classes),
            Self::Any(any) => return any.split(text, visit),
        };
        let text = text.as_bytes();
        match known.family {
            Family::Nanochat => machine::split::<Gpt4<2, false>>(classes, text, visit),
            Family::Cl100k => machine::split::<Gpt4<3, true>>(classes, text, visit),
            Family::Llama3 => machine::split::<Gpt4<3, false>>(classes, text, visit),
            Family::Qwen2 => machine::split::<Gpt4<1, false>>(classes, text, visit),
            Family::Gpt2 => machine::split::<Gpt2>(classes, text, visit),
            Family::O200k => machine::split::<O200k>(classes, text, visit),
        }
    }
}
