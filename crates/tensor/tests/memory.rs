//! Memory: what is dropped comes back, and a dry run counts what the real run uses.

mod common;

use common::{cpu, cpu_levels};
use ferrochat_tensor::check::{Network, Random};
use ferrochat_tensor::{Cost, DType, Device, Graph, MemoryUse, Param};

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::oracle()];
    devices.extend(
        cpu_levels()
            .into_iter()
            .filter_map(|(kernel, dtype)| cpu(kernel, dtype, 2)),
    );
    devices
}

/// A dropped tensor's memory goes to the next one of its size; what is shared stays.
#[test]
fn dropped_tensors_return_memory() {
    for device in devices() {
        let start = device.memory_use();
        assert_eq!(start.live, 0);
        let first = device.activation([64, 64]);
        let one = device.memory_use().live;
        assert_eq!(one, 64 * 64 * device.compute_dtype().bytes());
        let (clone, shape) = (first.clone(), first.reshape([4096]));
        assert_eq!(device.memory_use().live, one, "clones share");
        drop(first);
        drop(clone);
        assert_eq!(device.memory_use().live, one, "still in use under another shape");
        drop(shape);
        assert_eq!(device.memory_use().live, 0);
        let second = device.activation([64, 64]);
        let now = device.memory_use();
        assert_eq!((now.live, now.peak, now.reserved), (one, one, one), "reused");
        drop(second);
        device.trim();
        assert_eq!(device.memory_use().reserved, 0);
        assert_eq!(device.memory_use().peak, one, "the peak is remembered");
    }
}

/// A part is the same memory, and keeps it.
#[test]
fn parts_share_the_memory_of_the_whole() {
    for device in devices() {
        let whole = device.master([3, 4, 16]);
        whole.fill(1.0);
        let part = whole.part(1);
        assert_eq!(part.shape().dims(), [4, 16]);
        part.fill(2.0);
        part.part(3).copy_from(&whole.part(0).part(0));
        let values = whole.download();
        let expected = (0..192).map(|i| if (64..112).contains(&i) { 2.0 } else { 1.0 });
        assert!(values.iter().copied().eq(expected), "{values:?}");
        drop(whole);
        assert_ne!(device.memory_use().live, 0);
        drop(part);
        assert_eq!(device.memory_use().live, 0);
    }
}

/// Without a tape, intermediate results go back as soon as the model drops them; with one, after
/// the backward pass.
#[test]
fn tapes_hold_and_release() {
    for device in devices() {
        let mut random = Random::new(31);
        let weight = Param::new(&device, "weight", [64, 64]);
        weight.upload(&random.values(64 * 64, 0.1));
        let x = device.tensor(&random.values(64 * 64, 1.0), [64, 64]);
        let deep = |graph: &Graph| {
            let mut h = x.clone();
            for _ in 0..20 {
                h = graph.relu_squared(&graph.linear(&h, &weight));
            }
            h
        };
        // Once before, so that compute copies exist.
        drop(deep(&Graph::inference(&device)));
        let idle = device.memory_use().live;
        let activation = 64 * 64 * device.compute_dtype().bytes();

        let inference = deep(&Graph::inference(&device));
        assert_eq!(device.memory_use().live, idle + activation, "{}", device.name());
        assert!(device.memory_use().peak <= idle + 4 * activation, "{}", device.name());
        drop(inference);

        let graph = Graph::training(&device);
        let y = deep(&graph);
        let held = device.memory_use().live - idle;
        // The result of ReLU² serves both its own gradient and the next product's; the product before it is not held.
        assert!((20..=21).contains(&(held / activation)), "{}: {held}", device.name());
        graph.forget();
        drop(y);
        assert_eq!(device.memory_use().live, idle, "forgotten");

        let y = deep(&graph);
        drop(graph.gradients(&y, &x, &[]));
        drop(y);
        let gradient = 64 * 64 * device.master_dtype().bytes();
        let left = device.memory_use().live - idle;
        assert!(left >= gradient, "the gradient stays");
        drop(weight);
        drop(x);
        assert_eq!(device.memory_use().live, 0, "{}", device.name());
    }
}

