//! Causal attention with an optional sliding window and grouped key-value heads
//! (Vaswani et al. 2017; Shazeer 2019; tiled as in Dao et al. 2022: no `time × time` matrix is stored).
//!
//! `P = softmax(scale·q·kᵀ)` over the keys a query may see, `y = P·v`. Saved for the way back: the log-sum-exp
//! per query. With `D = Σ dy·y` per query: `dv = Pᵀ·dy`, `dS = P∘(dy·vᵀ − D)`, `dq = scale·dS·k`, `dk = scale·dSᵀ·q`.

use crate::backend::AttentionArgs;
use crate::graph::Graph;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    args: AttentionArgs,
    q: Kept,
    k: Kept,
    v: Kept,
    y: Tensor,
    logsumexp: Tensor,
    out: Var,
}

impl Graph {
    /// Attention of `q` `[batch, time, heads, head_dim]` to `k`, `v` `[batch, time, kv_heads, head_dim]`:
    /// position `i` sees the positions `j` with `0 ≤ i − j ≤ window`. Result like `q`.
    pub fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, window: usize) -> Tensor {
        let args = arguments(q, k, v, window, None);
        assert_eq!(args.capacity, args.time, "keys and queries of one sequence");
        let (mut y, logsumexp) = self.run_attention(&args, q, k, v);
        let saved = self.is_training().then(|| (y.clone(), logsumexp));
        self.record(&mut y, |tape, out| {
            let (y, logsumexp) = saved.expect("a graph that records is a training graph");
            Record::Attention(Saved {
                args,
                q: tape.keep(q),
                k: tape.keep(k),
                v: tape.keep(v),
                y,
                logsumexp,
                out,
            })
        });
        y
    }

    /// Attention to a KV cache: `k` and `v` are `[rows, capacity, kv_heads, head_dim]`, filled up to the last
    /// query (see [`Graph::cache_write`]), whatever stands behind it; sequence `b` reads row `b`, and rows from `batch`
    /// on are left alone. `starts` `[batch]` are the absolute positions of the first queries. No gradient.
    pub fn attention_cached(&self, q: &Tensor, k: &Tensor, v: &Tensor, window: usize, starts: &Tensor) -> Tensor {
        assert!(!self.is_training(), "a KV cache has no gradient");
        let args = arguments(q, k, v, window, Some(starts));
        self.run_attention(&args, q, k, v).0
    }

    fn run_attention(&self, args: &AttentionArgs, q: &Tensor, k: &Tensor, v: &Tensor) -> (Tensor, Tensor) {
        let y = self.device().activation(q.shape());
        let logsumexp = self.device().master([args.batch, args.heads, args.time]);
        self.device().count(flops(args, 4.0), bytes(q) * 2.0 + bytes(k) * 2.0);
        self.device().launch("attention", |b| {
            b.attention(args, q.buffer(), k.buffer(), v.buffer(), y.buffer(), logsumexp.buffer());
        });
        (y, logsumexp)
    }
}

impl Saved {
    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        let device = dy.device();
        let [q, k, v] = [self.q, self.k, self.v].map(|kept| tape.operand(kept));
        let [dq, dk, dv] = [&q, &k, &v].map(|x| device.activation(x.shape()));
        device.count(flops(&self.args, 10.0), bytes(&dy) * 4.0 + bytes(&k) * 4.0);
        device.launch("attention_backward", |b| {
            let (q, k, v, y) = (q.buffer(), k.buffer(), v.buffer(), self.y.buffer());
            let (dq, dk, dv) = (dq.buffer(), dk.buffer(), dv.buffer());
            b.attention_backward(&self.args, q, k, v, y, self.logsumexp.buffer(), dy.buffer(), dq, dk, dv);
        });
        tape.give(q.var, &dq);
        tape.give(k.var, &dk);
        tape.give(v.var, &dv);
    }
}

fn arguments(q: &Tensor, k: &Tensor, v: &Tensor, window: usize, starts: Option<&Tensor>) -> AttentionArgs {
    let [batch, time, heads, head_dim] = q.shape().expect("[batch, time, heads, head_dim]");
    let [_, capacity, kv_heads, _] = k.shape().expect("[batch, time, kv_heads, head_dim]");
    assert_eq!(k.shape(), v.shape(), "keys and values of one shape");
    let rows = k.shape().dims()[0];
    assert!(
        rows == batch || (rows > batch && starts.is_some()),
        "queries and keys of one batch, or a KV cache that has at least as many rows"
    );
    assert!(
        starts.is_none_or(|starts| starts.len() == batch),
        "one start per sequence"
    );
    assert_eq!(k.shape().last(), head_dim, "queries and keys of one head size");
    assert_eq!(heads % kv_heads, 0, "query heads are a multiple of the kv heads");
    AttentionArgs {
        batch,
        time,
        heads,
        kv_heads,
        head_dim,
        capacity,
        window,
        scale: 1.0 / (head_dim as f32).sqrt(),
        starts: starts.map(Tensor::buffer),
    }
}

/// Operations on the scores that are not masked, `per_pair` FLOPs per pair and channel.
fn flops(args: &AttentionArgs, per_pair: f64) -> f64 {
    let (time, window) = (args.time as f64, args.window.min(args.capacity) as f64);
    let pairs = if args.starts.is_some() {
        time * window
    } else {
        let ramp = window.min(time);
        ramp * (ramp + 1.0) / 2.0 + (time - ramp).max(0.0) * (ramp + 1.0).min(time)
    };
    per_pair * pairs * (args.batch * args.heads * args.head_dim) as f64
}
