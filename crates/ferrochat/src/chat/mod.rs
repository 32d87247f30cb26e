//! `chat`: talking to a model. From flags to a model that answers, and to the three ways to ask it: a
//! terminal, one message, lines of JSON. How answers are made is the chat crate's business.

mod lines;
mod screen;
mod terminal;

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context, Result};
use ferrochat_chat::{Conversation, Engine, Message, Part, Reply, ReplyOptions, Role, Tool, prompt};
use ferrochat_model::Sampling;
use ferrochat_tokenizer::Tokenizer;

use crate::about::About;
use crate::chat::screen::Screen;
pub use crate::chat::screen::colours;
use crate::cli::{ChatArgs, ComputeArgs, ModelArgs};
use crate::errors::{Interrupted, refuse, usage};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::model::{self, Trained};
use crate::{output, python};

/// `chat`
///
/// # Errors
/// No such model, flags that cannot work, or a message that cannot be answered.
pub fn command(home: &Home, args: ChatArgs) -> Result<()> {
    let options = reply_options(&args)?;
    let tool = python::tool_only(args.python)?;
    // What was asked is read before a large model is.
    let asked = match args.prompt {
        Some(text) => Some(text),
        None if args.jsonl || std::io::stdin().is_terminal() => None,
        None => Some(message_on_stdin()?),
    };
    if asked.as_ref().is_some_and(|text| text.trim().is_empty()) {
        refuse!("there is nothing to answer: the message is empty; give it with -p, or on stdin");
    }
    let model = args.model.resolve(home)?;
    let trained = model::load_to_talk(home, &model)?;
    let talker = Talker::new(&trained, options, tool)?;
    let system = args.system.filter(|text| !text.is_empty());
    if args.jsonl {
        excuse_base(&model.run, &trained);
        return lines::answer(&talker, system.as_deref(), std::io::stdin().lock());
    }
    let Some(text) = asked else {
        excuse_base(&model.run, &trained);
        return terminal::talk(&talker, &opening(&model.run, &trained)?, system);
    };
    let mut conversation = Conversation::from(Vec::from_iter(system.map(Message::system)));
    conversation.messages.push(Message::user(text));
    answer_once(&talker, &conversation, || excuse_base(&model.run, &trained))
}

/// A talk in the terminal with the usual settings, as `chat --run` begins it.
///
/// # Errors
/// No such model, or the terminal fails.
pub fn talk(home: &Home, run: &str, compute: &ComputeArgs) -> Result<()> {
    let trained = model::load_to_talk(home, &ModelArgs::latest(run, compute))?;
    let talker = Talker::new(&trained, ReplyOptions::default(), None)?;
    terminal::talk(&talker, &opening(run, &trained)?, None)
}

/// One answer on stdout. `before` is called once nothing is left to refuse.
fn answer_once(talker: &Talker, conversation: &Conversation, before: impl FnOnce()) -> Result<()> {
    let ids = talker.prompt(conversation).map_err(usage)?;
    before();
    let interrupt = Interrupt::listen()?;
    talker.answer(&ids, 0, &interrupt, &mut Screen::of_stdout())?;
    output::print("\n")?;
    match interrupt.requested() {
        None => Ok(()),
        Some(signal) => Err(anyhow::Error::new(Interrupted {
            signal,
            message: "interrupted before the end of the answer".to_owned(),
        })),
    }
}

fn reply_options(args: &ChatArgs) -> Result<ReplyOptions> {
    if !(args.temperature.is_finite() && args.temperature >= 0.0) {
        refuse!("--temperature must be a number from 0 on");
    }
    if args.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        refuse!("--top-p must be a probability above 0 and at most 1");
    }
    if args.max_tokens == 0 || args.max_tokens > 1 << 16 {
        refuse!(
            "--max-tokens {} is out of range; it must be from 1 to {}",
            args.max_tokens,
            1 << 16
        );
    }
    Ok(ReplyOptions {
        max_tokens: args.max_tokens,
        sampling: Sampling {
            temperature: args.temperature,
            top_k: (args.top_k > 0).then_some(args.top_k),
            top_p: args.top_p,
            seed: args.seed,
        },
        ..ReplyOptions::default()
    })
}

/// All of stdin, without the line ends after it.
fn message_on_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("cannot read the message on stdin")?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => refuse!(
            "the message on stdin is not text: byte {} is not UTF-8",
            error.utf8_error().valid_up_to() + 1
        ),
    }
}

/// Says what to expect of a model that never saw a conversation.
fn excuse_base(run: &str, trained: &Trained) {
    if trained.stage == "base" {
        eprintln!(
            "note: the run {run:?} has base training only: its model continues text and has not been taught to chat"
        );
    }
}

/// What is said before the first question.
fn opening(run: &str, trained: &Trained) -> Result<String> {
    let about = About::of(run, trained)?;
    let mut text = format!("{}\n{}", about.title, about.summary);
    if !about.suggestions.is_empty() {
        text += "\nTry:";
    }
    for question in &about.suggestions {
        text += "\n  ";
        text += question;
    }
    Ok(text + "\n/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends")
}

/// A model that answers conversations.
struct Talker<'a> {
    engine: Engine<'a>,
    tokenizer: &'a Tokenizer,
    /// Tokens that the model can read.
    context: usize,
    options: ReplyOptions,
}

impl<'a> Talker<'a> {
    fn new(trained: &'a Trained, options: ReplyOptions, tool: Option<Tool>) -> Result<Talker<'a>> {
        Ok(Talker {
            engine: Engine::new(&trained.gpt, &trained.tokenizer)
                .map_err(usage)?
                .with_tool(tool),
            tokenizer: &trained.tokenizer,
            context: trained.gpt.config().sequence_len,
            options,
        })
    }

    /// The ids that an answer to this conversation follows.
    ///
    /// # Errors
    /// One sentence: it breaks the rules, its last message is too long, or the model lacks one of its characters.
    fn prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, String> {
        for (index, message) in conversation.messages.iter().enumerate() {
            for text in message.parts.iter().map(Part::text) {
                if let Some((_, character)) = self.tokenizer.unknown_character(text) {
                    return Err(format!(
                        "message {} has the character {character:?}, which is not in this model's character vocabulary",
                        index + 1
                    ));
                }
            }
        }
        // The answer should fit into the context, too; for a long question that is given up.
        let reserved = self.options.max_tokens.min(self.context / 2);
        prompt(conversation, self.tokenizer, self.context - reserved)
            .or_else(|_| prompt(conversation, self.tokenizer, self.context))
            .map_err(|error| error.to_string())
    }

    /// Answers a prompt on the screen, until it is done or interrupted. Each `turn` has its own draws.
    fn answer(&self, ids: &[u32], turn: u64, interrupt: &Interrupt, screen: &mut Screen) -> Result<Reply> {
        let mut options = self.options.clone();
        options.sampling.seed = options.sampling.seed.wrapping_add(turn);
        let mut replies = self.engine.stream(&[ids], &options).map_err(usage)?;
        while interrupt.requested().is_none()
            && let Some(deltas) = replies.next()
        {
            for delta in &deltas {
                screen.show(delta.kind, &delta.text)?;
            }
        }
        screen.close()?;
        Ok(replies.into_replies().remove(0))
    }
}

/// Puts a system message before a conversation that has none.
fn with_system(mut conversation: Conversation, system: Option<&str>) -> Conversation {
    let has_own = conversation
        .messages
        .first()
        .is_some_and(|first| first.role == Role::System);
    if let Some(system) = system.filter(|_| !has_own) {
        conversation.messages.insert(0, Message::system(system));
    }
    conversation
}