/// What a training step holds for the way back is bounded per position, and nothing stays that belongs to one step.
#[test]
fn a_step_holds_what_cannot_be_made_again() {
    for device in devices() {
        let name = device.name();
        let step = |batch| {
            let dry = device.dry_run();
            let mut network = Network::new(&dry, batch, 64);
            for _ in 0..2 {
                drop(network.train());
            }
            let (idle, peak) = (dry.memory_use().live, dry.memory_use().peak);
            let loss = network.forward(&network.graph);
            let held = dry.memory_use().live - idle;
            drop(loss);
            [idle, held, peak]
        };
        // In units of the stream's width, per position.
        let width = (64 * 64 * 64 * device.compute_dtype().bytes()) as f64;
        let (some, more) = (step(64), step(128));
        let [idle, held, peak] = [0, 1, 2].map(|at| (more[at] - some[at]) as f64 / width);
        println!("{name}: {held} widths per position, {peak} at the peak");
        // Smear 1, queries, keys and gated values 2, attention 1, both sums 2, ReLU² 4, the loss's gradient 1: 11.
        // Statistics and what the loss says of each position are less than one more.
        assert!(held < 12.0, "{name}: {held}");
        // Of the network's own code, which lets go of nothing, of the loss's scratch and of gradients in between.
        assert!(peak < 21.0, "{name}: {peak}");
        assert!(idle < 0.2, "{name}: {idle} stays");
    }
}

/// What is made again and what is kept: another amount of memory, the same bits.
#[test]
fn what_is_made_again_changes_no_bits() {
    for device in devices() {
        let run = |from: usize| {
            let mut network = Network::new(&device, 3, 33);
            network.graph = Graph::training(&device).made_again_from(from);
            let held = device.memory_use().live;
            let loss = network.forward(&network.graph);
            let held = device.memory_use().live - held;
            network.graph.backward();
            (held, loss.download(), network.train().download(), network.parameters())
        };
        let (again, kept) = (run(0), run(usize::MAX));
        assert!(again.0 < kept.0, "{}: {} and {} bytes", device.name(), again.0, kept.0);
        assert!(
            (again.1, again.2, again.3) == (kept.1, kept.2, kept.3),
            "{}",
            device.name()
        );
    }
}

fn measured_steps(device: &Device, batch: usize, time: usize) -> (Vec<(Cost, MemoryUse)>, MemoryUse) {
    let mut network = Network::new(device, batch, time);
    let steps = (0..3).map(|_| {
        device.take_cost();
        drop(network.train());
        (device.take_cost(), device.memory_use())
    });
    let steps = steps.collect();
    drop(network.forward(&Graph::inference(device)));
    (steps, device.memory_use())
}

/// A dry run counts the operations and the memory of the real run, and computes nothing.
#[test]
fn dry_runs_cost_what_real_runs_cost() {
    for device in devices() {
        let real = measured_steps(&device, 2, 24);
        let dry = device.dry_run();
        assert!(dry.is_dry() && !device.is_dry());
        assert_eq!(measured_steps(&dry, 2, 24), real, "{}", device.name());
        let (first, second) = (real.0[0], real.0[1]);
        assert!(first.0.flops > 1e6 && first.0.bytes > 1e5 && first.1.peak > 1 << 16);
        assert_eq!(second.0, real.0[2].0, "every step costs the same");
        assert_eq!(second.1, real.0[2].1, "memory no longer grows");
        // Twice the batch is about twice the work of everything but the optimizer.
        let more = measured_steps(&device.dry_run(), 4, 24);
        assert!(more.0[0].0.flops > first.0.flops && more.0[0].1.peak > first.1.peak);
    }
}

/// A plan may dry-run what would never fit.
#[test]
fn dry_runs_use_no_memory() {
    let device = cpu("portable", DType::F32, 1).expect("always there").dry_run();
    let huge = device.activation([1 << 20, 1 << 20]);
    assert_eq!(device.memory_use().peak, 1 << 42);
    drop(Graph::inference(&device).rms_norm(&huge));
    assert_eq!(device.memory_use().peak, 1 << 43);
}

/// Blocks of sizes that nobody asks for again do not pile up.
#[test]
fn what_waits_for_reuse_is_bounded() {
    const MIB: usize = 1 << 20;
    let device = cpu("portable", DType::F32, 1).expect("always there").dry_run();
    let held = device.activation([MIB]);
    for size in 1..300 {
        drop(device.activation([size, MIB]));
        assert!(
            device.memory_use().reserved <= (4 + 256 + 4 * size + 256) * MIB,
            "{size}"
        );
    }
    // One size over and over again takes nothing new.
    let reserved = device.memory_use().reserved;
    (0..100).for_each(|_| drop(device.activation([299, MIB])));
    assert_eq!(device.memory_use().reserved, reserved);
    drop(held);
}

#[test]
#[should_panic(expected = "must be detached")]
fn a_tensor_of_an_earlier_pass_is_not_taken_for_another() {
    let device = Device::oracle();
    let g = Graph::training(&device);
    let x = g.leaf(&device.tensor(&[1.0, 2.0], [1, 2]));
    let kept = g.rms_norm(&x);
    g.forget();
    let y = g.scale(&kept, 2.0);
    let seed = device.tensor(&[1.0, 1.0], [1, 2]);
    let _ = g.gradients(&y, &seed, &[]);
}
