//! Tokens as a page of its own: no script, nothing from elsewhere.

use super::inspect::Token;
use crate::format;

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
pre { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
pre span { border-radius: 3px; padding: 2px 0; color: #111; }
pre span:hover { outline: 2px solid #0b6bcb; }
pre i { font-style: normal; opacity: .45; }
.a { background: #b7e0de; } .b { background: #e0dfb0; } .c { background: #dfbfe0; }
.d { background: #ffd9ad; } .e { background: #b9deb3; }
";

/// The page.
pub fn page(tokens: &[Token], summary: &str) -> String {
    let mut body = String::new();
    for (token, class) in tokens.iter().zip("abcde".chars().cycle()) {
        let text = escaped(&token.text);
        format::push(
            &mut body,
            format_args!("<span class=\"{class}\" title=\"{}\">{text}</span>", token.id),
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Tokens</title>\n\
         <style>\n{STYLE}</style>\n<h1>Tokens</h1>\n<p>{summary}; hover over a token for its id.</p>\n\
         <pre>{body}</pre>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("<i>⏎</i>\n"),
            '\t' => escaped.push_str("<i>⇥</i>\t"),
            control if control.is_control() => {
                format::push(&mut escaped, format_args!("<i>{:02x}</i>", control as u32));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let tokens = [Token {
            id: 12,
            text: "<script>\n&\x07\"".to_owned(),
            bytes: 12,
        }];
        let page = page(&tokens, "1 token");
        assert!(page.contains("title=\"12\">&lt;script&gt;<i>⏎</i>\n&amp;<i>07</i>&quot;</span>"));
        assert!(!page.contains("<script"));
    }
}
