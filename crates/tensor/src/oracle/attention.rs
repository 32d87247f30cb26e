//! Causal attention, one query at a time.

use super::matrix::dot;
use crate::backend::AttentionArgs;

/// One query: where it and the keys it sees are stored.
struct Query {
    /// Offset of the query's channels in `q`, `y`, `dq`, `dy`.
    offset: usize,
    /// Index of its log-sum-exp.
    statistic: usize,
    /// Offsets of the visible keys' channels in `k`, `v`, `dk`, `dv`.
    keys: Vec<usize>,
}

/// All queries with the keys they see.
fn queries(args: &AttentionArgs, starts: Option<&[i32]>) -> Vec<Query> {
    let mut queries = Vec::with_capacity(args.batch * args.time * args.heads);
    let group = args.heads / args.kv_heads;
    for b in 0..args.batch {
        let start = starts.map_or(0, |starts| starts[b] as usize);
        for i in 0..args.time {
            let position = start + i;
            let first = position.saturating_sub(args.window);
            for h in 0..args.heads {
                let key = |j| ((b * args.capacity + j) * args.kv_heads + h / group) * args.head_dim;
                queries.push(Query {
                    offset: ((b * args.time + i) * args.heads + h) * args.head_dim,
                    statistic: (b * args.heads + h) * args.time + i,
                    keys: (first..=position).map(key).collect(),
                });
            }
        }
    }
    queries
}

/// `y = softmax(scale·q·kᵀ)·v` and the log-sum-exp per query.
pub(super) fn forward(
    args: &AttentionArgs,
    starts: Option<&[i32]>,
    [q, k, v]: [&[f64]; 3],
    y: &mut [f64],
    logsumexp: &mut [f64],
) {
    let channels = args.head_dim;
    for query in queries(args, starts) {
        let q = &q[query.offset..][..channels];
        let scores: Vec<f64> = (query.keys.iter())
            .map(|&key| f64::from(args.scale) * dot(q, &k[key..][..channels]))
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let statistic = largest + sum.ln();
        logsumexp[query.statistic] = statistic;
        let y = &mut y[query.offset..][..channels];
        y.fill(0.0);
        for (score, &key) in scores.iter().zip(&query.keys) {
            let probability = (score - statistic).exp();
            for (y, v) in y.iter_mut().zip(&v[key..][..channels]) {
                *y += probability * v;
            }
        }
    }
}

/// What the way back reads.
pub(super) struct Saved<'a> {
    pub(super) q: &'a [f64],
    pub(super) k: &'a [f64],
    pub(super) v: &'a [f64],
    pub(super) y: &'a [f64],
    pub(super) logsumexp: &'a [f64],
    pub(super) dy: &'a [f64],
}

/// Gradient of [`forward`] for a sequence that attends to itself.
pub(super) fn backward(args: &AttentionArgs, saved: &Saved, [dq, dk, dv]: [&mut [f64]; 3]) {
    let (channels, scale) = (args.head_dim, f64::from(args.scale));
    dq.fill(0.0);
    dk.fill(0.0);
    dv.fill(0.0);
    for query in queries(args, None) {
        let own = query.offset..query.offset + channels;
        let (q, dy) = (&saved.q[own.clone()], &saved.dy[own.clone()]);
        let inner = dot(dy, &saved.y[own.clone()]);
        for &key in &query.keys {
            let seen = key..key + channels;
            let (k, v) = (&saved.k[seen.clone()], &saved.v[seen]);
            let probability = (scale * dot(q, k) - saved.logsumexp[query.statistic]).exp();
            let dscore = probability * (dot(dy, v) - inner);
            for c in 0..channels {
                dv[key + c] += probability * dy[c];
                dq[query.offset + c] += scale * dscore * k[c];
                dk[key + c] += scale * dscore * q[c];
            }
        }
    }
}

/// `cache[b, starts[b] + t, :] = x[b, t, :]`.
pub(super) fn cache_write(x: &[f64], cache: &mut [f64], starts: &[i32], time: usize, capacity: usize, cols: usize) {
    for (row, x) in x.chunks_exact(cols).enumerate() {
        let (b, t) = (row / time, row % time);
        let position = starts[b] as usize + t;
        assert!(position < capacity, "a position that the cache has");
        cache[(b * capacity + position) * cols..][..cols].copy_from_slice(x);
    }
}
