//! Texts that a model is to continue, as it met them in training. This room must never know conversations.

use ferrochat_tokenizer::Tokenizer;

/// How a text begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextStart {
    /// With BOS, as every document did in training.
    #[default]
    Document,
    /// In the middle of running text; an empty prompt begins a new line.
    RunningText,
}

impl TextStart {
    /// The ids of a prompt.
    pub fn prompt(self, tokenizer: &Tokenizer, prompt: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        match self {
            TextStart::Document => ids.push(tokenizer.bos()),
            TextStart::RunningText if prompt.is_empty() => tokenizer.encode_ordinary_into("\n", &mut ids),
            TextStart::RunningText => {}
        }
        tokenizer.encode_ordinary_into(prompt, &mut ids);
        ids
    }
}
