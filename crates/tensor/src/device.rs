//! A device: one backend, its memory pool, and counters of what was asked of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::backend::{Backend, Buffer, Stream};
use crate::cpu::{Cpu, CpuOptions};
use crate::dtype::DType;
use crate::memory::{Memory, MemoryPool, size_class};
use crate::oracle::Oracle;
use crate::profile::{OpUse, Profiler};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What can go wrong before any arithmetic is done.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// A kernel level, element type or thread count that this machine cannot offer.
    #[error("{0}")]
    Unsupported(String),
    /// The backend has no more memory. Raised as a panic payload from inside an operation,
    /// because a plan has already checked the sizes; the program turns it into a sentence.
    #[error("out of memory: a block of {bytes} bytes could not be had ({live} bytes are in use)")]
    OutOfMemory {
        /// Size of the request.
        bytes: usize,
        /// Bytes in use at that moment.
        live: usize,
    },
    /// The hardware or its driver failed. Raised as a panic payload like [`TensorError::OutOfMemory`].
    #[error("{0}")]
    Fault(String),
}

/// Arithmetic asked of a device since the last [`Device::take_cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations (a multiply-add counts two).
    pub flops: f64,
    /// Bytes read and written, if every operand travelled from memory once.
    pub bytes: f64,
}

impl Cost {
    pub(crate) fn add(&mut self, other: Cost) {
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

/// Bytes of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// In use now.
    pub live: usize,
    /// Most ever in use.
    pub peak: usize,
    /// Held from the system, in use or waiting to be reused.
    pub reserved: usize,
}

struct Slot {
    refs: u32,
    memory: Memory,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Inner {
    backend: Rc<dyn Backend>,
    dry: bool,
    pool: RefCell<MemoryPool>,
    slots: RefCell<Slots>,
    cost: Cell<Cost>,
    profiler: Profiler,
}

/// A handle to a device; cloning shares it. Not `Send`: a rank lives on one thread and its
/// backend brings its own worker threads.
#[derive(Clone)]
pub struct Device(Rc<Inner>);

impl Device {
    /// A device on any backend.
    pub fn new(backend: Rc<dyn Backend>) -> Device {
        Device(Rc::new(Inner {
            backend,
            dry: false,
            pool: RefCell::default(),
            slots: RefCell::default(),
            cost: Cell::default(),
            profiler: Profiler::default(),
        }))
    }

    /// The CPU, with the best kernels it has unless the options say otherwise.
    pub fn cpu(options: &CpuOptions) -> Result<Device, TensorError> {
        Ok(Device::new(Rc::new(Cpu::new(options)?)))
    }

    /// The naive `f64` backend that gradients and all other backends are checked against.
    pub fn oracle() -> Device {
        Device::new(Rc::new(Oracle))
    }

    /// A device that looks like this one and does no arithmetic: it counts FLOPs, bytes and
    /// peak memory of whatever runs on it. Values read from it are meaningless.
    #[must_use]
    pub fn dry_run(&self) -> Device {
        Device(Rc::new(Inner {
            backend: Rc::clone(&self.0.backend),
            dry: true,
            pool: RefCell::default(),
            slots: RefCell::default(),
            cost: Cell::default(),
            profiler: Profiler::default(),
        }))
    }

    /// What tells devices apart.
    pub(crate) fn identity(&self) -> *const () {
        Rc::as_ptr(&self.0).cast()
    }

    /// True for a device made by [`Device::dry_run`].
    pub fn is_dry(&self) -> bool {
        self.0.dry
    }

    /// The backend's description, for people.
    pub fn name(&self) -> String {
        self.0.backend.name()
    }

    /// Element type of activations and matmul inputs.
    pub fn compute_dtype(&self) -> DType {
        self.0.backend.compute_dtype()
    }

