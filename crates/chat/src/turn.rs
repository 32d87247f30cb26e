//! One reply while it is being written: the tool loop, the stop rules, the text so far.
//!
//! Knows ids, marks and the calculator; where tokens come from, and who runs what the calculator cannot, is
//! `batcher.rs`'s business.

use std::collections::VecDeque;

use ferrochat_tokenizer::Tokenizer;
use ferrochat_tools::calculate;

use crate::conversation::{Message, Part, PartKind, Role, text_of};
use crate::likelihood::Likelihood;
use crate::render::Marks;
use crate::utf8::Utf8Stream;

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The model chose this token, `<|assistant_end|>` or `<|bos|>`; it is not in the reply.
    End(u32),
    /// The reply has as many tokens as it may have.
    Length,
    /// Nobody wanted more.
    Early,
    /// There was no memory for more.
    Memory,
}

/// What one step adds to a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Which reply, counted through all prompts and samples.
    pub row: usize,
    /// The token; none where the reply ended without one that belongs to it.
    pub id: Option<u32>,
    /// True if the model chose it, false if it was put in after a tool call.
    pub sampled: bool,
    /// New text, whole characters only; often empty, where a character or a mark is not complete.
    pub text: String,
    /// What the text is part of.
    pub kind: PartKind,
    /// How likely the model found the token, where that was asked and the model chose it.
    pub likelihood: Option<Likelihood>,
    /// Set on the last of a reply.
    pub stopped: Option<Stopped>,
}

/// A finished reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its tokens, without the prompt and without the token that ended it.
    pub ids: Vec<u32>,
    /// 1 for tokens that the model chose, 0 for tokens put in after a tool call. As long as `ids`.
    pub mask: Vec<u8>,
    /// Its texts, tool calls and their results, in order.
    pub parts: Vec<Part>,
    /// What a reader sees: the texts alone.
    pub text: String,
    /// Why it ended.
    pub stopped: Stopped,
}

impl Reply {
    /// The message that goes on in the conversation.
    pub fn into_message(self) -> Message {
        Message {
            role: Role::Assistant,
            parts: self.parts,
        }
    }
}

