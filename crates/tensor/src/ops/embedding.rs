//! Embedding lookup: `y[r] = table[id[r]]`; gradient `dtable[id[r]] += dy[r]`.

use crate::dtype::DType;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Gradients, Record, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    table: Param,
    ids: Tensor,
    out: Var,
}

impl Graph {
    /// Rows of `table` `[vocabulary, channels]` at `ids` `[batch, time]` (`I32`, in range) →
    /// `[batch, time, channels]` in the compute type.
    pub fn embedding(&self, table: &Param, ids: &Tensor) -> Tensor {
        assert_eq!(ids.dtype(), DType::I32, "token ids are indices");
        let channels = table.shape().last();
        let mut y = self.device().activation(ids.shape().with_inner(channels));
        self.device().count(0.0, 2.0 * bytes(&y));
        self.device().launch("embedding", |b| {
            b.embedding(table.value().buffer(), ids.buffer(), y.buffer(), channels);
        });
        self.record(&mut y, |out| {
            Record::Embedding(Saved {
                table: table.clone(),
                ids: ids.clone(),
                out,
            })
        });
        y
    }
}

impl Saved {
    pub(crate) fn backward(self, grads: &mut Gradients) {
        let Some(dy) = grads.take(self.out) else {
            return;
        };
        let dtable = self.table.grad_to_add();
        dy.device().count(dy.len() as f64, 3.0 * bytes(&dy));
        dy.device().launch("embedding_backward", |b| {
            b.embedding_backward(dy.buffer(), self.ids.buffer(), dtable.buffer(), dy.shape().last());
        });
    }
}
