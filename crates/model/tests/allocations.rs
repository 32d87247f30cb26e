//! After the second step, forward, backward and optimizer ask the system for no memory.
//!
//! The only test of its binary: the allocator counts for the whole process, worker threads included.

#![allow(clippy::unwrap_used)] // the whole crate is a test

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrochat_model::{Arch, Dials, Gpt, GptConfig, Optimizer, Rates, Schedule};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the pointer came from the system allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn steps_after_the_second_allocate_nothing() {
    for (arch, dtype) in [
        (Arch::V2026_07, DType::F32),
        (Arch::V2026_07, DType::Bf16),
        (Arch::V2025_10, DType::F32),
    ] {
        let options = CpuOptions {
            dtype: Some(dtype),
            threads: Some(2),
            ..CpuOptions::default()
        };
        let Ok(device) = Device::cpu(&options) else {
            assert_ne!(dtype, DType::F32, "every machine computes in f32");
            continue;
        };
        let dials = Dials {
            sequence_len: 40,
            vocab_size: 70,
            head_dim: 12,
            n_embd: Some(48),
            n_kv_head: Some(2),
            ..Dials::default()
        };
        let gpt = Gpt::new(&device, &GptConfig::from_depth(arch, 3, &dials)).unwrap();
        gpt.initialize(1);
        let mut optimizer = Optimizer::new(&gpt, &Rates::default());
        let schedule = Schedule::pretraining(100, 0.2);
        let graph = Graph::training(&device);
        let shape = [2, 40];
        let ids: Vec<i32> = (0..80).map(|i| i * 7 % 70).collect();
        let ids = device.indices(&ids, shape);
        let weights = device.master_tensor(&[1.0 / 80.0; 80], shape);
        let mut loss = [0.0];
        for step in 0..6 {
            let before = REQUESTS.load(Ordering::Relaxed);
            for _micro_step in 0..2 {
                gpt.loss(&graph, &ids, &ids, &weights).loss.download_into(&mut loss);
                graph.backward();
            }
            optimizer.step(&schedule.at(step));
            let requests = REQUESTS.load(Ordering::Relaxed) - before;
            assert!(
                step < 2 || requests == 0,
                "{arch} {dtype:?} step {step}: {requests} requests"
            );
            assert!(step > 0 || requests > 0, "the counter counts");
        }
        assert!(loss[0].is_finite());
    }
}
