//! Embedding lookup: `y[r] = table[id[r]]`; gradient `dtable[id[r]] += dy[r]`.

use crate::device::Device;
use crate::dtype::DType;
use crate::graph::Graph;
use crate::param::Param;
use crate::tape::{Kept, Record, Tape, Var, bytes};
use crate::tensor::Tensor;

pub(crate) struct Saved {
    table: Param,
    pub(crate) ids: Kept,
    out: Var,
}

impl Graph {
    /// Rows of `table` `[vocabulary, channels]` at `ids` `[batch, time]` (`I32`, in range) →
    /// `[batch, time, channels]` in the compute type.
    pub fn embedding(&self, table: &Param, ids: &Tensor) -> Tensor {
        assert_eq!(ids.dtype(), DType::I32, "token ids are indices");
        let mut y = look_up(self.device(), table, ids);
        self.record(&mut y, |tape, out| {
            Record::Embedding(Saved {
                table: table.clone(),
                ids: tape.keep(ids),
                out,
            })
        });
        y
    }
}

fn look_up(device: &Device, table: &Param, ids: &Tensor) -> Tensor {
    let channels = table.shape().last();
    let y = device.activation(ids.shape().with_inner(channels));
    device.count(0.0, 2.0 * bytes(&y));
    device.launch("embedding", |b| {
        b.embedding(table.value().buffer(), ids.buffer(), y.buffer(), channels);
    });
    y
}

impl Saved {
    /// What was looked up.
    pub(crate) fn again(&self, ids: &Tensor) -> Tensor {
        look_up(ids.device(), &self.table, ids)
    }

    pub(crate) fn backward(self, tape: &mut Tape) {
        let Some(dy) = tape.take(self.out) else {
            return;
        };
        let ids = tape.operand(self.ids);
        let (dtable, channels) = (self.table.grad_to_add(), self.table.shape().last());
        dy.device().count(dy.len() as f64, 3.0 * bytes(&dy));
        dy.device().launch("embedding_backward", |b| {
            b.embedding_backward(dy.buffer(), ids.buffer(), dtable.buffer(), channels);
        });
    }
}