/// The state of one reply.
pub(crate) struct Turn<'a> {
    tokenizer: &'a Tokenizer,
    marks: Marks,
    row: usize,
    left: usize,
    /// Tokens that come next whatever the model would choose.
    forced: VecDeque<u32>,
    /// Tokens since `<|python_start|>`, inside a tool call.
    call: Option<Vec<u32>>,
    /// Whether there is somebody for calls that the calculator cannot answer.
    asks: bool,
    /// Such a call, until somebody takes it.
    asked: Option<String>,
    kind: PartKind,
    utf8: Utf8Stream,
    ids: Vec<u32>,
    mask: Vec<u8>,
    parts: Vec<Part>,
    stopped: Option<Stopped>,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer, marks: Marks, row: usize, max_tokens: usize, asks: bool) -> Turn<'a> {
        Turn {
            asks,
            asked: None,
            tokenizer,
            marks,
            row,
            left: max_tokens,
            forced: VecDeque::new(),
            call: None,
            kind: PartKind::Text,
            utf8: Utf8Stream::new(),
            ids: Vec::new(),
            mask: Vec::new(),
            parts: Vec::new(),
            stopped: (max_tokens == 0).then_some(Stopped::Length),
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether the next token is one that is forced.
    pub(crate) fn is_forced(&self) -> bool {
        !self.forced.is_empty()
    }

    /// The next token: one that is forced, else what `choose` gives.
    pub(crate) fn step(&mut self, choose: impl FnOnce() -> u32) -> Delta {
        let forced = self.forced.pop_front();
        let id = forced.unwrap_or_else(choose);
        let kind = self.kind;
        if id == self.marks.assistant_end || id == self.marks.bos {
            self.stopped = Some(Stopped::End(id));
            let text = self.finish_part();
            return self.delta(None, true, kind, text);
        }
        self.ids.push(id);
        self.mask.push(u8::from(forced.is_none()));
        self.left -= 1;
        let mut text = if id < self.marks.bos {
            let text = self.utf8.push(self.tokenizer.token_bytes(id));
            self.append(&text);
            text
        } else {
            self.finish_part()
        };
        self.follow(id);
        if self.left == 0 {
            self.stopped = Some(Stopped::Length);
            text += &self.finish_part();
        }
        self.delta(Some(id), forced.is_none(), kind, text)
    }

    /// Ends the reply where it is.
    pub(crate) fn stop(&mut self, why: Stopped) -> Delta {
        self.stopped = Some(why);
        let (kind, text) = (self.kind, self.finish_part());
        self.delta(None, false, kind, text)
    }

    /// What a token means for tools: four special ones open and close calls and results.
    fn follow(&mut self, id: u32) {
        let marks = self.marks;
        if id == marks.python_end {
            self.kind = PartKind::Text;
            self.run_tool();
        } else if id == marks.python_start {
            self.begin(PartKind::Python);
            self.call = Some(Vec::new());
        } else {
            if id == marks.output_start {
                self.begin(PartKind::PythonOutput);
            } else if id == marks.output_end {
                self.kind = PartKind::Text;
            }
            if let Some(call) = &mut self.call {
                // Special tokens, too: their names are nothing that the calculator could run.
                call.push(id);
            }
        }
    }

    fn begin(&mut self, kind: PartKind) {
        self.kind = kind;
        self.parts.push(Part::new(kind, ""));
    }

    /// The result, where there is one, comes next as if the tool had spoken.
    fn run_tool(&mut self) {
        let Some(call) = self.call.take() else {
            return;
        };
        // Special tokens decode to their names, which are nothing that could be run.
        let text = self.tokenizer.decode(&call);
        match calculate(&text) {
            Some(result) => self.force(&result),
            None if self.asks && !text.trim().is_empty() => self.asked = Some(text),
            None => {}
        }
    }

    fn force(&mut self, result: &str) {
        self.forced.push_back(self.marks.output_start);
        self.forced.extend(self.tokenizer.encode_ordinary(result));
        self.forced.push_back(self.marks.output_end);
    }

    /// A call that waits for its result; nothing follows it before [`answered`](Self::answered).
    pub(crate) fn take_asked(&mut self) -> Option<String> {
        self.asked.take()
    }

    /// The result of the call that was taken.
    pub(crate) fn answered(&mut self, result: Option<&str>) {
        if let Some(result) = result {
            self.force(result);
        }
    }

    /// The tokens so far.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// No more bytes will complete the last character.
    fn finish_part(&mut self) -> String {
        let text = self.utf8.finish();
        self.append(&text);
        text
    }

    fn append(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.parts.last_mut() {
            Some(part) if part.kind() == self.kind => part.text_mut().push_str(text),
            _ => self.parts.push(Part::new(self.kind, text)),
        }
    }

    fn delta(&self, id: Option<u32>, sampled: bool, kind: PartKind, text: String) -> Delta {
        Delta {
            row: self.row,
            id,
            sampled,
            text,
            kind,
            likelihood: None,
            stopped: self.stopped,
        }
    }

    /// The reply, as far as it got.
    pub(crate) fn into_reply(mut self) -> Reply {
        self.finish_part();
        Reply {
            text: text_of(&self.parts),
            ids: self.ids,
            mask: self.mask,
            parts: self.parts,
            stopped: self.stopped.unwrap_or(Stopped::Early),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    use ferrochat_tokenizer::SPLIT_PATTERN;
    use proptest::prelude::*;

    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let ranks = include_bytes!("../../tokenizer/tests/fixtures/ranks.tiktoken");
        Tokenizer::from_tiktoken(ranks, SPLIT_PATTERN).unwrap()
    });

    fn tokenizer() -> &'static Tokenizer {
        &TOKENIZER
    }

    /// What comes of a model that would choose these ids, with its deltas.
    fn play(tokenizer: &Tokenizer, chosen: &[u32], max_tokens: usize) -> (Reply, Vec<Delta>) {
        play_with(tokenizer, chosen, max_tokens, None)
    }

    /// The same with somebody who answers this to whatever is asked.
    fn play_with(
        tokenizer: &Tokenizer,
        chosen: &[u32],
        max_tokens: usize,
        answer: Option<&str>,
    ) -> (Reply, Vec<Delta>) {
        let mut turn = Turn::new(tokenizer, Marks::of(tokenizer), 0, max_tokens, answer.is_some());
        let (mut chosen, mut deltas) = (chosen.iter(), Vec::new());
        while !turn.stopped() && (chosen.len() > 0 || !turn.forced.is_empty()) {
            deltas.push(turn.step(|| *chosen.next().expect("one is left")));
            if turn.take_asked().is_some() {
                turn.answered(answer);
            }
        }
        (turn.into_reply(), deltas)
    }

    /// Ids of a text in which special tokens are spelled out.
    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in text.split_inclusive("|>") {
            let mark = piece
                .find("<|")
                .filter(|_| piece.ends_with("|>"))
                .unwrap_or(piece.len());
            ids.extend(tokenizer.encode_ordinary(&piece[..mark]));
            ids.extend(tokenizer.special(&piece[mark..]));
        }
        ids
    }

    #[test]
    fn results_are_forced_and_masked() {
        let tokenizer = tokenizer();
        let chosen = ids(tokenizer, "It is <|python_start|>7/2<|python_end|>so.<|assistant_end|>");
        let (reply, _) = play(tokenizer, &chosen, 100);
        let expected = "It is <|python_start|>7/2<|python_end|><|output_start|>3.5<|output_end|>so.";
        assert_eq!(reply.ids, ids(tokenizer, expected));
        let masked: Vec<u32> = reply
            .ids
            .iter()
            .zip(&reply.mask)
            .filter(|&(_, &bit)| bit == 0)
            .map(|(&id, _)| id)
            .collect();
        assert_eq!(masked, ids(tokenizer, "<|output_start|>3.5<|output_end|>"));
        let parts = ["It is ", "7/2", "3.5", "so."];
        assert_eq!(reply.parts.iter().map(Part::text).collect::<Vec<_>>(), parts);
        let kinds = [PartKind::Text, PartKind::Python, PartKind::PythonOutput, PartKind::Text];
        assert_eq!(reply.parts.iter().map(Part::kind).collect::<Vec<_>>(), kinds);
        assert_eq!(reply.text, "It is so.");
        let end = tokenizer.special("<|assistant_end|>").unwrap();
        assert_eq!(reply.stopped, Stopped::End(end));
    }

    #[test]
    fn nothing_is_forced_without_a_result() {
        let tokenizer = tokenizer();
        for call in [
            "<|python_start|>1/0<|python_end|>x",
            "<|python_start|><|python_end|>x",
            "<|python_start|>2<|output_start|><|python_end|>x",
            "2+2<|python_end|>x",
            "<|python_start|>2+2",
            "<|output_start|>5<|output_end|>x",
        ] {
            let chosen = ids(tokenizer, call);
            let (reply, _) = play(tokenizer, &chosen, 100);
            assert_eq!((&reply.ids, reply.mask), (&chosen, vec![1; chosen.len()]), "{call}");
            assert_eq!(reply.stopped, Stopped::Early);
        }
    }

    #[test]
    fn only_what_is_nothing_for_the_calculator_is_asked() {
        let tokenizer = tokenizer();
        for (text, output) in [
            ("<|python_start|>len([1, 2])<|python_end|>", Some("yes")),
            ("<|python_start|>1/0<|python_end|>", Some("yes")),
            ("<|python_start|>6/2<|python_end|>", Some("3.0")),
            ("<|python_start|> \n<|python_end|>", None),
            ("x<|python_end|>", None),
            ("<|python_start|>len([1, 2])", None),
        ] {
            let (reply, _) = play_with(tokenizer, &ids(tokenizer, text), 100, Some("yes"));
            let last = reply.parts.last().filter(|part| part.kind() == PartKind::PythonOutput);
            assert_eq!(last.map(Part::text), output, "{text}");
        }
    }

    #[test]
    fn a_second_start_begins_the_call_anew() {
        let tokenizer = tokenizer();
        let (reply, _) = play(
            tokenizer,
            &ids(tokenizer, "<|python_start|>9<|python_start|>1+1<|python_end|>"),
            100,
        );
        assert_eq!(reply.parts.last(), Some(&Part::PythonOutput("2".to_owned())));
    }

    #[test]
    fn forced_tokens_count_towards_the_length() {
        let tokenizer = tokenizer();
        let chosen = ids(tokenizer, "<|python_start|>1/3<|python_end|>");
        let (reply, deltas) = play(tokenizer, &chosen, chosen.len() + 2);
        assert_eq!((reply.ids.len(), reply.stopped), (chosen.len() + 2, Stopped::Length));
        assert_eq!(deltas.last().unwrap().stopped, Some(Stopped::Length));
        assert_eq!(play(tokenizer, &chosen, 0).0.stopped, Stopped::Length);
    }

    proptest! {
        #[test]
        fn streamed_text_is_the_decoded_text(chosen in prop::collection::vec(0u32..791, 0..60), max_tokens in 1usize..80) {
            let tokenizer = tokenizer();
            let (reply, deltas) = play(tokenizer, &chosen, max_tokens);
            let streamed: String = deltas.iter().map(|delta| delta.text.as_str()).collect();
            prop_assert_eq!(&reply.ids, &chosen[..max_tokens.min(chosen.len())]);
            prop_assert_eq!(reply.text.clone(), tokenizer.decode(&reply.ids));
            prop_assert!(reply.text.starts_with(&streamed));
            if reply.stopped == Stopped::Length {
                prop_assert_eq!(streamed, reply.text);
            }
        }

        #[test]
        fn any_ids_in_any_order_are_survived(chosen in prop::collection::vec(prop_oneof![0u32..800, 791u32..800], 0..60)) {
            let tokenizer = tokenizer();
            let (reply, deltas) = play(tokenizer, &chosen, 70);
            prop_assert_eq!(reply.ids.len(), reply.mask.len());
            let sampled = reply.ids.iter().zip(&reply.mask).filter(|&(_, &bit)| bit == 1).map(|(&id, _)| id);
            let sampled: Vec<u32> = sampled.collect();
            prop_assert_eq!(&sampled[..], &chosen[..sampled.len()]);
            let visible: String = deltas.iter().filter(|d| d.kind == PartKind::Text).map(|d| d.text.as_str()).collect();
            prop_assert!(reply.text.starts_with(&visible));
        }
    }
}
