//! Moving and converting elements: the host side of `source/memory.cu`.

use half::bf16;

use super::Cuda;
use super::launch::{Grid, args};
use crate::backend::{Buffer, Host, HostMut};
use crate::dtype::DType;

impl Cuda {
    pub(super) fn upload_values(&self, from: Host, to: Buffer) {
        let address = to.address();
        match (from, to.dtype) {
            (Host::F32(from), DType::F32) => self.context.write(from, address),
            (Host::F32(from), DType::Bf16) => self.context.write(&converted(from, |v| bf16::from_f32(v)), address),
            (Host::F64(from), DType::F32) => self.context.write(&converted(from, |v| v as f32), address),
            (Host::F64(from), DType::Bf16) => self.context.write(&converted(from, |v| bf16::from_f64(v)), address),
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
        self.launch(
            "memory",
            "fill",
            to.dtype,
            Grid::elementwise(to.len),
            args![to, value, to.len],
        );
    }

    pub(super) fn convert(&self, from: Buffer, to: Buffer) {
        if from.dtype == to.dtype {
            return self
                .context
                .copy(from.address(), to.address(), from.len * from.dtype.bytes());
        }
        todo!()
    }

    pub(super) fn add_elements(&self, _from: Buffer, _to: Buffer) {
        todo!()
    }

    pub(super) fn embedding_rows(&self, _table: Buffer, _ids: Buffer, _y: Buffer, _channels: usize) {
        todo!()
    }

    pub(super) fn embedding_rows_backward(&self, _dy: Buffer, _ids: Buffer, _dtable: Buffer, _channels: usize) {
        todo!()
    }

    pub(super) fn write_cache(
        &self,
        (_x, _cache): (Buffer, Buffer),
        _starts: Buffer,
        (_batch, _time, _capacity, _cols): (usize, usize, usize, usize),
    ) {
        todo!()
    }

    pub(super) fn copy_row_pairs(
        &self,
        (_from, _from_stride): (Buffer, usize),
        (_to, _to_stride): (Buffer, usize),
        _rows: Buffer,
        _len: usize,
    ) {
        todo!()
    }

    pub(super) fn select_rows(&self, _x: Buffer, _index: Buffer, _y: Buffer, _time: usize, _cols: usize) {
        todo!()
    }
}

fn converted<A: Copy, B>(from: &[A], convert: impl Fn(A) -> B) -> Vec<B> {
    from.iter().map(|&value| convert(value)).collect()
}
