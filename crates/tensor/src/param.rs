//! Parameters: a master copy in full precision, its gradient, and the compute copies that
//! the backend wants for its matmuls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::backend::{Layout, Weight};
use crate::device::Device;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

struct Copy {
    tensor: Tensor,
    version: u64,
}

struct Inner {
    name: String,
    value: Tensor,
    grad: RefCell<Option<Tensor>>,
    version: Cell<u64>,
    copies: [RefCell<Option<Copy>>; 2],
}

/// A named, trainable tensor; cloning shares it.
///
/// The master copy is `f32` (`f64` on the oracle). A backend may ask for a compute copy
/// (bf16 packed, fp8 with its scale, int8); it is made at first use and remade after
/// [`Param::touch`] has bumped the version.
#[derive(Clone)]
pub struct Param(Rc<Inner>);

impl Param {
    /// A parameter of zeros.
    pub fn new(device: &Device, name: impl Into<String>, shape: impl Into<Shape>) -> Param {
        let value = device.master(shape);
        value.fill(0.0);
        Param(Rc::new(Inner {
            name: name.into(),
            value,
            grad: RefCell::new(None),
            version: Cell::new(0),
            copies: [RefCell::new(None), RefCell::new(None)],
        }))
    }

    /// The name under which checkpoints store it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its shape; a matrix is `[out, in]`, an embedding table `[vocabulary, channels]`.
    pub fn shape(&self) -> Shape {
        self.0.value.shape()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.0.value.len()
    }

    /// The master copy. Whoever writes to it calls [`Param::touch`] afterwards.
    pub fn value(&self) -> &Tensor {
        &self.0.value
    }

    /// Sets the master copy and bumps the version.
    pub fn upload(&self, values: &[f32]) {
        self.0.value.upload(values);
        self.touch();
    }

    /// Says that the master copy has changed, so that compute copies are remade.
    pub fn touch(&self) {
        self.0.version.set(self.0.version.get() + 1);
    }

    /// The gradient accumulated since the last [`Param::clear_grad`], if any flowed.
    pub fn grad(&self) -> Option<Tensor> {
        self.0.grad.borrow().clone()
    }

    /// Forgets the gradient. Its memory serves activations of the next forward pass: when its turn to be needed comes,
    /// those behind it in the model are gone.
    pub fn clear_grad(&self) {
        self.0.grad.take();
    }

    /// The gradient to add to, and whether it holds something already; if not, the kernel
    /// must overwrite it.
    pub(crate) fn grad_slot(&self) -> (Tensor, bool) {
        let mut grad = self.0.grad.borrow_mut();
        let accumulate = grad.is_some();
        let tensor = grad.get_or_insert_with(|| self.0.value.device().master(self.shape()));
        (tensor.clone(), accumulate)
    }

    /// Like [`Param::grad_slot`], for kernels that only ever add: an empty gradient is
    /// filled with zeros first.
    pub(crate) fn grad_to_add(&self) -> Tensor {
        let (grad, accumulate) = self.grad_slot();
        if !accumulate {
            grad.fill(0.0);
        }
        grad
    }

    /// The matrix as a matmul operand, its compute copy up to date.
    pub(crate) fn weight(&self, layout: Layout) -> Weight {
        let device = self.0.value.device();
        let (out_features, in_features) = (self.shape().rows(), self.shape().last());
        let mut weight = Weight {
            master: self.0.value.buffer(),
            copy: None,
            out_features,
            in_features,
        };
        let layout = device.backend().compute_copy_layout(layout);
        let Some(bytes) = device.backend().compute_copy_bytes(out_features, in_features, layout) else {
            return weight;
        };
        let mut slot = self.0.copies[layout as usize].borrow_mut();
        let version = self.0.version.get();
        let copy = slot.get_or_insert_with(|| Copy {
            tensor: device.empty([bytes], DType::Byte),
            version: u64::MAX,
        });
        if copy.version != version {
            let master = self.numel() * device.master_dtype().bytes();
            device.count(0.0, (master + bytes) as f64);
            device.launch("compute_copy", |b| {
                b.make_compute_copy(weight, layout, copy.tensor.buffer());
            });
            copy.version = version;
        }
        weight.copy = Some(copy.tensor.buffer());
        weight
    }
}

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Param({} {:?})", self.name(), self.shape())
    }
}
