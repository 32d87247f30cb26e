//! The machine against the patterns themselves, run by a backtracking engine.

use super::*;
use fancy_regex::{Regex, RegexBuilder};
use proptest::prelude::*;
use std::sync::LazyLock;

struct Both {
    splitter: Splitter,
    regex: Regex,
}

static ALL: LazyLock<Vec<Both>> = LazyLock::new(|| {
    let both = |known: &Known| Both {
        splitter: Splitter::new(known.pattern).unwrap(),
        regex: RegexBuilder::new(known.pattern)
            .backtrack_limit(usize::MAX)
            .build()
            .unwrap(),
    };
    KNOWN.iter().map(both).collect()
});

fn pieces<'t>(splitter: &Splitter, text: &'t str) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    splitter.split(text, &mut |start: usize, end: usize| pieces.push(&text[start..end]));
    pieces
}

fn check(both: &Both, text: &str) {
    let expected: Vec<&str> = both
        .regex
        .find_iter(text)
        .map(|found| found.unwrap().as_str())
        .collect();
    let ours = pieces(&both.splitter, text);
    if ours != expected {
        // Texts may be long: show the first difference only.
        let at = ours.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let near = |pieces: &[&str]| format!("{:?}", &pieces[at.saturating_sub(2)..pieces.len().min(at + 4)]);
        panic!("{}: {} where {} is right", both.regex, near(&ours), near(&expected));
    }
}

#[test]
fn known_patterns_are_not_left_to_the_engine() {
    for known in &KNOWN {
        for pattern in [known.pattern, known.oniguruma] {
            let splitter = Splitter::new(pattern).unwrap();
            assert!(matches!(splitter, Splitter::Known { .. }), "{pattern}");
            assert_eq!(splitter.oniguruma(), known.oniguruma);
        }
    }
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
    let splitter = Splitter::new(O200K_PATTERN).unwrap();
    assert_eq!(
        pieces(&splitter, "HTTPServer's camelCase IT'S\u{301}A 中A中AB //\n/x"),
        [
            "HTTPServer's",
            " camel",
            "Case",
            " IT'S",
            "\u{301}",
            "A",
            " 中A中",
            "AB",
            " //\n/",
            "x"
        ]
    );
}

/// Each code point between, before, after and instead of what the rules look at.
#[test]
fn every_code_point_in_several_contexts() {
    const CONTEXTS: &str = "a@b @A'@s@ A@1@'@S 1@!@\n@  @\t@@x'S@\r\nB@@ 'll@b/@/\n";
    /// For planes in which nothing is assigned.
    const FEWER: &str = "a@ @1@'@S @\n@A@";
    const AT_ONCE: usize = 64;

    let characters: Vec<char> = ('\0'..=char::MAX).collect();
    let halves = characters.split_at(characters.len() / 4); // the first planes take longer
    let run = |characters: &[char]| {
        for some in characters.chunks(AT_ONCE) {
            let text: String = some
                .iter()
                .map(|&character| {
                    let nowhere = ('\u{40000}'..='\u{dffff}').contains(&character) || character >= '\u{f0000}';
                    let contexts = if nowhere { FEWER } else { CONTEXTS };
                    contexts.replace('@', character.encode_utf8(&mut [0; 4]))
                })
                .collect();
            // Those that differ in constants only are told apart by the other tests.
            for both in ALL.iter().filter(|both| {
                [SPLIT_PATTERN, GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN].contains(&both.regex.as_str())
            }) {
                check(both, &text);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(halves.0));
        run(halves.1);
    });
}

/// All short texts over an alphabet with one character for each thing that a rule looks at.
#[test]
fn every_short_text_over_the_classes() {
    const ALPHABET: [&str; 14] = [
        " ", "\n", "\t", "\r", "a", "S", "l", "\u{17f}", "'", "!", "/", "7", "\u{301}", "中",
    ];
    let size = ALPHABET.len();
    for length in 1..=4_u32 {
        for number in 0..size.pow(length) {
            let text: String = (0..length).map(|k| ALPHABET[number / size.pow(k) % size]).collect();
            for both in &*ALL {
                check(both, &text);
            }
        }
    }
}

/// Characters of every kind, those that have ever been trouble most often.
fn troublesome() -> impl Strategy<Value = String> {
    let white =
        "[\\s\u{85}\u{a0}\u{1680}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{2000}-\u{200b}\u{feff}\u{1c}-\u{1f}]";
    let contraction = "'(s|S|\u{17f}|t|T|re|rE|VE|ve|m|LL|lL|ll|d|D|x|l|\u{212a})";
    let piece = prop_oneof![
        4 => "[ \t\r\n]{1,4}",
        4 => "[a-z]{1,20}",
        3 => "[A-Za-z]{1,9}",
        2 => contraction,
        2 => "[0-9]{1,5}",
        2 => "[!-/:-@\\[-`{-~]{1,3}",
        1 => "\r?\n",
        1 => white,
        1 => "\\p{L}{1,4}",
        1 => "\\p{N}{1,4}",
        1 => "\\p{M}{1,3}",
        1 => "[\\p{Lu}\\p{Lt}]{1,3}",
        1 => "[\\p{Lm}\\p{Lo}]{1,3}",
        1 => "\\p{Zs}|\\p{S}|\\p{P}|\\p{C}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn equals_the_engine(text in troublesome()) {
        for both in &*ALL {
            check(both, &text);
        }
    }

    #[test]
    fn covers_any_text(text in any::<String>()) {
        for both in &*ALL {
            check(both, &text);
            prop_assert_eq!(pieces(&both.splitter, &text).concat(), text.as_str());
        }
    }

    #[test]
    fn other_patterns_cover_any_text(text in troublesome()) {
        static OTHERS: LazyLock<Vec<Splitter>> = LazyLock::new(|| {
            [r"\p{L}+", r"[^\s]+|\s+", "a*", r"(?=a)|b", r"(a|aa)+$", "", r"\s*|.", "^."]
                .map(|pattern| Splitter::new(pattern).unwrap())
                .into()
        });
        for splitter in &*OTHERS {
            prop_assert!(matches!(splitter, Splitter::Any(_)));
            let pieces = pieces(splitter, &text);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces.concat(), text.as_str());
        }
    }
}

#[test]
fn other_patterns_keep_what_lies_between_matches() {
    let splitter = Splitter::new(r"\p{L}+").unwrap();
    assert_eq!(pieces(&splitter, "ab, cd!é"), ["ab", ", ", "cd", "!", "é"]);
    let splitter = Splitter::new("a*").unwrap();
    assert_eq!(pieces(&splitter, "bbaac"), ["bb", "aa", "c"]);
}

#[test]
fn refuses_what_is_no_pattern() {
    let refused = |pattern: &str| Splitter::new(pattern).err().unwrap();
    assert!(refused(r"(\p{L}+").contains("parenthes"), "{}", refused(r"(\p{L}+"));
    assert!(refused(r"\p{N}{1,3}+").contains("(?>"));
    assert!(refused(&"a".repeat(5000)).contains("longer"));
}

#[test]
fn an_engine_that_gives_up_leaves_the_rest_whole() {
    let splitter = Splitter::new(r"(?:(?=(a+))a)+(?:a*)*\1$|b").unwrap();
    let text = format!("b{}c", "a".repeat(40));
    assert_eq!(pieces(&splitter, &text).concat(), text);
}
