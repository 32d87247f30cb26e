//! The kernels for a few queries against the road of packed blocks, bit by bit.

use half::bf16;

use crate::backend::AttentionArgs;
use crate::check::Random;
use crate::cpu::elem::{Elem, Parts};
use crate::cpu::isa::Isa;
use crate::cpu::matmul::Micros;
use crate::cpu::{Cpu, CpuOptions};
use crate::dtype::DType;

use super::super::Call;

/// Results and statistics, once with the kernels (none if there are none) and once without them.
fn both<T: Elem>(cpu: &Cpu, args: &AttentionArgs, starts: &[i32]) -> Option<[Vec<u32>; 2]> {
    let mut random = Random::new(args.head_dim as u64);
    let mut values = |heads: usize, time: usize| -> Vec<T> {
        let values = random.values(args.batch * time * heads * args.head_dim, 1.0);
        values.into_iter().map(T::from_f32).collect()
    };
    let q = values(args.heads, args.time);
    let (mut k, mut v) = (
        values(args.kv_heads, args.capacity),
        values(args.kv_heads, args.capacity),
    );
    // Positions that were never written must not matter.
    let row = args.kv_heads * args.head_dim;
    for (sequence, &start) in starts.iter().enumerate() {
        let written = (sequence * args.capacity + start as usize + args.time) * row;
        for x in [&mut k, &mut v] {
            x[written..(sequence + 1) * args.capacity * row].fill(T::from_f32(f32::NAN));
        }
    }
    let run = |with: bool| {
        let mut y = vec![T::from_f32(0.0); q.len()];
        let mut logsumexp = vec![0.0; args.batch * args.heads * args.time];
        let call = Call {
            args,
            micros: Micros::new(cpu.isa, T::DTYPE == DType::Bf16),
            starts: Some(starts),
            q: &q,
            k: &k,
            v: &v,
            y: Parts::new(&mut y),
            logsumexp: Parts::new(&mut logsumexp),
            c: args.scale * std::f32::consts::LOG2_E,
        };
        let few = call.few(args.time * args.heads / args.kv_heads);
        if with && few.is_none() {
            return None;
        }
        cpu.attention_by_sequences(&call, few.filter(|_| with));
        let all = y.iter().map(|y| y.to_f32()).chain(logsumexp);
        Some(all.map(f32::to_bits).collect())
    };
    Some([run(true)?, run(false)?])
}

fn cpu(kernel: &str, threads: usize) -> Option<Cpu> {
    let isa = Isa::ALL.iter().find(|isa| isa.name() == kernel)?;
    isa.is_supported().then(|| {
        let options = CpuOptions {
            threads: Some(threads),
            kernel: Some(kernel.to_owned()),
            ..CpuOptions::default()
        };
        Cpu::new(&options).expect("a level that is supported")
    })
}

/// Heads, kv heads and queries of a call, and channels of a head.
fn args((heads, kv_heads, time): (usize, usize, usize), head_dim: usize) -> AttentionArgs {
    AttentionArgs {
        batch: 2,
        time,
        heads,
        kv_heads,
        head_dim,
        capacity: 580,
        window: usize::MAX,
        scale: 0.2,
        starts: None,
    }
}

fn compare<T: Elem>(kernel: &str) {
    let heads = [
        (2, 2, 1),
        (4, 2, 1),
        (3, 1, 1),
        (8, 2, 1),
        (8, 1, 1),
        (4, 2, 3),
        (2, 2, 2),
    ];
    for (heads, head_dim) in heads.into_iter().zip([32, 64, 96, 128, 256].into_iter().cycle()) {
        let threads = if head_dim == 64 { 3 } else { 1 };
        let Some(cpu) = cpu(kernel, threads) else { return };
        for window in [usize::MAX, 0, 40, 300] {
            for starts in [
                [0, 14],
                [15, 16],
                [31, 32],
                [33, 254],
                [255, 256],
                [257, 300],
                [511, 575],
            ] {
                let args = AttentionArgs {
                    window,
                    ..args(heads, head_dim)
                };
                let [with, without] = both::<T>(&cpu, &args, &starts).expect("kernels for so few queries");
                assert_eq!(
                    with, without,
                    "{kernel}, {heads:?} of {head_dim}, window {window}, from {starts:?}"
                );
            }
        }
    }
}

#[test]
fn few_queries_have_the_bits_of_packed_blocks() {
    compare::<bf16>("avx512bf16");
    compare::<f32>("avx512");
    compare::<f32>("avx512bf16");
}

#[test]
fn other_shapes_and_levels_take_the_other_road() {
    let few = |kernel: &str, heads: (usize, usize, usize), head_dim: usize| {
        let cpu = cpu(kernel, 1)?;
        both::<bf16>(&cpu, &args(heads, head_dim), &[3, 40])
    };
    let best = cpu("avx512bf16", 1).is_some();
    assert_eq!(few("avx512bf16", (2, 2, 1), 64).is_some(), best);
    assert!(few("avx512bf16", (2, 2, 1), 16).is_none());
    assert!(few("avx512bf16", (2, 2, 1), 72).is_none());
    assert!(few("avx512bf16", (9, 1, 1), 64).is_none());
    assert!(few("avx512bf16", (2, 2, 1), 1024).is_none());
    // A chain that packed operands cut in two.
    if let Some(cpu) = cpu("avx512", 1) {
        assert!(both::<f32>(&cpu, &args((2, 2, 1), 288), &[3, 40]).is_none());
    }
    for kernel in ["portable", "avx2", "avx512"] {
        assert!(few(kernel, (2, 2, 1), 64).is_none());
    }
}
