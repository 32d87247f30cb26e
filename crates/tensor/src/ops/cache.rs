//! A KV cache's rows: keys and values of new positions go in, whole sequences are copied. No gradients.

use crate::dtype::DType;
use crate::graph::Graph;
use crate::tape::bytes;
use crate::tensor::Tensor;

impl Graph {
    /// Writes `x` `[batch, time, …]` into the first rows of `cache` `[rows, capacity, …]`, from the positions
    /// `starts` (`I32`, `[batch]`) on.
    pub fn cache_write(&self, cache: &Tensor, x: &Tensor, starts: &Tensor) {
        let (batch, time) = (x.shape().dims()[0], x.shape().dims()[1]);
        let (rows, capacity) = (cache.shape().dims()[0], cache.shape().dims()[1]);
        assert!(batch <= rows, "one cache row per sequence");
        assert_eq!(starts.len(), batch, "one start per sequence");
        if x.is_empty() {
            return;
        }
        let cols = x.len() / (batch * time);
        assert_eq!(cache.len(), rows * capacity * cols, "a cache of positions like x");
        self.device().count(0.0, 2.0 * bytes(x));
        self.device().launch("cache_write", |b| {
            b.cache_write(x.buffer(), cache.buffer(), starts.buffer(), batch, time, capacity, cols);
        });
    }

    /// Copies the first `positions` of some rows of `from` `[…, capacity, …]` to rows of `to`, whose capacity may be
    /// another: `rows` (`I32`, `[pairs, 2]`) names the row that is read and the one that is written. Both may be one
    /// tensor, where no row that is read is written.
    pub fn cache_copy(&self, from: &Tensor, to: &Tensor, rows: &Tensor, positions: usize) {
        if rows.is_empty() || positions == 0 {
            return;
        }
        let stride = |x: &Tensor| x.len() / x.shape().dims()[0];
        let cols = |x: &Tensor| stride(x) / x.shape().dims()[1];
        assert_eq!(rows.dtype(), DType::I32, "rows are indices");
        assert_eq!(rows.shape().last(), 2, "a row that is read and one that is written");
        assert_eq!(from.dtype(), to.dtype(), "a copy converts nothing");
        assert_eq!(cols(from), cols(to), "positions of one size");
        assert!(
            positions <= from.shape().dims()[1] && positions <= to.shape().dims()[1],
            "positions that both have"
        );
        let len = positions * cols(from);
        let copied = (rows.shape().rows() * len) as f64 * bytes(from) / from.len() as f64;
        self.device().count(0.0, 2.0 * copied);
        self.device().launch("copy_rows", |b| {
            b.copy_rows(from.buffer(), to.buffer(), rows.buffer(), stride(from), stride(to), len);
        });
    }
}
