//! Special tokens that are spelled out in text, where the caller allows it.

use crate::{SPECIAL_TOKENS, TokenizerError};

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    /// Ordinary text, never empty.
    Text(&'t str),
    /// The special token of this index.
    Special(usize),
}

/// Which special tokens are allowed, as indices.
///
/// # Errors
/// [`TokenizerError::UnknownSpecial`] for a name that is none.
pub(crate) fn indices(names: &[&str]) -> Result<Vec<usize>, TokenizerError> {
    let index = |name: &&str| {
        SPECIAL_TOKENS
            .iter()
            .position(|special| special == name)
            .ok_or_else(|| TokenizerError::UnknownSpecial {
                name: (*name).to_owned(),
            })
    };
    names.iter().map(index).collect()
}

/// Calls `visit` with the parts of `text`, first to last.
pub(crate) fn split<'t>(text: &'t str, allowed: &[usize], mut visit: impl FnMut(Part<'t>)) {
    let mut rest = text;
    let mut from = 0; // in `rest`, what need not be looked at again
    while let Some(found) = rest[from..].find("<|") {
        let at = from + found;
        // No name begins with another, so that at most one fits.
        let special = allowed
            .iter()
            .find(|&&index| rest[at..].starts_with(SPECIAL_TOKENS[index]));
        let Some(&index) = special else {
            from = at + 2;
            continue;
        };
        if at > 0 {
            visit(Part::Text(&rest[..at]));
        }
        visit(Part::Special(index));
        rest = &rest[at + SPECIAL_TOKENS[index].len()..];
        from = 0;
    }
    if !rest.is_empty() {
        visit(Part::Text(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_can_be_found() {
        for (k, name) in SPECIAL_TOKENS.iter().enumerate() {
            assert!(name.starts_with("<|"));
            for (other, longer) in SPECIAL_TOKENS.iter().enumerate() {
                assert_eq!(longer.starts_with(name), k == other);
            }
        }
    }

    #[test]
    fn only_what_is_allowed() {
        let parts = |text, allowed: &[usize]| {
            let mut parts = Vec::new();
            split(text, allowed, |part| parts.push(part));
            parts
        };
        let text = "a<|<|bos|><|user_start|>é<|bos|>";
        assert_eq!(
            parts(text, &[0]),
            [
                Part::Text("a<|"),
                Part::Special(0),
                Part::Text("<|user_start|>é"),
                Part::Special(0)
            ]
        );
        assert_eq!(parts(text, &[]), [Part::Text(text)]);
        assert_eq!(parts("", &[0]), []);
    }
}
