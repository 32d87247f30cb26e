//! Checks of the choice of tokens: every way to choose, on logits of every kind.

use super::compare::Allowance::Exact;
use super::procedure::Procedures;
use crate::ops::choose::Choice;

/// What logits are like.
#[derive(Clone, Copy, Debug)]
pub enum Logits {
    /// All different.
    Smooth,
    /// Few levels, so that many are equal, 0 and −0 among them.
    Ties,
    /// NaN and −∞ but for a few.
    Sparse,
    /// No token is possible.
    Nothing,
}

impl Procedures {
    /// Tokens from `rows` rows of logits, each chosen from twice.
    pub fn choose(&mut self, rows: usize, vocab: usize, kind: Logits) {
        let mut logits = self.random.values(rows * vocab, 6.0);
        for (i, logit) in logits.iter_mut().enumerate() {
            let bits = self.random.bits();
            match kind {
                Logits::Smooth => {}
                Logits::Ties if bits.is_multiple_of(5) => *logit = if bits & 64 == 0 { 0.0 } else { -0.0 },
                Logits::Ties => *logit = (*logit / 3.0).trunc(),
                Logits::Sparse if i % vocab == vocab - 1 || bits.is_multiple_of(61) => {}
                Logits::Sparse | Logits::Nothing if bits & 64 == 0 => *logit = f32::NAN,
                Logits::Sparse | Logits::Nothing => *logit = f32::NEG_INFINITY,
            }
        }
        let settings = [
            (0.0, None, None),
            (1.0, None, None),
            (2.5, None, None),
            (0.03, None, None),
            (1.0, Some(1), None),
            (1.5, Some(5), None),
            (8.0, Some(50), None),
            (20.0, Some(50), Some(0.7)),
            (5.0, Some(1000), Some(0.01)),
            (9.0, Some(1024), None),
            (9.0, Some(vocab.saturating_sub(1).max(1)), None),
            (9.0, Some(1 << 40), None),
            (3.0, None, Some(0.4)),
            (6.0, None, Some(1.0)),
        ];
        let draws = [0.0, 0.35, 0.81, 0.999];
        let mut choices = Vec::new();
        for (i, (temperature, top_k, top_p)) in settings.into_iter().enumerate() {
            for j in 0..rows.max(2) {
                let uniform = (self.random.bits() >> 11) as f64 / (1u64 << 53) as f64;
                choices.push(Choice {
                    row: (i + j) % rows,
                    temperature,
                    top_k,
                    top_p,
                    draw: draws.get((i + j) % 8).copied().unwrap_or(uniform),
                });
            }
        }
        let name = format!("choose from {rows}×{vocab}, {kind:?}");
        self.push("choose", name, &[("ids", Exact)], move |device, _| {
            let logits = device.master_tensor(&logits, [rows, vocab]);
            let ids: Vec<f32> = device.choose(&logits, &choices).iter().map(|&id| id as f32).collect();
            vec![device.master_tensor(&ids, [ids.len()])]
        });
    }
}
