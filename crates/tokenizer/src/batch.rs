//! Many texts at once, over all cores.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Tokenizer;
use crate::tokenizer::Vocabulary;

/// How many bytes of text a thread takes at a time: enough to forget about the lock, few enough to end
/// together.
const SHARE: usize = 1 << 18;

impl Tokenizer {
    /// [`encode_ordinary`](Self::encode_ordinary) of many texts, over all cores. The answer has their order.
    ///
    /// ```
    /// # let ranks: String = (0..=255_u8).map(|byte| {
    /// #     use base64::{Engine, engine::general_purpose::STANDARD};
    /// #     format!("{} {byte}\n", STANDARD.encode([byte]))
    /// # }).collect();
    /// # let tokenizer = ferrochat_tokenizer::Tokenizer::from_tiktoken(ranks.as_bytes(), ferrochat_tokenizer::SPLIT_PATTERN)?;
    /// let ids = tokenizer.encode_batch(&["Hi", "you"]);
    /// assert_eq!(ids, [tokenizer.encode_ordinary("Hi"), tokenizer.encode_ordinary("you")]);
    /// # Ok::<(), ferrochat_tokenizer::TokenizerError>(())
    /// ```
    pub fn encode_batch<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Vec<u32>> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        self.encode_batch_on(texts, threads)
    }

    /// [`encode_batch`](Self::encode_batch) over at most so many threads.
    pub fn encode_batch_on<T: AsRef<str> + Sync>(&self, texts: &[T], threads: usize) -> Vec<Vec<u32>> {
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let threads = threads.min(bytes.div_ceil(SHARE)).max(1);
        let mut answers: Vec<Vec<u32>> = Vec::new();
        answers.resize_with(texts.len(), Vec::new);
        let waiting = Mutex::new((texts, &mut answers[..]));
        let work = || {
            self.with_encoder(|encode| {
                // Answers are copied from one buffer: growing each by itself costs more.
                let mut ids = Vec::new();
                while let Some((texts, answers)) = take_share(&waiting) {
                    for (text, answer) in texts.iter().zip(answers) {
                        ids.clear();
                        encode(text.as_ref(), &mut ids);
                        answer.extend_from_slice(&ids);
                    }
                }
            });
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        answers
    }

    /// Lends `work` a function that encodes; several calls of it share what a single one must look for.
    fn with_encoder(&self, work: impl FnOnce(&mut dyn FnMut(&str, &mut Vec<u32>))) {
        match &self.vocabulary {
            Vocabulary::Bpe(bpe) => {
                bpe.with_encoder(|encoder| work(&mut |text, ids| bpe.encode_with(encoder, text, ids)));
            }
            Vocabulary::Characters(characters) => work(&mut |text, ids| characters.encode_into(text, ids)),
        }
    }
}

type Share<'a, T> = (&'a [T], &'a mut [Vec<u32>]);

/// The next texts, about [`SHARE`] bytes of them, with the places of their answers.
fn take_share<'a, T: AsRef<str>>(waiting: &Mutex<Share<'a, T>>) -> Option<Share<'a, T>> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let (texts, answers) = std::mem::take(&mut *waiting);
    let mut bytes = 0;
    let count = texts
        .iter()
        .take_while(|text| {
            let more = bytes < SHARE;
            bytes += text.as_ref().len();
            more
        })
        .count();
    let (texts, later_texts) = texts.split_at(count);
    let (answers, later_answers) = answers.split_at_mut(count);
    *waiting = (later_texts, later_answers);
    (count > 0).then_some((texts, answers))
}
