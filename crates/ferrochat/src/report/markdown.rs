//! Text of others (models, data, command lines) made harmless for Markdown: whatever it says, it stays text
//! in its place. Knows Markdown, never what the text means.

/// Inline text, also in a cell of a table: markup is escaped, line ends become `<br>`.
pub fn inline(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "(nothing)".to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("<br>"),
            '\t' => safe.push(' '),
            // A backslash before a pipe is read twice in tables, an entity once.
            '|' => safe.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '$' | '#' => safe.extend(['\\', c]),
            c if is_unseen(c) => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}

/// A block of code. Its fence is longer than any in the text, so that nothing breaks out.
pub fn fenced(language: &str, text: &str) -> String {
    let seen = |c: char| {
        if is_unseen(c) && c != '\n' && c != '\t' {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let text: String = text.trim_end().chars().map(seen).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n\n")
}

/// Control characters, and those that turn the direction of the text around them.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_lines_stay_in_their_cell() {
        assert_eq!(inline("a|b\n<b>*x*_"), r"a&#124;b<br>\<b\>\*x\*\_");
        assert_eq!(inline("  \n "), "(nothing)");
        assert_eq!(inline("a\u{202e}b\u{1b}[0m"), "a\u{fffd}b\u{fffd}\\[0m");
    }

    #[test]
    fn a_fence_is_longer_than_those_inside() {
        assert_eq!(fenced("text", "a\n````\nb\n"), "`````text\na\n````\nb\n`````\n\n");
        assert_eq!(fenced("", "x"), "```\nx\n```\n\n");
    }
}
