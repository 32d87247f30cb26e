//! Checks of what runs without a tape: the KV cache, starts, single positions, logits.

use super::compare::Allowance::Exact;
use super::procedure::{Procedures, within};
use crate::graph::Graph;
use crate::ops::nll::NllHead;
use crate::ops::rotary::RotaryTable;
use crate::param::Param;

impl Procedures {
    /// Keys and values of new positions go into caches that hold earlier ones, then attention over the caches:
    /// `time` positions of each sequence, the one of row `b` beginning at `starts[b]`. The cache has one row more than
    /// the batch, and NaN wherever nothing was written.
    pub fn attention_cached(
        &mut self,
        time: usize,
        [heads, kv_heads, head_dim]: [usize; 3],
        window: usize,
        capacity: usize,
        starts: &[usize],
    ) {
        let batch = starts.len();
        let q = self.random.values(batch * time * heads * head_dim, 1.5);
        let new = [1.5, 1.0].map(|scale| self.random.values(batch * time * kv_heads * head_dim, scale));
        let old = [1.5, 1.0].map(|scale| {
            let mut values = vec![f32::NAN; (batch + 1) * capacity * kv_heads * head_dim];
            let rows = values.chunks_exact_mut(capacity * kv_heads * head_dim);
            for (row, &start) in rows.zip(starts) {
                row[..start * kv_heads * head_dim]
                    .copy_from_slice(&self.random.values(start * kv_heads * head_dim, scale));
            }
            values
        });
        let shown = if window == usize::MAX {
            "∞".into()
        } else {
            window.to_string()
        };
        let name = format!(
            "attention over a cache, {time} at {starts:?} of {capacity}, {heads}/{kv_heads} heads of {head_dim}, window {shown}"
        );
        let longest_sum = head_dim.max(time + starts.iter().max().copied().unwrap_or(0));
        let positions: Vec<i32> = starts.iter().map(|&start| start as i32).collect();
        // Probabilities, and the result.
        self.push(
            "attention",
            name,
            &[("result", within(longest_sum, 2))],
            move |device, rounding| {
                let g = Graph::inference(device);
                let starts = device.indices(&positions, [batch]);
                let caches = old
                    .each_ref()
                    .map(|x| rounding.tensor(device, x, [batch + 1, capacity, kv_heads, head_dim]));
                for (cache, x) in caches.iter().zip(&new) {
                    g.cache_write(
                        cache,
                        &rounding.tensor(device, x, [batch, time, kv_heads, head_dim]),
                        &starts,
                    );
                }
                let q = rounding.tensor(device, &q, [batch, time, heads, head_dim]);
                vec![g.attention_cached(&q, &caches[0], &caches[1], window, &starts)]
            },
        );
    }

    /// Rows go to their positions of a cache with more rows than the batch; nothing else changes.
    pub fn cache_write(&mut self, time: usize, capacity: usize, cols: usize, starts: &[i32]) {
        let batch = starts.len();
        let x = self.random.values(batch * time * cols, 1.0);
        let starts = starts.to_vec();
        let name = format!("cache_write {time}×{cols} at {starts:?} of {capacity}");
        self.push("cache_write", name, &[("cache", Exact)], move |device, rounding| {
            let cache = device.activation([batch + 1, capacity, cols]);
            cache.fill(-1.0);
            let starts = device.indices(&starts, [batch]);
            Graph::inference(device).cache_write(&cache, &rounding.tensor(device, &x, [batch, time, cols]), &starts);
            vec![cache]
        });
    }

    /// The first `positions` of three of four rows go to rows of a cache of another capacity, then one within it.
    pub fn copy_rows(&mut self, capacities: [usize; 2], positions: usize, cols: usize) {
        let [from, to] = capacities.map(|capacity| self.random.values(4 * capacity * cols, 1.0));
        let name = format!("copy_rows {positions}×{cols} between capacities {capacities:?}");
        self.push("copy_rows", name, &[("cache", Exact)], move |device, rounding| {
            let g = Graph::inference(device);
            let from = rounding.tensor(device, &from, [4, capacities[0], cols]);
            let to = rounding.tensor(device, &to, [4, capacities[1], cols]);
            g.cache_copy(&from, &to, &device.indices(&[2, 0, 0, 3, 2, 2], [3, 2]), positions);
            g.cache_copy(&to, &to, &device.indices(&[3, 1], [1, 2]), positions);
            vec![to]
        });
    }

    /// One position of each sequence.
    pub fn select_positions(&mut self, batch: usize, time: usize, cols: usize) {
        let x = self.random.values(batch * time * cols, 1.0);
        let mut index = self.random.indices(batch, time);
        index[0] = time as i32 - 1;
        let name = format!("select_positions of {batch}×{time}×{cols}");
        self.push("select_positions", name, &[("rows", Exact)], move |device, rounding| {
            let x = rounding.tensor(device, &x, [batch, time, cols]);
            vec![Graph::inference(device).select_positions(&x, &device.indices(&index, [batch]))]
        });
    }

