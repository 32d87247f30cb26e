//! Unembedding, soft cap and weighted negative log-likelihood, chunk by chunk; logits of single positions.

use super::Cpu;
use super::elem::{Elem, Parts, indices, input, output, parts};
use super::math::{exp, max, tanh};
use super::matmul::Epilogue;
use super::rows::sum_exp;
use crate::backend::{Buffer, NllArgs, NllGradients, Weight};

/// Elements of logits held at a time: 64 MiB. Large enough that the head's gradient, which is read and
/// written once per chunk, is not what the time goes into.
const CHUNK_ELEMENTS: usize = 1 << 24;

impl Cpu {
    pub(crate) fn loss_chunk(rows: usize, padded_vocab: usize) -> usize {
        (CHUNK_ELEMENTS / padded_vocab.max(1)).clamp(64, 4096).min(rows)
    }

    pub(crate) fn nll<T: Elem>(&self, args: &NllArgs, gradients: Option<&NllGradients>) {
        let (channels, padded) = (args.channels, args.head.out_features);
        let logits = output::<f32>(args.logits);
        let nll = output::<f32>(args.nll);
        let targets = indices(args.targets);
        let weights = input::<f32>(args.weights);
        let x = input::<T>(args.x);
        for start in (0..args.rows).step_by(args.chunk) {
            let rows = start..args.rows.min(start + args.chunk);
            let x = &x[rows.start * channels..rows.end * channels];
            let logits = &mut logits[..rows.len() * padded];
            self.forward_product::<T, f32>(x, args.head, logits, rows.len(), Epilogue::STORE);
            let chunk = Chunk {
                cpu: self,
                vocab: args.vocab,
                padded,
                softcap: args.softcap,
                targets: &targets[rows.clone()],
                weights: &weights[rows.clone()],
            };
            let Some(gradients) = gradients else {
                chunk.losses::<T>(logits, &mut nll[rows], None);
                continue;
            };
            let dlogits = &mut output::<T>(gradients.dlogits)[..rows.len() * padded];
            chunk.losses(logits, &mut nll[rows.clone()], Some(dlogits));
            let dx = &mut output::<T>(gradients.dx)[rows.start * channels..rows.end * channels];
            self.input_product(dlogits, gradients.head, dx, rows.len(), Epilogue::STORE);
            let epilogue = Epilogue {
                alpha: 1.0,
                accumulate: gradients.accumulate_head || rows.start > 0,
            };
            let dhead = output::<f32>(gradients.dhead);
            self.weight_product(dlogits, x, dhead, rows.len(), epilogue);
        }
        let total: f64 = nll.iter().zip(weights).map(|(&l, &w)| l as f64 * w as f64).sum();
        output::<f32>(args.loss)[0] = total as f32;
    }

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
            let logits = Parts::new(logits);
            self.for_rows(rows, vocab, &|range| {
                // SAFETY: rows of one run are disjoint.
                let logits = unsafe { logits.range(range.start * vocab..range.end * vocab) };
                self.isa.vectorize(|| squash(logits, cap));
            });
        }
    }

    pub(crate) fn select_rows<T: Elem>(&self, x: Buffer, index: Buffer, y: Buffer, time: usize, cols: usize) {
        let (x, index, y) = (input::<T>(x), indices(index), parts::<T>(y));
        self.for_rows(index.len(), cols, &|range| {
            for sequence in range {
                let position = index[sequence] as usize;
                assert!(position < time, "a position outside the sequence");
                let from = (sequence * time + position) * cols;
                // SAFETY: rows of one run are disjoint.
                let y = unsafe { y.range(sequence * cols..(sequence + 1) * cols) };
                y.copy_from_slice(&x[from..from + cols]);
            }
        });
    }
}

#[inline(always)]
fn squash(logits: &mut [f32], cap: f32) {
    let inverse = 1.0 / cap;
    for z in logits {
        *z = cap * tanh(*z * inverse);
    }
}

/// A chunk of positions, their logits at hand.
struct Chunk<'a> {
    cpu: &'a Cpu,
    vocab: usize,
    padded: usize,
    softcap: Option<f32>,
    targets: &'a [i32],
    weights: &'a [f32],
}

impl Chunk<'_> {
    /// Negative log-likelihoods, and if wanted the gradients of the logits before the soft cap.
    fn losses<T: Elem>(&self, logits: &mut [f32], nll: &mut [f32], dlogits: Option<&mut [T]>) {
        let (logits, nll) = (Parts::new(logits), Parts::new(nll));
        let dlogits = dlogits.map(Parts::new);
        self.cpu.for_rows(self.targets.len(), self.padded, &|range| {
            self.cpu.isa.vectorize(|| {
                for row in range {
                    let at = row * self.padded..(row + 1) * self.padded;
                    // SAFETY: rows of one run are disjoint.
                    let (logits, nll, dlogits) = unsafe {
                        let dlogits = dlogits.as_ref().map(|d| d.range(at.clone()));
                        (logits.range(at), nll.range(row..row + 1), dlogits)
                    };
                    self.row(row, &mut logits[..self.vocab], &mut nll[0], dlogits);
                }
            });
        });
    }

    #[inline(always)]
    fn row<T: Elem>(&self, row: usize, logits: &mut [f32], nll: &mut f32, dlogits: Option<&mut [T]>) {
        let (target, weight) = (self.targets[row], self.weights[row]);
        // A target out of range is a fault of the caller; treated like one to ignore it would hide it.
        assert!(target < self.vocab as i32, "a target outside the vocabulary");
        if target < 0 {
            *nll = 0.0;
            if let Some(dlogits) = dlogits {
                dlogits.fill(T::from_f32(0.0));
            }
            return;
        }
        if let Some(cap) = self.softcap {
            squash(logits, cap);
        }
        let peak = max(logits);
        let total = sum_exp(logits, peak);
        *nll = peak + total.ln() - logits[target as usize];
        let Some(dlogits) = dlogits else { return };
        let share = weight / total;
        let inverse = self.softcap.map_or(0.0, |cap| 1.0 / cap);
        let gradient = |l: f32, dl: f32| {
            let t = l * inverse;
            dl * (1.0 - t * t)
        };
        let (real, padding) = dlogits.split_at_mut(self.vocab);
        for (d, &l) in real.iter_mut().zip(&*logits) {
            *d = T::from_f32(gradient(l, share * exp(l - peak)));
        }
        padding.fill(T::from_f32(0.0));
        let l = logits[target as usize];
        let dl = share * exp(l - peak) - weight;
        real[target as usize] = T::from_f32(gradient(l, dl));
    }
}
