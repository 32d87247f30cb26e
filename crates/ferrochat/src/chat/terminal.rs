//! The talk in a terminal: lines in, answers out, a few commands. Knows people, not how answers are made.

use anyhow::{Context, Result};
use ferrochat_chat::{Conversation, Message, Stopped};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use crate::chat::screen::Screen;
use crate::chat::{Talker, with_system};
use crate::interrupt::Interrupt;
use crate::output;

const HELP: &str = "/clear         forget what was said and begin anew
/system TEXT   begin anew with this system message; without TEXT, with none
/help          this list
/quit          end, as Ctrl-D does
Ctrl-C stops an answer; twice, it ends. Arrow keys edit the line and bring earlier ones back.";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Message(&'a str),
    Clear,
    System(&'a str),
    Help,
    Quit,
    Unknown(&'a str),
}

impl Typed<'_> {
    fn read(line: &str) -> Typed<'_> {
        if line.trim().is_empty() {
            return Typed::Nothing;
        }
        if !line.starts_with('/') {
            return Typed::Message(line.trim());
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, rest.trim()) {
            ("/clear", "") => Typed::Clear,
            ("/help", "") => Typed::Help,
            ("/quit" | "/exit", "") => Typed::Quit,
            ("/system", text) => Typed::System(text),
            _ => Typed::Unknown(command),
        }
    }
}

/// Talks until the person has enough.
///
/// # Errors
/// The terminal fails.
pub fn talk(talker: &Talker, opening: &str, system: Option<String>) -> Result<()> {
    let interrupt = Interrupt::listen_to_ctrl_c()?;
    let config = Config::builder().auto_add_history(true).build();
    let mut editor = DefaultEditor::with_config(config).context("cannot use this terminal")?;
    let mut talk = Talk {
        talker,
        screen: Screen::of_stdout(),
        system,
        conversation: Conversation::default(),
        turn: 0,
    };
    talk.screen.remark(opening)?;
    let mut pressed = false;
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) if pressed => return Ok(()),
            Err(ReadlineError::Interrupted) => {
                pressed = true;
                talk.screen.remark("Ctrl-C again, or Ctrl-D, ends")?;
                continue;
            }
            Err(error) => return Err(error).context("cannot read from this terminal"),
        };
        pressed = false;
        match Typed::read(&line) {
            Typed::Nothing => {}
            Typed::Quit => return Ok(()),
            Typed::Help => talk.screen.remark(HELP)?,
            Typed::Unknown(command) => talk.screen.remark(&format!(
                "there is no command {command} like this; /help lists them (a message may begin with a space)"
            ))?,
            Typed::Clear => talk.begin_anew("forgotten; a new talk begins")?,
            Typed::System("") => {
                talk.system = None;
                talk.begin_anew("a new talk begins, without a system message")?;
            }
            Typed::System(text) => {
                talk.system = Some(text.to_owned());
                talk.begin_anew("a new talk begins, with this system message")?;
            }
            Typed::Message(text) => {
                interrupt.forget();
                talk.answer(text, &interrupt)?;
                pressed = interrupt.requested().is_some();
            }
        }
    }
}

struct Talk<'a> {
    talker: &'a Talker<'a>,
    screen: Screen,
    system: Option<String>,
    /// Without the system message.
    conversation: Conversation,
    turn: u64,
}

impl Talk<'_> {
    fn begin_anew(&mut self, remark: &str) -> Result<()> {
        self.conversation.messages.clear();
        self.screen.remark(remark)
    }

    /// Answers and remembers question and answer; neither if there is nothing to remember.
    fn answer(&mut self, text: &str, interrupt: &Interrupt) -> Result<()> {
        self.conversation.messages.push(Message::user(text));
        let asked = with_system(self.conversation.clone(), self.system.as_deref());
        let ids = match self.talker.prompt(&asked) {
            Ok(ids) => ids,
            Err(sentence) => {
                self.conversation.messages.pop();
                return self.screen.remark(&sentence);
            }
        };
        let reply = self.talker.answer(&ids, self.turn, interrupt, &mut self.screen)?;
        self.turn += 1;
        output::print("\n")?;
        match reply.stopped {
            Stopped::Early => self.screen.remark("stopped; Ctrl-C again ends")?,
            Stopped::Length => self.screen.remark("cut off at --max-tokens")?,
            Stopped::Memory => self.screen.remark("cut off: there is no memory for more")?,
            Stopped::End(_) if reply.parts.is_empty() => self.screen.remark("no answer")?,
            Stopped::End(_) => {}
        }
        if reply.parts.iter().all(|part| part.text().is_empty()) {
            self.conversation.messages.pop();
        } else {
            self.conversation.messages.push(reply.into_message());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_begin_with_a_slash() {
        for (line, typed) in [
            ("  ", Typed::Nothing),
            ("hello /help", Typed::Message("hello /help")),
            (" /help me", Typed::Message("/help me")),
            ("/help", Typed::Help),
            ("/clear ", Typed::Clear),
            ("/quit", Typed::Quit),
            ("/system  Be kind. ", Typed::System("Be kind.")),
            ("/system", Typed::System("")),
            ("/quit now", Typed::Unknown("/quit")),
            ("/systems", Typed::Unknown("/systems")),
        ] {
            assert_eq!(Typed::read(line), typed, "{line:?}");
        }
    }
}
