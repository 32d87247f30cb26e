//! The patterns that are compiled by hand, each with the rules it comes down to.
//!
//! All of them cut text into contractions, words, numbers, runs of other characters and white space; they
//! differ in the constants of [`Rules`].

/// nanochat's split pattern (GPT-4's, with at most two digits to a piece).
pub const SPLIT_PATTERN: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// GPT-2's (r50k_base's) split pattern, in tiktoken's faster spelling.
pub const GPT2_PATTERN: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";

/// GPT-2's split pattern as it was published, which cuts alike.
const GPT2_PUBLISHED: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// cl100k_base's (GPT-4's) split pattern, in tiktoken's faster spelling.
pub const CL100K_PATTERN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// cl100k_base's pattern for Oniguruma, to which `{1,3}+` and `*+` would mean something else.
const CL100K_ONIGURUMA: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// cl100k_base's pattern as it was published first and as Llama 3 has it: a run of white space at the end
/// of the text is cut after its last line break too.
const CL100K_PUBLISHED: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's: the same with one digit to a piece.
const QWEN2_PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// o200k_base's (GPT-4o's) split pattern.
pub const O200K_PATTERN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// In what a pattern of this family may differ.
pub trait Rules {
    /// Words follow their case (`[upper or uncased]*[lower or uncased]+`), marks count as uncased letters,
    /// and contractions end a word; otherwise a word is `\p{L}+` and a contraction a piece of its own.
    const CASED: bool;
    /// Contractions are found in any case (and with U+017F for s).
    const CONTRACTIONS_IN_ANY_CASE: bool;
    /// A word may begin with any one character that is no letter, number or line break; otherwise with a
    /// space only.
    const ANY_PREFIX: bool;
    /// Digits to a piece.
    const DIGITS: usize;
    /// A number may begin with a space.
    const SPACE_BEFORE_NUMBER: bool;
    /// `\r` and `\n` after a run of other characters belong to it.
    const NEWLINES_AFTER_OTHER: bool;
    /// ... and so does `/` among them.
    const SLASHES_AFTER_OTHER: bool;
    /// A run of white space that holds `\r` or `\n` is cut after the last of them.
    const CUTS_AT_NEWLINE: bool;
    /// ... but a run at the end of the text stays whole even then.
    const END_COMES_FIRST: bool;
}

macro_rules! rules {
    ($(#[$about:meta])* $name:ident: $($constant:ident = $value:expr),* $(,)?) => {
        $(#[$about])*
        pub struct $name;
        impl Rules for $name {
            $(rules!(@ $constant = $value);)*
        }
    };
    (@ DIGITS = $value:expr) => { const DIGITS: usize = $value; };
    (@ $constant:ident = $value:expr) => { const $constant: bool = $value; };
}

rules! {
    /// [`GPT2_PATTERN`].
    Gpt2:
    CASED = false,
    CONTRACTIONS_IN_ANY_CASE = false,
    ANY_PREFIX = false,
    DIGITS = usize::MAX,
    SPACE_BEFORE_NUMBER = true,
    NEWLINES_AFTER_OTHER = false,
    SLASHES_AFTER_OTHER = false,
    CUTS_AT_NEWLINE = false,
    END_COMES_FIRST = true,
}

rules! {
    /// [`O200K_PATTERN`].
    O200k:
    CASED = true,
    CONTRACTIONS_IN_ANY_CASE = true,
    ANY_PREFIX = true,
    DIGITS = 3,
    SPACE_BEFORE_NUMBER = false,
    NEWLINES_AFTER_OTHER = true,
    SLASHES_AFTER_OTHER = true,
    CUTS_AT_NEWLINE = true,
    END_COMES_FIRST = false,
}

/// GPT-4's family: [`SPLIT_PATTERN`], [`CL100K_PATTERN`], and those that others made of it.
pub struct Gpt4<const DIGITS: usize, const END_COMES_FIRST: bool>;

impl<const DIGITS: usize, const END_COMES_FIRST: bool> Rules for Gpt4<DIGITS, END_COMES_FIRST> {
    const CASED: bool = false;
    const CONTRACTIONS_IN_ANY_CASE: bool = true;
    const ANY_PREFIX: bool = true;
    const DIGITS: usize = DIGITS;
    const SPACE_BEFORE_NUMBER: bool = false;
    const NEWLINES_AFTER_OTHER: bool = true;
    const SLASHES_AFTER_OTHER: bool = false;
    const CUTS_AT_NEWLINE: bool = true;
    const END_COMES_FIRST: bool = END_COMES_FIRST;
}

/// The rules by name, for one `match` where they are put to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `Gpt4<2, false>`.
    Nanochat,
    /// [`Gpt2`].
    Gpt2,
    /// `Gpt4<3, true>`.
    Cl100k,
    /// `Gpt4<3, false>`.
    Llama3,
    /// `Gpt4<1, false>`.
    Qwen2,
    /// [`O200k`].
    O200k,
}

/// A pattern that is recognised by its text.
pub struct Known {
    /// As it is written in Rust's and tiktoken's world.
    pub pattern: &'static str,
    /// The same as Hugging Face's regex engine must spell it.
    pub oniguruma: &'static str,
    /// What it comes down to.
    pub family: Family,
}

/// All patterns compiled by hand.
pub static KNOWN: [Known; 7] = [
    same_everywhere(SPLIT_PATTERN, Family::Nanochat),
    same_everywhere(GPT2_PATTERN, Family::Gpt2),
    same_everywhere(GPT2_PUBLISHED, Family::Gpt2),
    Known {
        pattern: CL100K_PATTERN,
        oniguruma: CL100K_ONIGURUMA,
        family: Family::Cl100k,
    },
    same_everywhere(CL100K_PUBLISHED, Family::Llama3),
    same_everywhere(QWEN2_PATTERN, Family::Qwen2),
    same_everywhere(O200K_PATTERN, Family::O200k),
];

const fn same_everywhere(pattern: &'static str, family: Family) -> Known {
    Known {
        pattern,
        oniguruma: pattern,
        family,
    }
}
