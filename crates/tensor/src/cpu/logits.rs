//! Logits of single positions, and the tokens chosen from them.

use super::Cpu;
use super::elem::{Elem, Parts, input, output};
use super::math::tanh;
use crate::backend::{Buffer, Weight};
use crate::ops::choose::{Choice, Chooser};

impl Cpu {
    pub(crate) fn plain_logits<T: Elem>(
        &self,
        x: Buffer,
        head: Weight,
        vocab: usize,
        softcap: Option<f32>,
        logits: Buffer,
        rows: usize,
    ) {
        let (x, logits) = (input::<T>(x), output::<f32>(logits));
        self.forward_columns::<T>(x, head, vocab, logits, rows);
        if let Some(cap) = softcap {
            let (len, logits) = (logits.len(), Parts::new(logits));
            let inverse = 1.0 / cap;
            self.for_rows(len, 1, &|range| {
                // SAFETY: ranges of one run are disjoint.
                let logits = unsafe { logits.range(range) };
                self.isa.vectorize(
                    #[inline(always)]
                    || logits.iter_mut().for_each(|z| *z = cap * tanh(*z * inverse)),
                );
            });
        }
    }

    /// A row's choice depends on nothing but its logits and its draw, so each is a task.
    pub(crate) fn choose_rows(&self, logits: Buffer, vocab: usize, choices: &[Choice], ids: &mut [i32]) {
        let (logits, ids) = (input::<f32>(logits), Parts::new(ids));
        if choices.iter().any(|choice| choice.temperature != 0.0) {
            // Whichever rows a worker will have, it has its memory from the first time on.
            for worker in 0..self.choosers.len() {
                self.chooser(worker).reserve(vocab);
            }
        }
        self.pool.run_with_worker(choices.len(), &|index, worker| {
            let choice = &choices[index];
            // SAFETY: each task has its own id.
            let id = unsafe { ids.range(index..index + 1) };
            id[0] = self
                .chooser(worker)
                .choose(&logits[choice.row * vocab..][..vocab], choice);
        });
    }

    fn chooser(&self, worker: usize) -> std::sync::MutexGuard<'_, Chooser> {
        let chooser = self.choosers[worker].lock();
        chooser.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::Random;
    use crate::cpu::CpuOptions;
    use crate::device::Device;
    use crate::ops::choose::{Choice, Chooser};

    #[test]
    fn rows_are_chosen_for_one_by_one_whatever_the_threads() {
        const VOCAB: usize = 7000;
        let logits = Random::new(5).values(9 * VOCAB, 4.0);
        // Some rows twice, in any order.
        let choices: Vec<Choice> = (0..20)
            .map(|i| Choice {
                row: i * 4 % 9,
                temperature: [0.0, 0.7, 1.5][i % 3],
                top_k: [None, Some(40), Some(1)][i / 3 % 3],
                top_p: [None, Some(0.8)][i / 2 % 2],
                draw: i as f64 / 20.0,
            })
            .collect();
        let row = |choice: &Choice| &logits[choice.row * VOCAB..][..VOCAB];
        let expected: Vec<i32> = choices
            .iter()
            .map(|choice| Chooser::default().choose(row(choice), choice))
            .collect();
        for threads in [1, 3] {
            let options = CpuOptions {
                threads: Some(threads),
                ..CpuOptions::default()
            };
            let device = Device::cpu(&options).unwrap();
            let logits = device.master_tensor(&logits, [9, VOCAB]);
            for _ in 0..3 {
                assert_eq!(device.choose(&logits, &choices), expected, "{threads} threads");
            }
        }
    }
}
