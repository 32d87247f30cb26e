//! A training loop that returns its batches allocates nothing here once the
//! buffers have grown: counted by an allocator that watches this thread alone.

// Clippy's allow-unwrap-in-tests does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::start;
use ferrochat_data::{Corpus, CorpusOptions, LoaderConfig, Packing, Split, generator::small_text};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // The thread may be ending; then nobody asks any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn taking_and_returning_batches_allocates_nothing() {
    let corpus = Corpus::from_text("memory", small_text(1, 200_000), CorpusOptions::default());
    let corpus = corpus.unwrap();
    for packing in [Packing::BestFit, Packing::Stream, Packing::RandomWindows { seed: 1 }] {
        let config = LoaderConfig::new(8, 64, Split::Train, packing);
        let mut loader = start(&corpus, &config, None);
        let mut step = || {
            let batch = loader.next_batch().unwrap();
            loader.recycle(batch);
        };
        (0..10).for_each(|_| step());
        let before = ALLOCATIONS.get();
        assert!(before > 0, "the counter does not count");
        (0..300).for_each(|_| step());
        assert_eq!(ALLOCATIONS.get() - before, 0, "{packing}");
    }
}
