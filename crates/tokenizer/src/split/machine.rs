//! The matcher: where the piece that begins here ends, by looking at each character once.
//!
//! A pattern of the family is an ordered choice, and which alternative wins is known from the class of the
//! first character and the one after it, so that nothing is ever tried twice. ASCII words, most of most
//! texts, are measured eight bytes at a time.

use super::Visit;
use super::class::{
    ASCII, Classes, LOWER, MARK, NEWLINE, NUMBER, SPACE, UNCASED, UPPER, is_letter, is_other, is_white,
};
use super::patterns::Rules;

/// Tells `visit` of all pieces of `text`, which is UTF-8.
pub fn split<R: Rules>(classes: &Classes, text: &[u8], visit: &mut impl Visit) {
    let mut start = 0;
    while start < text.len() {
        let end = match ascii_word::<R>(text, start) {
            Some(end) => end,
            None => piece::<R>(classes, text, start),
        };
        visit.piece(start, end);
        start = end;
    }
}

/// What an ASCII byte may be at the beginning of a piece: 0 a letter, 1 something that may stand before a
/// word, 2 all else.
const fn beginnings(any_prefix: bool) -> [u8; 256] {
    let mut table = [2; 256];
    let mut byte = 0;
    while byte < 128 {
        let class = ASCII[byte];
        if is_letter(class) {
            table[byte] = 0;
        } else if class == SPACE || (any_prefix && class != NUMBER && class != NEWLINE && byte != b'\'' as usize) {
            table[byte] = 1;
        }
        byte += 1;
    }
    table
}

static BEGINNINGS: [[u8; 256]; 2] = [beginnings(false), beginnings(true)];

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// The high bit of each byte that lies between two ASCII characters, inclusive.
#[inline(always)]
const fn between(bytes: u64, first: u8, last: u8) -> u64 {
    let low = bytes & !HIGH;
    let from_first = low + (0x80 - first) as u64 * ONES;
    let beyond_last = low + (0x7F - last) as u64 * ONES;
    from_first & !beyond_last & !bytes & HIGH
}

/// The high bit of each byte that is no ASCII letter.
#[inline(always)]
const fn not_letters(bytes: u64) -> u64 {
    between(bytes | (0x20 * ONES), b'a', b'z') ^ HIGH
}

/// The end of the piece at `start` if it is an ASCII word of less than 16 bytes, prefix included, that no
/// rule but the one for words could touch; `None` leaves it to [`piece`].
#[inline(always)]
fn ascii_word<R: Rules>(text: &[u8], start: usize) -> Option<usize> {
    let window = text.get(start..start + 16)?;
    let beginning = BEGINNINGS[usize::from(R::ANY_PREFIX)][window[0] as usize];
    if beginning == 2 {
        return None;
    }
    let low = u64::from_le_bytes(window[..8].try_into().expect("eight bytes"));
    let high = u64::from_le_bytes(window[8..].try_into().expect("eight bytes"));
    let length = if R::CASED {
        // What may stand first has been seen to; the word proper begins after it.
        let skip = u32::from(beginning) * 8;
        let wide = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
        let upper = wide(between(low, b'A', b'Z'), between(high, b'A', b'Z'));
        let lower = wide(between(low, b'a', b'z'), between(high, b'a', b'z'));
        let highs = wide(HIGH, HIGH);
        let first_lower = ((upper ^ highs) >> skip << skip).trailing_zeros() & !7;
        if first_lower == 128 {
            return None;
        }
        ((lower ^ highs) >> first_lower << first_lower).trailing_zeros() as usize / 8
    } else {
        // The first byte counts as a letter: it is one, or it is a prefix.
        let (low, high) = (not_letters(low) & !0xFF, not_letters(high));
        if low != 0 {
            low.trailing_zeros() as usize / 8
        } else {
            8 + high.trailing_zeros() as usize / 8
        }
    };
    // A prefix alone is no word; a character beyond ASCII may go on with it, and so may a contraction.
    let &after = window.get(length)?;
    if length <= beginning as usize || after >= 0x80 || (R::CASED && after == b'\'') {
        return None;
    }
    Some(start + length)
}

/// The end of the piece at `start`, whatever it is.
fn piece<R: Rules>(classes: &Classes, text: &[u8], start: usize) -> usize {
    let (class, after) = classes.at(text, start);
    if !R::CASED
        && text[start] == b'\''
        && let Some(end) = contraction::<R>(text, start)
    {
        return end;
    }
    if class == NUMBER {
        return numbers::<R>(classes, text, after, 1);
    }
    if R::CASED && class != NEWLINE {
        if let Some(end) = cased_word(classes, text, start, class, after) {
            return contraction::<R>(text, end).unwrap_or(end);
        }
    } else if is_letter(class) {
        return letters(classes, text, after);
    }
    // Not a letter, not a number: what follows decides.
    let (next, after_next) = if after < text.len() {
        classes.at(text, after)
    } else {
        (NEWLINE, after) // the end of the text, which like a line break goes on with nothing
    };
    if !R::CASED && is_letter(next) && (class == SPACE || (R::ANY_PREFIX && class != NEWLINE)) {
        return letters(classes, text, after_next);
    }
    if R::SPACE_BEFORE_NUMBER && class == SPACE && next == NUMBER {
        return numbers::<R>(classes, text, after_next, 1);
    }
    if is_other(class) {
        return others::<R>(classes, text, after);
    }
    if class == SPACE && is_other(next) {
        return others::<R>(classes, text, after_next);
    }
    white_space::<R>(classes, text, start)
}

