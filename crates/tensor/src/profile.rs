//! Where the time goes: calls, seconds and cost of each operation, while somebody asks for it.
//!
//! It stands at the one door to the kernels and knows their names only. Switched off it costs a look at one flag per
//! call; switched on it waits for the device after each kernel, or the time of one would be counted as another's.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use crate::backend::Backend;
use crate::device::Cost;

/// What one kind of operation took since [`crate::Device::start_profile`].
#[derive(Clone, Debug, PartialEq)]
pub struct OpUse {
    /// Its name; the way back has one of its own, such as `linear_backward_weight`.
    pub name: &'static str,
    /// How often it was called.
    pub calls: u64,
    /// Time spent in it.
    pub seconds: f64,
    /// Arithmetic that was asked of it.
    pub cost: Cost,
}

/// The book of a device.
#[derive(Default)]
pub(crate) struct Profiler {
    on: Cell<bool>,
    /// Counted since the last kernel: operations say what they cost before they begin.
    pending: Cell<Cost>,
    uses: RefCell<Vec<OpUse>>,
}

impl Profiler {
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Begins an empty book.
    pub(crate) fn start(&self) {
        self.uses.borrow_mut().clear();
        self.pending.take();
        self.on.set(true);
    }

    /// Ends the book and hands it out, what took longest first.
    pub(crate) fn take(&self) -> Vec<OpUse> {
        self.on.set(false);
        let mut uses = self.uses.take();
        uses.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        uses
    }

    /// Notes cost that belongs to the next kernel.
    pub(crate) fn note(&self, cost: Cost) {
        let mut pending = self.pending.get();
        pending.add(cost);
        self.pending.set(pending);
    }

    /// Runs a kernel and writes down what it took.
    pub(crate) fn time(&self, name: &'static str, backend: &dyn Backend, kernel: impl FnOnce(&dyn Backend)) {
        let begun = Instant::now();
        kernel(backend);
        backend.synchronize();
        let seconds = begun.elapsed().as_secs_f64();
        let cost = self.pending.take();
        let mut uses = self.uses.borrow_mut();
        let at = uses.iter().position(|known| known.name == name).unwrap_or_else(|| {
            uses.push(OpUse {
                name,
                calls: 0,
                seconds: 0.0,
                cost: Cost::default(),
            });
            uses.len() - 1
        });
        let known = &mut uses[at];
        known.calls += 1;
        known.seconds += seconds;
        known.cost.add(cost);
    }
}
