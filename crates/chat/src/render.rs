//! Conversations to ids, with the mask of what a model learns from them, and prompts to answer.
//!
//! `<|bos|>`, then for each message its start, its content, its end. The mask is 1 where the assistant speaks:
//! its texts, its tool calls with their two marks, and the end of its message; not its start, which the
//! prompt holds, and not what a tool gave back. Every part is encoded by itself, so that no token reaches
//! across a border; marks are ids that no text can spell.

use ferrochat_tokenizer::Tokenizer;

use crate::ChatError;
use crate::conversation::{Conversation, Message, PartKind, Role, text_of};

/// Ids and what is learned of them, equally long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 1 for tokens that the assistant is trained to say, 0 for all others.
    pub mask: Vec<u8>,
}

impl Rendered {
    fn push(&mut self, id: u32, mask: u8) {
        self.ids.push(id);
        self.mask.push(mask);
    }

    fn text(&mut self, tokenizer: &Tokenizer, text: &str, mask: u8) {
        tokenizer.encode_ordinary_into(text, &mut self.ids);
        self.mask.resize(self.ids.len(), mask);
    }

    fn truncate(&mut self, tokens: usize) {
        self.ids.truncate(tokens);
        self.mask.truncate(tokens);
    }
}

/// The ids of the special tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) bos: u32,
    pub(crate) user_start: u32,
    pub(crate) user_end: u32,
    pub(crate) assistant_start: u32,
    pub(crate) assistant_end: u32,
    pub(crate) python_start: u32,
    pub(crate) python_end: u32,
    pub(crate) output_start: u32,
    pub(crate) output_end: u32,
}

impl Marks {
    pub(crate) fn of(tokenizer: &Tokenizer) -> Marks {
        let id = |name| {
            tokenizer
                .special(name)
                .expect("every tokenizer has the nine special tokens")
        };
        Marks {
            bos: tokenizer.bos(),
            user_start: id("<|user_start|>"),
            user_end: id("<|user_end|>"),
            assistant_start: id("<|assistant_start|>"),
            assistant_end: id("<|assistant_end|>"),
            python_start: id("<|python_start|>"),
            python_end: id("<|python_end|>"),
            output_start: id("<|output_start|>"),
            output_end: id("<|output_end|>"),
        }
    }
}

/// Writes one conversation's messages.
struct Renderer<'a> {
    tokenizer: &'a Tokenizer,
    marks: Marks,
}

impl Renderer<'_> {
    /// A system message stands before the text of the first user message, two line ends between.
    fn user(&self, message: &Message, system: Option<&Message>, to: &mut Rendered) {
        let mut text = text_of(&message.parts);
        if let Some(system) = system {
            text = format!("{}\n\n{text}", text_of(&system.parts));
        }
        to.push(self.marks.user_start, 0);
        to.text(self.tokenizer, &text, 0);
        to.push(self.marks.user_end, 0);
    }

    fn assistant(&self, message: &Message, to: &mut Rendered) {
        let marks = &self.marks;
        to.push(marks.assistant_start, 0);
        for part in &message.parts {
            let around = match part.kind() {
                PartKind::Text => None,
                PartKind::Python => Some((marks.python_start, marks.python_end, 1)),
                PartKind::PythonOutput => Some((marks.output_start, marks.output_end, 0)),
            };
            if let Some((start, end, mask)) = around {
                to.push(start, mask);
                to.text(self.tokenizer, part.text(), mask);
                to.push(end, mask);
            } else {
                to.text(self.tokenizer, part.text(), 1);
            }
        }
        to.push(marks.assistant_end, 1);
    }

    fn messages(&self, turns: &[Message], mut system: Option<&Message>, to: &mut Rendered) {
        for message in turns {
            match message.role {
                Role::Assistant => self.assistant(message, to),
                _ => self.user(message, system.take(), to),
            }
        }
    }
}

/// A conversation for training: its first `max_tokens` tokens.
///
/// # Errors
/// [`ChatError::Conversation`] if it breaks the rules of [`Conversation::validate`].
pub fn render(conversation: &Conversation, tokenizer: &Tokenizer, max_tokens: usize) -> Result<Rendered, ChatError> {
    conversation.validate()?;
    let mut rendered = rendered(conversation, tokenizer);
    rendered.truncate(max_tokens);
    Ok(rendered)
}

fn rendered(conversation: &Conversation, tokenizer: &Tokenizer) -> Rendered {
    let marks = Marks::of(tokenizer);
    let (system, turns) = conversation.split();
    let mut rendered = Rendered::default();
    rendered.push(marks.bos, 0);
    Renderer { tokenizer, marks }.messages(turns, system, &mut rendered);
    rendered
}

/// A conversation whose last answer is to be said anew: without that last assistant message (there need not be
/// one), cut to its first `max_tokens` tokens, and `<|assistant_start|>` after them.
///
/// For measuring and for RL, where prompts are short; [`prompt`] never cuts the question off.
///
/// # Errors
/// [`ChatError::Conversation`] if it breaks the rules.
pub fn render_for_completion(
    conversation: &Conversation,
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<Vec<u32>, ChatError> {
    conversation.validate()?;
    let mut asked = conversation.clone();
    asked.messages.pop_if(|message| message.role == Role::Assistant);
    let mut ids = rendered(&asked, tokenizer).ids;
    ids.truncate(max_tokens);
    ids.push(Marks::of(tokenizer).assistant_start);
    Ok(ids)
}

/// The prompt for the next answer in a talk: at most `max_tokens` tokens that end with `<|assistant_start|>`.
/// Where the talk is longer, its oldest exchanges are left out; the system message stays.
///
/// # Errors
/// [`ChatError::Conversation`] if it breaks the rules, if it is the user's turn, or if the last message alone
/// is too long.
pub fn prompt(conversation: &Conversation, tokenizer: &Tokenizer, max_tokens: usize) -> Result<Vec<u32>, ChatError> {
    conversation.validate()?;
    let (system, turns) = conversation.split();
    if turns.len() % 2 == 0 {
        return Err(ChatError::Conversation(
            "the last message is from the assistant; a message from the user must follow before it can answer"
                .to_owned(),
        ));
    }
    let marks = Marks::of(tokenizer);
    let renderer = Renderer { tokenizer, marks };
    let render_one = |message: &Message, system| {
        let mut rendered = Rendered::default();
        renderer.messages(std::slice::from_ref(message), system, &mut rendered);
        rendered.ids
    };
    // From the newest to the oldest: `later` holds what follows the exchange that is looked at.
    let mut later: Vec<Vec<u32>> = Vec::new();
    let mut length = 2;
    let mut best: Option<Vec<u32>> = None;
    for (index, message) in turns.iter().enumerate().rev() {
        let plain = render_one(message, None);
        if index % 2 == 0 {
            let first = if system.is_some() {
                render_one(message, system)
            } else {
                plain.clone()
            };
            if length + first.len() <= max_tokens {
                let messages = std::iter::once(&first).chain(later.iter().rev());
                best = Some(messages.flatten().copied().collect());
            } else if best.is_none() {
                return Err(ChatError::Conversation(format!(
                    "the last message has {} tokens and the model can read {max_tokens}; it must be shorter",
                    length + first.len()
                )));
            }
        }
        length += plain.len();
        if length > max_tokens {
            break;
        }
        later.push(plain);
    }
    let mut ids = vec![marks.bos];
    ids.extend(best.expect("the last message fits, or its length was refused"));
    ids.push(marks.assistant_start);
    Ok(ids)
}