/// The end of the contraction whose apostrophe is at `at`, if there is one.
fn contraction<R: Rules>(text: &[u8], at: usize) -> Option<usize> {
    let &[b'\'', first, ref rest @ ..] = text.get(at..)? else {
        return None;
    };
    let fold = |byte: u8| {
        if R::CONTRACTIONS_IN_ANY_CASE {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    let second = rest.first().copied();
    match (fold(first), second.map(fold)) {
        (b's' | b'd' | b'm' | b't', _) => Some(at + 2),
        (b'l', Some(b'l')) | (b'v' | b'r', Some(b'e')) => Some(at + 3),
        // U+017F, the long s, is an s in another case.
        (0xC5, _) if R::CONTRACTIONS_IN_ANY_CASE && second == Some(0xBF) => Some(at + 3),
        _ => None,
    }
}

/// The end of a run of letters that has reached `at`.
fn letters(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    loop {
        while let Some(eight) = text.get(at..at + 8) {
            let stops = not_letters(u64::from_le_bytes(eight.try_into().expect("eight bytes")));
            if stops != 0 {
                at += stops.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        // Here is no ASCII letter, or the last few bytes, or a word that ASCII has little part in.
        loop {
            if at >= text.len() {
                return at;
            }
            let ascii = text[at] < 0x80;
            let (class, after) = classes.at(text, at);
            if !is_letter(class) {
                return at;
            }
            at = after;
            if ascii && text.len() - at >= 8 {
                break;
            }
        }
    }
}

/// The end of a number of which `taken` digits end at `at`.
fn numbers<R: Rules>(classes: &Classes, text: &[u8], mut at: usize, mut taken: usize) -> usize {
    while taken < R::DIGITS && at < text.len() {
        let (class, after) = classes.at(text, at);
        if class != NUMBER {
            break;
        }
        at = after;
        taken += 1;
    }
    at
}

/// The end of a run of other characters that has reached `at`, and what may follow it.
fn others<R: Rules>(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let (class, after) = classes.at(text, at);
        if !is_other(class) {
            break;
        }
        at = after;
    }
    let follows = |byte: &u8| {
        (R::NEWLINES_AFTER_OTHER && matches!(byte, b'\r' | b'\n')) || (R::SLASHES_AFTER_OTHER && *byte == b'/')
    };
    at + text[at..].iter().take_while(|byte| follows(byte)).count()
}

/// The end of the white space at `start`: there is at least one character of it, and it stands before no
/// word, number or other character that would take it along, unless there are several.
fn white_space<R: Rules>(classes: &Classes, text: &[u8], start: usize) -> usize {
    let mut end = start;
    let mut last = start;
    let mut after_newline = start;
    while end < text.len() {
        let (class, after) = classes.at(text, end);
        if !is_white(class) {
            break;
        }
        last = end;
        end = after;
        if class == NEWLINE {
            after_newline = end;
        }
    }
    let at_end = end == text.len();
    if at_end && R::END_COMES_FIRST {
        end
    } else if after_newline > start && R::CUTS_AT_NEWLINE {
        after_newline
    } else if at_end || last == start {
        end
    } else {
        last // it may belong to what follows
    }
}

/// The end of a word of [`Rules::CASED`] without its contraction. The character at `start` is of `class`,
/// ends at `after`, and is no number and no line break.
///
/// The pattern has two alternatives, `P?[UB]*[LB]+` and `P?[UB]+[LB]*` with upper U, lower L, uncased
/// letters and marks B, and P any character but letters, numbers and line breaks (so that marks are P and
/// B). Let X be the run of `[UB]` after P. If L follows X, the word goes on through `[LB]`. If not, the
/// first alternative gives back characters of X until one can be the `[LB]+`: the word ends after the last
/// B in X. Without any B in X it also gives back P, which helps if P is a mark, and then the mark is all.
/// Else the second alternative takes X as it is.
fn cased_word(classes: &Classes, text: &[u8], start: usize, class: u8, after: usize) -> Option<usize> {
    let from = if is_letter(class) { start } else { after };
    let mut at = from;
    let mut after_uncased = None;
    while at < text.len() {
        let (class, after) = classes.at(text, at);
        match class {
            UPPER => at = after,
            MARK | UNCASED => {
                at = after;
                after_uncased = Some(after);
            }
            LOWER => return Some(lower_run(classes, text, after)),
            _ => break,
        }
    }
    if after_uncased.is_some() {
        after_uncased
    } else if class == MARK {
        Some(after)
    } else if at > from {
        Some(at)
    } else {
        None
    }
}

/// The end of a run of lower-case and uncased letters and marks that has reached `at`.
fn lower_run(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let (class, after) = classes.at(text, at);
        if !matches!(class, LOWER | UNCASED | MARK) {
            break;
        }
        at = after;
    }
    at
}
