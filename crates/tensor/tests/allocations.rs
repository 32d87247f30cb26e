//! A step that looks like the one before it asks the heap for nothing, on any thread.
//!
//! One test, alone in its program: the requests of the process are then those of the test.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{cpu, cpu_levels};
use ferrochat_tensor::Graph;
use ferrochat_tensor::check::Network;

/// The system's allocator, counting requests: of the whole process and of each thread.
struct Counting;

static OF_PROCESS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OF_THREAD: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    OF_PROCESS.fetch_add(1, Ordering::Relaxed);
    OF_THREAD.with(|requests| requests.set(requests.get() + 1));
}

// SAFETY: every request goes to the system's allocator as it is; counting touches no heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The counters see this thread and others.
fn counter_counts() {
    let before = (OF_PROCESS.load(Ordering::Relaxed), OF_THREAD.get());
    let made = std::hint::black_box(vec![1u8; 100]);
    std::thread::spawn(|| std::hint::black_box(vec![1u8; 100]))
        .join()
        .expect("a thread");
    assert!(OF_THREAD.get() > before.1);
    let (process, thread) = (
        OF_PROCESS.load(Ordering::Relaxed) - before.0,
        OF_THREAD.get() - before.1,
    );
    assert!(process > thread, "what other threads ask for counts for the process");
    drop(made);
}

/// After two steps, further ones make no request to the heap, on any thread, whatever the kernels.
#[test]
fn steady_steps_do_not_allocate() {
    counter_counts();
    for (kernel, dtype) in cpu_levels() {
        for threads in [1, 2] {
            let device = cpu(kernel, dtype, threads).expect("a level that was found");
            let mut network = Network::new(&device, 2, 40);
            for _ in 0..2 {
                drop(network.train());
            }
            let before = (OF_PROCESS.load(Ordering::SeqCst), OF_THREAD.get());
            for _ in 0..3 {
                drop(network.train());
            }
            let after = (OF_PROCESS.load(Ordering::SeqCst), OF_THREAD.get());
            let name = device.name();
            assert_eq!(after.1 - before.1, 0, "{name}: requests of this thread in three steps");
            assert_eq!(after.0 - before.0, 0, "{name}: requests of all threads in three steps");

            // Nor does evaluation, once it has run.
            let graph = Graph::inference(&device);
            drop(network.forward(&graph));
            let before = OF_PROCESS.load(Ordering::SeqCst);
            drop(network.forward(&graph));
            assert_eq!(
                OF_PROCESS.load(Ordering::SeqCst) - before,
                0,
                "{name}: requests of evaluation"
            );
        }
    }
}
