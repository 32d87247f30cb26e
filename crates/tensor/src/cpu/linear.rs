//! Products with weights: packed compute copies, the three products of a linear layer, plain products.

use super::Cpu;
use super::elem::{Elem, input, output, with_elem};
use super::matmul::{Epilogue, PackedB, Precision, View, ViewMut, matmul, matmul_batch, pack_b, packed_len};
use crate::backend::{Buffer, Layout, MatmulArgs, Weight};
use crate::dtype::DType;

impl Cpu {
    pub(crate) fn precision(&self) -> Precision {
        match self.dtype {
            DType::Bf16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Rows and columns of the right operand that a layout packs: `Wᵀ` forward, `W` backward.
    fn operand_shape(out_features: usize, in_features: usize, layout: Layout) -> (usize, usize) {
        match layout {
            Layout::Forward => (in_features, out_features),
            Layout::Backward => (out_features, in_features),
        }
    }

    /// Bytes of a packed weight. Both element types are packed: it is done once per optimizer
    /// step instead of once per product, and decoding streams through the panels.
    pub(crate) fn packed_bytes(&self, out_features: usize, in_features: usize, layout: Layout) -> usize {
        let (k, n) = Self::operand_shape(out_features, in_features, layout);
        packed_len(k, n, self.precision(), self.isa)
    }

    pub(crate) fn pack_weight(&self, weight: Weight, layout: Layout, copy: Buffer) {
        let master = View::row_major(input::<f32>(weight.master), weight.out_features, weight.in_features);
        let operand = match layout {
            Layout::Forward => master.t(),
            Layout::Backward => master,
        };
        // SAFETY: compute copies are bytes of host memory that nobody else uses meanwhile.
        let bytes = unsafe { copy.host_mut::<u8>() };
        pack_b(&self.pool, self.isa, self.precision(), operand, bytes);
    }

    /// The first `n` columns of a packed operand.
    pub(super) fn packed<'a>(&self, weight: Weight, k: usize, n: usize) -> PackedB<'a> {
        let copy = weight
            .copy
            .expect("this backend asks for a compute copy of every weight");
        // SAFETY: compute copies are bytes of host memory that nobody writes meanwhile.
        let bytes = unsafe { copy.host::<u8>() };
        PackedB::new(bytes, k, n, self.precision(), self.isa)
    }

    /// `y = x·Wᵀ`.
    pub(crate) fn forward_product<T: Elem, Y: Elem>(
        &self,
        x: &[T],
        weight: Weight,
        y: &mut [Y],
        rows: usize,
        epilogue: Epilogue,
    ) {
        let (k, n) = (weight.in_features, weight.out_features);
        let x = T::matrix(View::row_major(x, rows, k));
        let y = Y::matrix_mut(ViewMut::row_major(y, rows, n));
        matmul(&self.pool, self.isa, x, self.packed(weight, k, n), y, epilogue);
    }

    /// The first `n` columns of `x·Wᵀ`.
    pub(crate) fn forward_columns<T: Elem>(&self, x: &[T], weight: Weight, n: usize, y: &mut [f32], rows: usize) {
        let k = weight.in_features;
        let x = T::matrix(View::row_major(x, rows, k));
        let y = ViewMut::row_major(y, rows, n);
        matmul(&self.pool, self.isa, x, self.packed(weight, k, n), y, Epilogue::STORE);
    }

    /// `dx = dy·W`.
    pub(crate) fn input_product<T: Elem>(
        &self,
        dy: &[T],
        weight: Weight,
        dx: &mut [T],
        rows: usize,
        epilogue: Epilogue,
    ) {
        let (k, n) = (weight.out_features, weight.in_features);
        let dy = T::matrix(View::row_major(dy, rows, k));
        let dx = T::matrix_mut(ViewMut::row_major(dx, rows, n));
        matmul(&self.pool, self.isa, dy, self.packed(weight, k, n), dx, epilogue);
    }

    /// `dW = dyᵀ·x`.
    pub(crate) fn weight_product<T: Elem>(
        &self,
        dy: &[T],
        x: &[T],
        dweight: &mut [f32],
        rows: usize,
        epilogue: Epilogue,
    ) {
        let (m, n) = (dy.len() / rows, x.len() / rows);
        let dy = T::matrix(View::row_major(dy, rows, m)).t();
        let x = T::matrix(View::row_major(x, rows, n));
        matmul(&self.pool, self.isa, dy, x, ViewMut::row_major(dweight, m, n), epilogue);
    }

    /// `out = alpha·op(a)·op(b) + beta·addend`, matrix by matrix.
    pub(crate) fn plain_product(&self, args: &MatmulArgs, a: Buffer, b: Buffer, out: Buffer) {
        let same = a.memory == b.memory && a.len == b.len;
        with_elem!(out.dtype, T => {
            let (m, n, k) = (args.rows, args.cols, args.inner);
            let matrix = |x: &'static [T], index, rows, cols, transposed| {
                let x = &x[index * rows * cols..];
                T::matrix(if transposed { View::row_major(x, cols, rows).t() } else { View::row_major(x, rows, cols) })
            };
            let (a, b) = (input::<T>(a), input::<T>(b));
            let epilogue = Epilogue {
                alpha: args.alpha,
                accumulate: args.addend.is_some(),
            };
            let operands = |index| (matrix(a, index, m, k, args.transpose_a), matrix(b, index, k, n, args.transpose_b));
            let mut out = ViewMut::row_major(output::<T>(out), args.batch * m, n);
            if let Some((addend, beta)) = args.addend {
                out = out.adding(View::row_major(input::<T>(addend), args.batch * m, n), beta);
            }
            // Muon's Gram matrices.
            let own_transposition = same && args.transpose_a != args.transpose_b;
            let out = T::matrix_mut(out);
            matmul_batch(&self.pool, self.isa, args.batch, &operands, own_transposition, out, epilogue);
        });
    }
}
