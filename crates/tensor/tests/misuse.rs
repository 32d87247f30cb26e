//! Calls that cannot mean anything are refused before a kernel runs, on whatever memory it would have run.

use ferrochat_tensor::{AdamwStep, CpuOptions, DType, Device, Graph, NllHead, Param};

fn cpu() -> Device {
    Device::cpu(&CpuOptions {
        dtype: Some(DType::F32),
        ..CpuOptions::default()
    })
    .expect("every machine has the portable kernels")
}

#[test]
#[should_panic(expected = "dry run has no elements")]
fn a_dry_tensor_on_a_real_device() {
    let (device, x) = (cpu(), cpu().dry_run().tensor(&[1.0; 4], [1, 4]));
    let _ = Graph::inference(&device).rms_norm(&x);
}

#[test]
#[should_panic(expected = "too large")]
fn a_shape_whose_size_wraps() {
    let _ = cpu().empty([1 << 33, 1 << 31], DType::F32);
}

#[test]
fn a_copy_onto_itself_changes_nothing() {
    let x = cpu().tensor(&[1.0, 2.0], [2]);
    x.copy_from(&x);
    x.copy_from(&x.reshape([1, 2]));
    assert_eq!(x.download(), [1.0, 2.0]);
}

#[test]
#[should_panic(expected = "share memory")]
fn an_optimizer_step_along_the_weights_themselves() {
    let device = cpu();
    let (w, m, v) = (device.master([3]), device.master([3]), device.master([3]));
    let step = AdamwStep {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.9,
        eps: 1e-10,
        weight_decay: 0.0,
        step: 1,
    };
    device.adamw(&w, &w, &m, &v, &step);
}

#[test]
#[should_panic(expected = "outside the KV cache")]
fn a_cache_position_before_the_first() {
    let device = cpu();
    let (cache, x) = (device.activation([2, 4, 1, 2]), device.tensor(&[1.0; 4], [2, 1, 1, 2]));
    Graph::inference(&device).cache_write(&cache, &x, &device.indices(&[3, -1], [2]));
}

#[test]
#[should_panic(expected = "outside the sequence")]
fn a_selected_position_beyond_the_sequence() {
    let device = cpu();
    let x = device.tensor(&[1.0; 8], [2, 2, 2]);
    let _ = Graph::inference(&device).select_positions(&x, &device.indices(&[2, 0], [2]));
}

#[test]
#[should_panic(expected = "cannot be forgotten")]
fn a_recorded_loss_is_not_forgotten() {
    let device = cpu();
    let weight = Param::new(&device, "head", [3, 2]);
    let head = NllHead {
        weight: &weight,
        vocab: 3,
        softcap: None,
    };
    let g = Graph::training(&device);
    let x = device.tensor(&[1.0, 2.0], [1, 1, 2]);
    let _ = g.weighted_nll(
        &x,
        &head,
        &device.indices(&[1], [1, 1]),
        &device.master_tensor(&[1.0], [1, 1]),
    );
    g.forget();
}

/// What is missing is said; nothing in this file executes AMX in software.
#[test]
fn a_kernel_level_that_the_machine_lacks() {
    let open = |kernel: &str| {
        let options = CpuOptions {
            kernel: Some(kernel.into()),
            ..CpuOptions::default()
        };
        Device::cpu(&options)
            .map(|device| device.name())
            .map_err(|error| error.to_string())
    };
    let answer = open("amx");
    if ferrochat_tensor::amx() == ferrochat_tensor::Amx::Present {
        assert!(answer.is_ok_and(|name| name.contains("amx")));
    } else {
        let message = answer.expect_err("a level that is not there");
        assert!(message.contains("amx") && message.contains("portable"), "{message}");
    }
    assert!(open("mmx").is_err_and(|message| message.contains("portable")));
}
