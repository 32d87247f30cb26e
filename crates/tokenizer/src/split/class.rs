//! What kind of character each code point is, as far as split patterns ask: one byte per code point in a
//! table of two levels, a constant for ASCII.
//!
//! The table is made at first use from the classes of `regex-syntax`, the crate that `fancy-regex` itself
//! asks, so that both always speak of the same version of Unicode.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// Neither white space, letter, number nor mark: punctuation, symbols, controls, unassigned.
pub const OTHER: u8 = 0;
/// `\p{M}`: combining marks. Most patterns treat them as [`OTHER`].
pub const MARK: u8 = 1;
/// `\p{Lu}` and `\p{Lt}`.
pub const UPPER: u8 = 2;
/// `\p{Ll}`.
pub const LOWER: u8 = 3;
/// `\p{Lm}` and `\p{Lo}`: letters without case.
pub const UNCASED: u8 = 4;
/// `\p{N}`.
pub const NUMBER: u8 = 5;
/// U+0020 alone.
pub const SPACE: u8 = 6;
/// `\r` and `\n`.
pub const NEWLINE: u8 = 7;
/// All other white space.
pub const WHITE: u8 = 8;

/// `\p{L}`.
pub const fn is_letter(class: u8) -> bool {
    matches!(class, UPPER | LOWER | UNCASED)
}

/// `[^\s\p{L}\p{N}]`.
pub const fn is_other(class: u8) -> bool {
    class <= MARK
}

/// `\s`.
pub const fn is_white(class: u8) -> bool {
    class >= SPACE
}

/// The classes of ASCII, without a detour through memory that is not warm.
pub static ASCII: [u8; 128] = {
    let mut classes = [OTHER; 128];
    let mut at = 0;
    while at < 128 {
        classes[at] = match at as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'0'..=b'9' => NUMBER,
            b' ' => SPACE,
            b'\r' | b'\n' => NEWLINE,
            b'\t' | 0x0B | 0x0C => WHITE,
            _ => OTHER,
        };
        at += 1;
    }
    classes
};

/// Code points to a block.
const BLOCK: usize = 256;

/// The classes of all code points.
pub struct Classes {
    /// Which of the distinct blocks each 256 code points are.
    blocks: [u16; 0x11_0000 / BLOCK],
    distinct: Vec<[u8; BLOCK]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::new);

impl Classes {
    /// The one table of the process.
    pub fn shared() -> &'static Self {
        &CLASSES
    }

    fn new() -> Self {
        let mut all = vec![OTHER; 0x11_0000];
        let rules = [
            (r"\p{M}", MARK),
            (r"\p{Lu}", UPPER),
            (r"\p{Lt}", UPPER),
            (r"\p{Ll}", LOWER),
            (r"\p{Lm}", UNCASED),
            (r"\p{Lo}", UNCASED),
            (r"\p{N}", NUMBER),
            (r"\s", WHITE),
            (" ", SPACE),
            (r"[\r\n]", NEWLINE),
        ];
        for (pattern, class) in rules {
            for (first, last) in ranges(pattern) {
                all[first..=last].fill(class);
            }
        }
        let mut blocks = [0; 0x11_0000 / BLOCK];
        let mut distinct: Vec<[u8; BLOCK]> = Vec::new();
        for (slot, block) in blocks.iter_mut().zip(all.chunks_exact(BLOCK)) {
            let known = distinct.iter().position(|other| other == block);
            *slot = known.unwrap_or_else(|| {
                distinct.push(block.try_into().expect("chunks are whole blocks"));
                distinct.len() - 1
            }) as u16;
        }
        Self { blocks, distinct }
    }

    /// The class of a code point.
    #[inline]
    fn of(&self, code_point: u32) -> u8 {
        let block = self.blocks[code_point as usize / BLOCK];
        self.distinct[block as usize][code_point as usize % BLOCK]
    }

    /// The class of the character at `at` and where it ends. `text` is UTF-8, `at` a boundary before its end.
    #[inline(always)]
    pub fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        match ASCII.get(text[at] as usize) {
            Some(&class) => (class, at + 1),
            None => self.beyond_ascii(text, at),
        }
    }

    #[inline]
    fn beyond_ascii(&self, text: &[u8], at: usize) -> (u8, usize) {
        let low = |index: usize| u32::from(text[index] & 0x3F);
        let first = u32::from(text[at]);
        let (code_point, end) = if first < 0xE0 {
            (((first & 0x1F) << 6) | low(at + 1), at + 2)
        } else if first < 0xF0 {
            (((first & 0x0F) << 12) | (low(at + 1) << 6) | low(at + 2), at + 3)
        } else {
            let high = ((first & 0x07) << 18) | (low(at + 1) << 12);
            (high | (low(at + 2) << 6) | low(at + 3), at + 4)
        };
        (self.of(code_point), end)
    }
}

/// The code points of a pattern that is one character class, as inclusive ranges.
fn ranges(pattern: &str) -> Vec<(usize, usize)> {
    let parsed = regex_syntax::parse(pattern).expect("the class patterns are valid");
    match parsed.into_kind() {
        HirKind::Class(Class::Unicode(class)) => class
            .ranges()
            .iter()
            .map(|range| (range.start() as usize, range.end() as usize))
            .collect(),
        HirKind::Class(Class::Bytes(class)) => class
            .ranges()
            .iter()
            .map(|range| (range.start() as usize, range.end() as usize))
            .collect(),
        HirKind::Literal(literal) => vec![(literal.0[0] as usize, literal.0[0] as usize)],
        other => unreachable!("{pattern} is not a class but {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fancy_regex::Regex;

    /// Every code point of the table against the regex engine itself.
    #[test]
    fn every_code_point_is_what_the_regex_says() {
        let classes = Classes::shared();
        type Is = fn(u8) -> bool;
        let rules: [(&str, Is); 9] = [
            (r"^\p{L}$", is_letter),
            (r"^\p{N}$", |class| class == NUMBER),
            (r"^\s$", is_white),
            (r"^\p{M}$", |class| class == MARK),
            (r"^[^\s\p{L}\p{N}]$", is_other),
            (r"^[\p{Lu}\p{Lt}]$", |class| class == UPPER),
            (r"^\p{Ll}$", |class| class == LOWER),
            (r"^[\p{Lm}\p{Lo}]$", |class| class == UNCASED),
            (r"^[\r\n]$", |class| class == NEWLINE),
        ];
        let rules = rules.map(|(pattern, is)| (Regex::new(pattern).unwrap(), is));
        let mut buffer = [0; 4];
        for character in '\0'..=char::MAX {
            let text = character.encode_utf8(&mut buffer);
            let (class, end) = classes.at(text.as_bytes(), 0);
            assert_eq!(end, text.len());
            assert_eq!(class, classes.of(character as u32));
            for (regex, is) in &rules {
                assert_eq!(regex.is_match(text).unwrap(), is(class), "{character:?} by {regex}");
            }
        }
    }
}
