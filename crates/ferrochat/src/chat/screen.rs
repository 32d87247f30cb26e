//! An answer as it is written: text for anybody, tool calls dimmed for those at a terminal.
//! Knows parts of messages and terminals, not models.

use std::io::IsTerminal as _;

use anyhow::Result;
use ferrochat_chat::PartKind;

use crate::output;

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// True if escape sequences for colours are wanted on a stream (<https://no-color.org>).
pub fn colours(is_terminal: bool) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    is_terminal && !refused && !dumb
}

/// Where answers go.
pub struct Screen {
    terminal: bool,
    colours: bool,
    /// What the text that stands last is part of.
    kind: PartKind,
}

impl Screen {
    /// stdout.
    pub fn of_stdout() -> Screen {
        let terminal = std::io::stdout().is_terminal();
        Screen::new(terminal, colours(terminal))
    }

    fn new(terminal: bool, colours: bool) -> Screen {
        Screen {
            terminal,
            colours,
            kind: PartKind::Text,
        }
    }

    /// Adds a piece of an answer.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn show(&mut self, kind: PartKind, text: &str) -> Result<()> {
        let shown = self.shown(kind, text);
        if shown.is_empty() {
            Ok(())
        } else {
            output::print(&shown)
        }
    }

    /// Ends the part that stands last, which an interrupt may have left open.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn close(&mut self) -> Result<()> {
        let border = self.border(PartKind::Text);
        if border.is_empty() {
            Ok(())
        } else {
            output::print(&border)
        }
    }

    /// A remark beside the answer, for a person.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn remark(&self, text: &str) -> Result<()> {
        let (dim, plain) = self.dimmed();
        output::print(&format!("{dim}{text}{plain}\n"))
    }

    /// What is printed for a piece. Who reads from a pipe wants the words alone, and a terminal must obey the
    /// program, never the model: control characters are shown, not sent.
    fn shown(&mut self, kind: PartKind, text: &str) -> String {
        if !self.terminal {
            return if kind == PartKind::Text {
                text.to_owned()
            } else {
                String::new()
            };
        }
        if text.is_empty() {
            return String::new();
        }
        let mut shown = self.border(kind);
        shown.extend(text.chars().map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        }));
        shown
    }

    /// What stands between the last part and one of another kind: `[12*34 → 408]`.
    fn border(&mut self, kind: PartKind) -> String {
        let (dim, plain) = self.dimmed();
        let last = std::mem::replace(&mut self.kind, kind);
        match (last, kind) {
            (PartKind::Text, PartKind::Python) => format!("{dim}["),
            (PartKind::Text, PartKind::PythonOutput) => format!("{dim}[→ "),
            (PartKind::Python, PartKind::PythonOutput) => " → ".to_owned(),
            (PartKind::PythonOutput, PartKind::Python) => format!("]{plain} {dim}["),
            (PartKind::Python | PartKind::PythonOutput, PartKind::Text) => format!("]{plain} "),
            _ => String::new(),
        }
    }

    fn dimmed(&self) -> (&'static str, &'static str) {
        if self.colours { (DIM, PLAIN) } else { ("", "") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut screen: Screen, pieces: &[(PartKind, &str)]) -> String {
        let text: String = pieces.iter().map(|&(kind, text)| screen.shown(kind, text)).collect();
        text + &screen.border(PartKind::Text)
    }

    #[test]
    fn tool_calls_are_for_people() {
        let pieces = [
            (PartKind::Text, "That"),
            (PartKind::Text, ""),
            (PartKind::Python, "12*"),
            (PartKind::Python, "34"),
            // The mark between call and result has no text.
            (PartKind::Text, ""),
            (PartKind::PythonOutput, "408"),
            (PartKind::Text, "is 408."),
        ];
        assert_eq!(all(Screen::new(false, false), &pieces), "Thatis 408.");
        assert_eq!(all(Screen::new(true, false), &pieces), "That[12*34 → 408] is 408.");
        assert_eq!(
            all(Screen::new(true, true), &pieces),
            "That\x1b[2m[12*34 → 408]\x1b[0m is 408."
        );
        assert_eq!(all(Screen::new(true, false), &pieces[..3]), "That[12*] ");
    }

    #[test]
    fn a_model_cannot_steer_the_terminal() {
        let pieces = [(PartKind::Text, "a\x1b[31m\tb\nc\r\u{9b}2J")];
        assert_eq!(
            all(Screen::new(true, true), &pieces),
            "a\u{fffd}[31m\tb\nc\u{fffd}\u{fffd}2J"
        );
        assert_eq!(all(Screen::new(false, false), &pieces), pieces[0].1);
    }
}