    /// Element type of parameters, gradients of parameters, statistics and losses.
    pub fn master_dtype(&self) -> DType {
        self.0.backend.master_dtype()
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    /// The one door to the kernels: a dry device does not open it.
    pub(crate) fn launch(&self, op: &'static str, kernel: impl FnOnce(&dyn Backend)) {
        if self.0.dry {
            return;
        }
        if self.0.profiler.is_on() {
            self.0.profiler.time(op, &*self.0.backend, kernel);
        } else {
            kernel(&*self.0.backend);
        }
    }

    /// From now on the time and cost of every operation are written down, by name. The device is waited for after each,
    /// so on a GPU a profiled step takes longer than another.
    pub fn start_profile(&self) {
        self.0.profiler.start();
    }

    /// Ends what [`Device::start_profile`] began: what took longest comes first. Nothing for a dry run.
    pub fn take_profile(&self) -> Vec<OpUse> {
        self.0.profiler.take()
    }

    /// FLOP/s of the device's own multiply loops in the compute type, operands in the nearest cache, on all threads: what
    /// no product can exceed. A look of a few milliseconds, because the speed of machines changes: repeat it beside what
    /// is measured. None where the backend has no such loop to show.
    pub fn probe_flops(&self) -> Option<f64> {
        (!self.0.dry).then(|| self.0.backend.probe_flops()).flatten()
    }

    /// Bytes per second at which the device goes once through `memory` (master type, many times larger than its caches),
    /// which holds nothing of value afterwards. None where the backend has no such loop to show.
    pub fn probe_stream(&self, stream: Stream, memory: &Tensor) -> Option<f64> {
        assert_eq!(memory.dtype(), self.master_dtype(), "memory of master type");
        let probe = || self.0.backend.probe_stream(stream, memory.buffer());
        (!self.0.dry).then(probe).flatten()
    }

    /// Adds to the counters of [`Device::take_cost`].
    pub(crate) fn count(&self, flops: f64, bytes: f64) {
        let added = Cost { flops, bytes };
        let mut cost = self.0.cost.get();
        cost.add(added);
        self.0.cost.set(cost);
        if self.0.profiler.is_on() {
            self.0.profiler.note(added);
        }
    }

    /// Arithmetic counted since the last call.
    pub fn take_cost(&self) -> Cost {
        self.0.cost.take()
    }

    /// Positions that [`crate::Graph::weighted_nll`] handles at a time.
    pub fn loss_chunk(&self, rows: usize, channels: usize, padded_vocab: usize) -> usize {
        let scratch = self.0.backend.nll_scratch(rows, channels, padded_vocab);
        scratch.chunk.clamp(1, rows.max(1))
    }

    /// Memory in use, at peak and reserved.
    pub fn memory_use(&self) -> MemoryUse {
        let pool = self.0.pool.borrow();
        MemoryUse {
            live: pool.live_bytes,
            peak: pool.peak_bytes,
            reserved: pool.reserved_bytes,
        }
    }

    /// Bytes that are free in the device's own memory, with what waits here for reuse; none where it computes in the
    /// machine's memory.
    pub fn available_bytes(&self) -> Option<usize> {
        let pool = self.0.pool.borrow();
        let waiting = if self.0.dry {
            0
        } else {
            pool.reserved_bytes - pool.live_bytes
        };
        self.0.backend.available_bytes().map(|free| free + waiting)
    }

    /// Waits until all work asked for is done.
    pub fn synchronize(&self) {
        self.launch("synchronize", |b| b.synchronize());
    }

    /// Returns memory that waits for reuse to the system.
    pub fn trim(&self) {
        self.give_up_unused(&mut self.0.pool.borrow_mut());
    }

    fn give_up_unused(&self, pool: &mut MemoryPool) {
        for memory in pool.drain() {
            if !self.0.dry {
                self.0.backend.release(memory);
            }
        }
    }

    /// Overwrites what waits for reuse: whoever reads an element that was never set shows it.
    pub(crate) fn fill_unused(&self, value: f32) {
        for memory in self.0.pool.borrow().unused() {
            let dtype = self.master_dtype();
            let len = memory.bytes / dtype.bytes();
            self.launch("fill", |b| b.fill(Buffer { memory, dtype, len }, value));
        }
    }

    /// A tensor whose elements are not set.
    ///
    /// # Panics
    /// With [`TensorError::OutOfMemory`] as payload, if there is no memory for it.
    pub fn empty(&self, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        self.try_empty(shape, dtype)
            .unwrap_or_else(|error| std::panic::panic_any(error))
    }

    /// [`Device::empty`] for what no plan has checked, such as a cache that grows with what a user asks for.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`].
    pub fn try_empty(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        let class = size_class(shape.len() * dtype.bytes());
        let memory = self.allocate(class)?;
        let mut slots = self.0.slots.borrow_mut();
        let slot = Slot { refs: 1, memory };
        let index = if let Some(index) = slots.free.pop() {
            slots.slots[index as usize] = slot;
            index
        } else {
            slots.slots.push(slot);
            // Room for every slot to be free at once, so that releasing never allocates.
            let capacity = slots.slots.capacity();
            let held = slots.free.len();
            slots.free.reserve(capacity - held);
            slots.slots.len() as u32 - 1
        };
        drop(slots);
        let buffer = Buffer {
            memory,
            dtype,
            len: shape.len(),
        };
        Ok(Tensor::from_slot(self.clone(), index, buffer, shape))
    }

    /// A tensor of activations (compute type) whose elements are not set.
    pub fn activation(&self, shape: impl Into<Shape>) -> Tensor {
        self.empty(shape, self.compute_dtype())
    }

    /// A tensor of statistics, losses or optimizer state (master type), not set.
    pub fn master(&self, shape: impl Into<Shape>) -> Tensor {
        self.empty(shape, self.master_dtype())
    }

    /// A tensor of activations with the given elements.
    pub fn tensor(&self, values: &[f32], shape: impl Into<Shape>) -> Tensor {
        let tensor = self.activation(shape);
        tensor.upload(values);
        tensor
    }

    /// A tensor of master type with the given elements.
    pub fn master_tensor(&self, values: &[f32], shape: impl Into<Shape>) -> Tensor {
        let tensor = self.master(shape);
        tensor.upload(values);
        tensor
    }

    /// A tensor of indices with the given elements.
    pub fn indices(&self, values: &[i32], shape: impl Into<Shape>) -> Tensor {
        let tensor = self.empty(shape, DType::I32);
        tensor.upload_i32(values);
        tensor
    }

    fn allocate(&self, class: usize) -> Result<Memory, TensorError> {
        let mut pool = self.0.pool.borrow_mut();
        if let Some(memory) = pool.reuse(class) {
            pool.note_use(class, false);
            return Ok(memory);
        }
        if pool.hoards() {
            self.give_up_unused(&mut pool);
        }
        let memory = if self.0.dry {
            Memory {
                address: 0,
                bytes: class,
            }
        } else {
            let again = || {
                // What waits for reuse in other sizes may make the room.
                self.give_up_unused(&mut pool);
                self.0.backend.allocate(class)
            };
            let memory = self.0.backend.allocate(class).or_else(again);
            memory.ok_or(TensorError::OutOfMemory {
                bytes: class,
                live: pool.live_bytes,
            })?
        };
        pool.note_use(class, true);
        Ok(memory)
    }

    pub(crate) fn retain_slot(&self, slot: u32) {
        self.0.slots.borrow_mut().slots[slot as usize].refs += 1;
    }

    pub(crate) fn slot_refs(&self, slot: u32) -> u32 {
        self.0.slots.borrow().slots[slot as usize].refs
    }

    pub(crate) fn release_slot(&self, index: u32) {
        let mut slots = self.0.slots.borrow_mut();
        let slot = &mut slots.slots[index as usize];
        slot.refs -= 1;
        if slot.refs == 0 {
            let memory = slot.memory;
            slots.free.push(index);
            self.0.pool.borrow_mut().give_back(memory);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // No tensor can be alive here: each holds a handle to this device.
        if !self.dry {
            for memory in self.pool.get_mut().drain() {
                self.backend.release(memory);
            }
        }
    }
}