    /// Logits without and with a soft cap; the head has rows that are padding.
    pub fn logits(&mut self, rows: usize, channels: usize, vocab: usize, padded_vocab: usize) {
        let x = self.random.values(rows * channels, 1.0);
        let weight = self.random.values(padded_vocab * channels, 0.5);
        for softcap in [None, Some(3.0)] {
            let (x, weight) = (x.clone(), weight.clone());
            let name = format!("logits {rows}×{channels}, {vocab} of {padded_vocab}, cap {softcap:?}");
            self.push(
                "logits",
                name,
                &[("logits", within(channels, 0))],
                move |device, rounding| {
                    let param = Param::new(device, "head", [padded_vocab, channels]);
                    param.upload(&rounding.round(&weight));
                    let head = NllHead {
                        weight: &param,
                        vocab,
                        softcap,
                    };
                    let x = rounding.tensor(device, &x, [1, rows, channels]);
                    vec![Graph::inference(device).logits(&x, &head)]
                },
            );
        }
    }

    /// The loss without a tape: no gradients are made.
    pub fn nll_without_gradients(&mut self, rows: usize, channels: usize, vocab: usize, padded_vocab: usize) {
        let x = self.random.values(rows * channels, 1.5);
        let weight = self.random.values(padded_vocab * channels, 1.0);
        let weights: Vec<f32> = self.random.values(rows, 1.0).iter().map(|x| x.abs()).collect();
        let mut targets = self.random.indices(rows, vocab);
        targets.iter_mut().skip(1).step_by(5).for_each(|target| *target = -1);
        let name = format!("weighted_nll without gradients, {rows}×{channels}, {vocab} of {padded_vocab}");
        let sum = within(rows.max(channels).max(vocab), 0);
        self.push(
            "weighted_nll",
            name,
            &[("loss", sum), ("nll", sum)],
            move |device, rounding| {
                let param = Param::new(device, "head", [padded_vocab, channels]);
                param.upload(&rounding.round(&weight));
                let head = NllHead {
                    weight: &param,
                    vocab,
                    softcap: Some(15.0),
                };
                let x = rounding.tensor(device, &x, [1, rows, channels]);
                let targets = device.indices(&targets, [1, rows]);
                let weights = device.master_tensor(&weights, [1, rows]);
                let nll = Graph::inference(device).weighted_nll(&x, &head, &targets, &weights);
                vec![nll.loss, nll.nll]
            },
        );
    }

    /// Smear with the embedding that stands before the first position.
    pub fn smear_after(&mut self, batch: usize, time: usize, channels: usize) {
        let gate_channels = channels.min(24);
        let x = self.random.values(batch * time * channels, 1.0);
        let previous = self.random.values(batch * channels, 1.0);
        let gate = self.random.values(gate_channels, 0.3);
        let name = format!("smear {batch}×{time}×{channels} after an earlier position");
        self.push(
            "smear",
            name,
            &[("result", within(channels, 1))],
            move |device, rounding| {
                let param = |values: &[f32], shape: [usize; 2]| {
                    let param = Param::new(device, "smear", shape);
                    param.upload(&rounding.round(values));
                    param
                };
                let (gate, lambda) = (param(&gate, [1, gate_channels]), param(&[-0.7], [1, 1]));
                let x = rounding.tensor(device, &x, [batch, time, channels]);
                let previous = rounding.tensor(device, &previous, [batch, 1, channels]);
                vec![Graph::inference(device).smear(&x, &gate, &lambda, Some(&previous))]
            },
        );
    }

    /// Rotation from absolute positions on, another for each sequence.
    pub fn rotary_at(&mut self, time: usize, heads: usize, head_dim: usize, starts: &[i32]) {
        let batch = starts.len();
        let x = self.random.values(batch * time * heads * head_dim, 1.4);
        let starts = starts.to_vec();
        let name = format!("rotary_qk_norm {time}×{heads}×{head_dim} at {starts:?}");
        // The table, and the result.
        self.push(
            "rotary_qk_norm",
            name,
            &[("result", within(head_dim, 2))],
            move |device, rounding| {
                let positions = time + *starts.iter().max().expect("a batch has sequences") as usize;
                let table = RotaryTable::new(device, positions, head_dim, 100.0);
                let x = rounding.tensor(device, &x, [batch, time, heads, head_dim]);
                let starts = device.indices(&starts, [batch]);
                vec![Graph::inference(device).rotary_qk_norm(&x, &table, Some(&starts), 1.2)]
            },
        );
    }
}
