//! Reuse of device memory: freed blocks wait in lists by size class and are handed out again.
//!
//! After the first steps of a training run every request is met from the lists, so neither
//! the system allocator nor the device is asked again. A dry run goes through the same lists
//! with addresses that point nowhere, so that its peak is the peak of the real run.

use std::collections::HashMap;

/// A block of device memory. Only the backend that made it knows what the address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
}

/// Rounds a request up so that similar sizes share a list: steps of an eighth of the
/// power of two below (at most 12.5% wasted), never less than 64 bytes.
pub(crate) fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(64);
    let step = (1usize << bytes.ilog2() >> 3).max(64);
    bytes.div_ceil(step) * step
}

/// What may wait for reuse however little is in use: keeping it costs little, and mapping it anew costs time.
const ENOUGH: usize = 256 << 20;

/// Free lists and byte counts.
#[derive(Default)]
pub(crate) struct MemoryPool {
    free: HashMap<usize, Vec<Memory>>,
    pub(crate) live_bytes: usize,
    pub(crate) peak_bytes: usize,
    pub(crate) reserved_bytes: usize,
}

impl MemoryPool {
    /// A block of this class from the free list, if there is one.
    pub(crate) fn reuse(&mut self, class: usize) -> Option<Memory> {
        self.free.get_mut(&class)?.pop()
    }

    /// Whether more waits than is in use. A run whose shapes change, such as answers to prompts of all lengths, leaves blocks
    /// of sizes that nobody may ask for again.
    pub(crate) fn hoards(&self) -> bool {
        self.reserved_bytes - self.live_bytes > self.live_bytes.max(ENOUGH)
    }

    /// Notes that a block of `bytes` is now in use; `fresh` if the backend made it just now.
    pub(crate) fn note_use(&mut self, bytes: usize, fresh: bool) {
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        if fresh {
            self.reserved_bytes += bytes;
        }
    }

    /// Takes a block back.
    pub(crate) fn give_back(&mut self, memory: Memory) {
        self.live_bytes -= memory.bytes;
        self.free.entry(memory.bytes).or_default().push(memory);
    }

    /// The blocks on the lists.
    pub(crate) fn unused(&self) -> impl Iterator<Item = Memory> + '_ {
        self.free.values().flatten().copied()
    }

    /// Empties the lists.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Memory> + '_ {
        self.reserved_bytes = self.live_bytes;
        self.free.values_mut().flat_map(|list| list.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in (1..100_000).step_by(37) {
            let class = size_class(bytes);
            assert!(class >= bytes);
            assert!(class as f64 <= (bytes as f64 * 1.126).max(64.0 + bytes as f64));
            assert_eq!(size_class(class), class);
        }
    }
}
