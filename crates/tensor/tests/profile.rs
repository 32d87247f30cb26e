//! Who asks sees what each operation took and cost; ceilings are numbers that can be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ferrochat_tensor::{CpuOptions, Device, Graph, OpUse, Param, Stream};

fn find<'a>(uses: &'a [OpUse], name: &str) -> &'a OpUse {
    uses.iter().find(|used| used.name == name).unwrap()
}

#[test]
fn operations_are_written_down_by_name_while_somebody_asks() {
    let device = Device::cpu(&CpuOptions::default()).unwrap();
    let weight = Param::new(&device, "weight", [8, 16]);
    let graph = Graph::training(&device);
    let (x, seed) = (device.tensor(&[0.5; 64], [4, 16]), device.tensor(&[1.0; 32], [4, 8]));
    let pass = || {
        let leaf = graph.leaf(&x);
        let y = graph.linear(&leaf, &weight);
        graph.gradients(&y, &seed, &[&leaf]);
    };
    pass();
    assert!(device.take_profile().is_empty(), "nobody asked");

    device.start_profile();
    weight.touch();
    pass();
    pass();
    let uses = device.take_profile();
    for (name, calls) in [
        ("compute_copy", 2),
        ("linear", 2),
        ("linear_backward_input", 2),
        ("linear_backward_weight", 2),
    ] {
        let used = find(&uses, name);
        assert_eq!(used.calls, calls, "{name}");
        assert!(used.seconds > 0.0, "{name}");
        // Packing multiplies nothing, and its bytes are not taken for those of the product after it.
        let flops = if name == "compute_copy" {
            0.0
        } else {
            2.0 * 2.0 * 4.0 * 8.0 * 16.0
        };
        assert_eq!(used.cost.flops, flops, "{name}");
    }
    let element = device.compute_dtype().bytes() as f64;
    assert_eq!(find(&uses, "linear").cost.bytes, 2.0 * (64.0 + 32.0 + 128.0) * element);
    assert!(
        uses.windows(2).all(|pair| pair[0].seconds >= pair[1].seconds),
        "longest first"
    );

    pass();
    assert!(device.take_profile().is_empty(), "taking ends it");
    let dry = device.dry_run();
    dry.start_profile();
    dry.master([4]).fill(1.0);
    assert!(dry.take_profile().is_empty(), "a dry run takes no time");
}

#[test]
fn ceilings_are_positive_where_there_are_any() {
    for threads in [1, 2] {
        let options = CpuOptions {
            threads: Some(threads),
            ..CpuOptions::default()
        };
        let device = Device::cpu(&options).unwrap();
        assert!(device.probe_flops().unwrap() > 1e6);
        // An odd length: thirds and stretches do not fit.
        let memory = device.master([1_000_003]);
        memory.fill(1.0);
        for stream in [Stream::Read, Stream::Copy, Stream::Triad] {
            assert!(device.probe_stream(stream, &memory).unwrap() > 1e6, "{stream:?}");
        }
        assert!(device.dry_run().probe_flops().is_none());
    }
    assert!(Device::oracle().probe_flops().is_none());
}
