//! Choosing tokens on the card: the host side of `source/sample.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::Buffer;
use crate::dtype::DType;
use crate::ops::choose::{Choice, Chooser};

/// A longer list of sorted candidates is the host's work.
const CANDIDATES: usize = 1024;

/// In place of a number of candidates: all tokens in the order of their ids.
const ALL_TOKENS: i32 = 0;
/// Likewise: the kernel leaves this one out.
const ON_THE_HOST: i32 = -1;

/// A choice as the kernel has it.
#[repr(C)]
struct KernelChoice {
    draw: f64,
    temperature: f32,
    top_p: f32,
    row: i32,
    top_k: i32,
}

/// Threads for a row: a power of two, of which each looks at several logits where there are as many.
fn threads(vocab: usize) -> usize {
    vocab.div_ceil(4).next_power_of_two().clamp(32, 1024)
}

/// How many candidates a choice sorts.
fn candidates(choice: &Choice, vocab: usize) -> i32 {
    let k = choice.top_k.unwrap_or(vocab).clamp(1, vocab);
    match choice {
        Choice { temperature: 0.0, .. } => ALL_TOKENS,
        Choice { top_p: None, .. } if k == vocab => ALL_TOKENS,
        _ if k <= CANDIDATES => k as i32,
        _ => ON_THE_HOST,
    }
}

impl Cuda {
    pub(super) fn choose_tokens(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        let rows: Vec<KernelChoice> = choices
            .iter()
            .map(|choice| KernelChoice {
                draw: choice.draw,
                temperature: choice.temperature,
                top_p: choice.top_p.unwrap_or(-1.0),
                row: choice.row as i32,
                top_k: candidates(choice, vocab),
            })
            .collect();
        let bytes = size_of_val(&*rows);
        let rows_at = self.scratch(bytes + size_of_val(ids));
        let ids_at = rows_at + bytes as u64;
        self.context.write(&rows, rows_at);
        self.launch(
            "sample",
            "choose",
            DType::F32,
            Grid::new(choices.len(), threads(vocab)),
            args![logits, Arg::pointer(rows_at), Arg::pointer(ids_at), vocab],
        );
        self.context.read(ids_at, ids);
        let (mut chooser, mut row) = (Chooser::default(), Vec::new());
        for ((id, choice), kernel) in ids.iter_mut().zip(choices).zip(&rows) {
            if kernel.top_k == ON_THE_HOST {
                row.resize(vocab, 0.0);
                self.context.read(logits.at(choice.row * vocab), &mut row);
                *id = chooser.choose(&row, choice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL_TOKENS, ON_THE_HOST, candidates};
    use crate::ops::choose::Choice;

    #[test]
    fn long_sorted_lists_are_the_hosts() {
        let of = |temperature, top_k, top_p| {
            let choice = Choice {
                temperature,
                top_k,
                top_p,
                ..Choice::greedy(0)
            };
            candidates(&choice, 5000)
        };
        assert_eq!(of(0.0, Some(50), Some(0.5)), ALL_TOKENS);
        assert_eq!(of(1.0, None, None), ALL_TOKENS);
        assert_eq!(of(1.0, Some(5000), None), ALL_TOKENS);
        assert_eq!(of(1.0, Some(1024), Some(0.5)), 1024);
        assert_eq!(of(1.0, Some(1025), None), ON_THE_HOST);
        assert_eq!(of(1.0, None, Some(1.0)), ON_THE_HOST);
    }
}
