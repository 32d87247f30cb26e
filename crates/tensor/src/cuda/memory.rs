//! Moving and converting elements: the host side of `source/memory.cu`.

use half::bf16;

use super::Cuda;
use super::launch::{Grid, args, vector_lanes};
use crate::backend::{Buffer, Host, HostMut};
use crate::dtype::DType;

impl Cuda {
    pub(super) fn upload_values(&self, from: Host, to: Buffer) {
        let address = to.address();
        match (from, to.dtype) {
            (Host::F32(from), DType::F32) => self.context.write(from, address),
            (Host::F32(from), DType::Bf16) => self.context.write(&converted(from, bf16::from_f32), address),
            (Host::F64(from), DType::F32) => self.context.write(&converted(from, |v| v as f32), address),
            (Host::F64(from), DType::Bf16) => self
                .context
                .write(&converted(from, |v| bf16::from_f32(v as f32)), address),
            (Host::I32(from), DType::I32) => self.context.write(from, address),
            (_, other) => unreachable!("upload into {}", other.name()),
        }
    }

    pub(super) fn download_values(&self, from: Buffer, to: HostMut) {
        let address = from.address();
        match (from.dtype, to) {
            (DType::F32, HostMut::F32(to)) => self.context.read(address, to),
            (DType::F32, HostMut::F64(to)) => {
                let mut values = vec![0f32; to.len()];
                self.context.read(address, &mut values);
                to.iter_mut().zip(values).for_each(|(to, value)| *to = f64::from(value));
            }
            (DType::Bf16, to) => {
                let mut values = vec![bf16::ZERO; from.len];
                self.context.read(address, &mut values);
                match to {
                    HostMut::F32(to) => to.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_f32()),
                    HostMut::F64(to) => to.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_f64()),
                }
            }
            (other, _) => unreachable!("download from {}", other.name()),
        }
    }

    pub(super) fn fill_elements(&self, to: Buffer, value: f32) {
        if value.to_bits() == 0 {
            return self.context.clear(to.address(), to.len * to.dtype.bytes());
        }
        // Integers are filled as the floats of the same bits.
        let (dtype, value) = match to.dtype {
            DType::I32 => (DType::F32, f32::from_bits((value as i32).cast_unsigned())),
            dtype => (dtype, value),
        };
        self.launch(
            "memory",
            "fill",
            dtype,
            Grid::elementwise(to.len),
            args![to, value, to.len],
        );
    }

    pub(super) fn convert(&self, from: Buffer, to: Buffer) {
        let (kernel, dtype) = match (from.dtype, to.dtype) {
            (from_dtype, to_dtype) if from_dtype == to_dtype => {
                let bytes = from.len * from.dtype.bytes();
                return self.context.copy(from.address(), to.address(), bytes);
            }
            (DType::F32, DType::Bf16) => ("narrow", to.dtype),
            (DType::Bf16, DType::F32) => ("widen", from.dtype),
            (from, to) => unreachable!("copy from {} to {}", from.name(), to.name()),
        };
        let grid = Grid::elementwise(to.len);
        self.launch("memory", kernel, dtype, grid, args![from, to, to.len]);
    }

    pub(super) fn add_elements(&self, from: Buffer, to: Buffer) {
        let grid = Grid::elementwise(to.len);
        self.launch("memory", "add", to.dtype, grid, args![from, to, to.len]);
    }

    pub(super) fn write_cache(
        &self,
        (x, cache): (Buffer, Buffer),
        starts: Buffer,
        (batch, time, capacity, cols): (usize, usize, usize, usize),
    ) {
        let rows = batch * time;
        let (grid, threads, blocks) = Grid::teams(rows, cols.div_ceil(vector_lanes(x.dtype)));
        self.launch(
            "memory",
            "cache_write",
            x.dtype,
            grid,
            args![x, cache, starts, rows, time, capacity, cols, threads, blocks],
        );
    }

    pub(super) fn copy_row_pairs(
        &self,
        (from, from_stride): (Buffer, usize),
        (to, to_stride): (Buffer, usize),
        pairs: Buffer,
        len: usize,
    ) {
        assert!(len <= from_stride && len <= to_stride, "no more than a row");
        let count = pairs.len / 2;
        let (from_rows, to_rows) = (from.len / from_stride, to.len / to_stride);
        let (grid, threads, blocks) = Grid::teams(count, len.div_ceil(vector_lanes(from.dtype)));
        self.launch(
            "memory",
            "copy_rows",
            from.dtype,
            grid,
            args![
                from,
                to,
                pairs,
                count,
                from_stride,
                to_stride,
                from_rows,
                to_rows,
                len,
                threads,
                blocks
            ],
        );
    }

    pub(super) fn select_rows(&self, x: Buffer, index: Buffer, y: Buffer, time: usize, cols: usize) {
        let (grid, threads, blocks) = Grid::teams(index.len, cols.div_ceil(vector_lanes(x.dtype)));
        self.launch(
            "memory",
            "select_positions",
            x.dtype,
            grid,
            args![x, index, y, index.len, time, cols, threads, blocks],
        );
    }
}

fn converted<A: Copy, B>(from: &[A], convert: impl Fn(A) -> B) -> Vec<B> {
    from.iter().map(|&value| convert(value)).collect()
}
