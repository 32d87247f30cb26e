//! A shaped handle to device memory, counted by references without touching the heap.

use crate::backend::{Buffer, Host, HostMut};
use crate::device::Device;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tape::Var;

/// A tensor on a [`Device`]: row-major and dense. Cloning shares the memory; the memory
/// goes back to the device's pool when the last clone is dropped.
pub struct Tensor {
    device: Device,
    slot: u32,
    buffer: Buffer,
    shape: Shape,
    pub(crate) var: Var,
}

impl Tensor {
    pub(crate) fn from_slot(device: Device, slot: u32, buffer: Buffer, shape: Shape) -> Tensor {
        Tensor {
            device,
            slot,
            buffer,
            shape,
            var: Var::NONE,
        }
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype
    }

    /// The device the tensor lives on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The opaque buffer, for a [`crate::Backend`].
    pub fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// The same elements under another shape of equal length.
    #[must_use]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Tensor {
        let shape = shape.into();
        assert_eq!(shape.len(), self.len(), "reshape of {:?} to {shape:?}", self.shape);
        let mut tensor = self.clone();
        tensor.shape = shape;
        tensor
    }

    /// Number `index` of the outermost dimension as a tensor of its own, which shares the memory.
    ///
    /// # Panics
    /// If there is none, or if it does not begin at a cache line, as every tensor does.
    #[must_use]
    pub fn part(&self, index: usize) -> Tensor {
        assert!(
            self.shape.dims().first().is_some_and(|&count| index < count),
            "part {index} of {:?}",
            self.shape
        );
        let mut tensor = self.detach();
        tensor.shape = self.shape.inner();
        let bytes = tensor.len() * self.dtype().bytes();
        assert!(
            (index * bytes).is_multiple_of(64),
            "part {index} of {:?} begins inside a cache line",
            self.shape
        );
        tensor.buffer.len = tensor.len();
        tensor.buffer.memory.address += index * bytes;
        tensor.buffer.memory.bytes = bytes;
        tensor
    }

    /// The same values without a place on the tape: no gradient flows through it.
    #[must_use]
    pub fn detach(&self) -> Tensor {
        let mut tensor = self.clone();
        tensor.var = Var::NONE;
        tensor
    }

    /// Waits for the device and reads all elements as `f32`.
    pub fn download(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.download_into(&mut out);
        out
    }

    /// Waits for the device and reads all elements into `out` (of equal length).
    pub fn download_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.len(), "download into a slice of another length");
        self.device
            .launch("download", |b| b.download(self.buffer, HostMut::F32(out)));
    }

    /// Waits for the device and reads all elements as `f64` (exact on the oracle).
    pub fn download_f64(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.len()];
        self.device
            .launch("download", |b| b.download(self.buffer, HostMut::F64(&mut out)));
        out
    }

    /// Overwrites all elements with `values`, rounded to the tensor's type.
    pub fn upload(&self, values: &[f32]) {
        assert_eq!(values.len(), self.len(), "upload of another length");
        self.device
            .launch("upload", |b| b.upload(Host::F32(values), self.buffer));
    }

    /// Overwrites all elements from `f64` values (exact on the oracle).
    pub fn upload_f64(&self, values: &[f64]) {
        assert_eq!(values.len(), self.len(), "upload of another length");
        self.device
            .launch("upload", |b| b.upload(Host::F64(values), self.buffer));
    }

    /// Overwrites an index tensor.
    pub fn upload_i32(&self, values: &[i32]) {
        assert_eq!(values.len(), self.len(), "upload of another length");
        assert_eq!(self.dtype(), DType::I32, "upload of indices into a float tensor");
        self.device
            .launch("upload", |b| b.upload(Host::I32(values), self.buffer));
    }

    /// Sets every element to `value`.
    pub fn fill(&self, value: f32) {
        self.device.launch("fill", |b| b.fill(self.buffer, value));
    }

    /// Copies all elements of `from` (equal length), converting the element type.
    pub fn copy_from(&self, from: &Tensor) {
        assert_eq!(from.len(), self.len(), "copy of another length");
        let same = from.slot == self.slot && from.buffer.memory.address == self.buffer.memory.address;
        if same && std::ptr::eq(self.device.identity(), from.device.identity()) {
            return;
        }
        self.device.launch("copy", |b| b.copy(from.buffer, self.buffer));
    }

    /// True if no other clone shares the memory, so that it may be changed in place.
    pub(crate) fn is_unique(&self) -> bool {
        self.device.slot_refs(self.slot) == 1
    }
}

impl Clone for Tensor {
    fn clone(&self) -> Tensor {
        self.device.retain_slot(self.slot);
        Tensor {
            device: self.device.clone(),
            ..*self
        }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        self.device.release_slot(self.slot);
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{:?} {}", self.shape, self.dtype().name())
    }
}
