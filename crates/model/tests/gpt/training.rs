//! Training steps on the CPU: they learn, they repeat, they do not depend on threads, they resume.

use ferrochat_model::checkpoint::{self, Checkpoint, Contents};
use ferrochat_model::{Gpt, Optimizer, Rates, Schedule, StepCost};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};

use super::{ARCHS, cpu, small, tokens};

const TIME: usize = 16;

pub struct Run {
    pub gpt: Gpt,
    pub optimizer: Optimizer,
    graph: Graph,
}

impl Run {
    pub fn new(device: &Device, arch: ferrochat_model::Arch) -> Run {
        let gpt = Gpt::new(device, &small(arch, TIME)).unwrap();
        gpt.initialize(1);
        let optimizer = Optimizer::new(&gpt, &Rates::default());
        Run {
            optimizer,
            graph: Graph::training(device),
            gpt,
        }
    }

    /// One step on the batch of that step; gives the loss.
    pub fn step(&mut self, step: usize) -> f32 {
        let device = self.gpt.device();
        let ids = tokens(2 * TIME, step as u64 % 3);
        let next: Vec<i32> = ids.iter().map(|id| (id * 5 + 3) % 37).collect();
        let shape = [2, TIME];
        let weights = device.master_tensor(&[1.0 / 32.0; 32], shape);
        let (ids, next) = (device.indices(&ids, shape), device.indices(&next, shape));
        let loss = self.gpt.loss(&self.graph, &ids, &next, &weights).loss.download()[0];
        self.graph.backward();
        self.optimizer.step(&Schedule::short_run(40, 0.1).at(step));
        loss
    }

    pub fn weights(&self) -> Vec<Vec<f32>> {
        self.gpt
            .declarations()
            .iter()
            .map(|d| d.param.value().download())
            .collect()
    }
}

#[test]
fn a_small_model_learns_a_rule() {
    let bf16 = CpuOptions {
        dtype: Some(DType::Bf16),
        ..CpuOptions::default()
    };
    let devices = [Ok(cpu(None)), Device::cpu(&bf16)];
    // Not every machine computes in bf16.
    for (device, arch) in devices
        .iter()
        .flatten()
        .flat_map(|device| ARCHS.map(|arch| (device, arch)))
    {
        let mut run = Run::new(device, arch);
        let losses: Vec<f32> = (0..40).map(|step| run.step(step)).collect();
        assert!((losses[0] - 37f32.ln()).abs() < 0.1, "{arch} begins at {}", losses[0]);
        assert!(losses[39] < 0.5 * losses[0], "{arch} ends at {}", losses[39]);
    }
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    for arch in ARCHS {
        let weights = |threads| {
            let mut run = Run::new(&cpu(Some(threads)), arch);
            for step in 0..5 {
                run.step(step);
            }
            run.weights()
        };
        let one = weights(1);
        assert_eq!(one, weights(2), "{arch}");
        assert_eq!(one, weights(1), "{arch}");
    }
}

#[test]
fn a_resumed_run_gives_the_bits_of_one_that_was_not_interrupted() {
    for arch in ARCHS {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Run::new(&cpu(None), arch);
        for step in 0..4 {
            run.step(step);
        }
        let saved = checkpoint::save(
            folder.path(),
            &Contents {
                gpt: &run.gpt,
                optimizer: Some(&run.optimizer),
                step: 4,
                tokenizer: "abc",
                trainer: &serde_json::json!({}),
                files: &[],
            },
        )
        .unwrap();
        let losses: Vec<f32> = (4..8).map(|step| run.step(step)).collect();

        let mut resumed = Run::new(&cpu(None), arch);
        let checkpoint = Checkpoint::open(&saved).unwrap();
        checkpoint.load_model(&resumed.gpt).unwrap();
        checkpoint.load_optimizer(&mut resumed.optimizer).unwrap();
        assert_eq!(resumed.optimizer.steps(), 4);
        assert_eq!(
            (4..8).map(|step| resumed.step(step)).collect::<Vec<f32>>(),
            losses,
            "{arch}"
        );
        assert_eq!(resumed.weights(), run.weights(), "{arch}");
    }
}

#[test]
fn a_parameter_without_a_gradient_is_left_alone() {
    let mut run = Run::new(&cpu(None), ARCHS[1]);
    run.step(0);
    let before = run.weights();
    run.optimizer.step(&Schedule::short_run(40, 0.1).at(1));
    assert_eq!(run.weights(), before);
}

#[test]
fn a_dry_run_foresees_the_memory_of_a_step() {
    let device = cpu(None);
    let dry = |micro_batches| StepCost::dry_run(&device, &small(ARCHS[1], TIME), 2, micro_batches).unwrap();
    let cost = dry(1);
    assert!(cost.micro_batch.flops > 0.0 && cost.optimizer.flops > 0.0);
    let mut run = Run::new(&device, ARCHS[1]);
    run.step(0);
    run.step(1);
    let (real, foreseen) = (device.memory_use().peak as f64, cost.peak_bytes as f64);
    assert!((real / foreseen - 1.0).abs() < 0.05, "{real} bytes for {foreseen}");
    assert!(dry(2).peak_bytes > cost.peak_bytes, "gradients that wait take memory");
    assert_eq!(dry(9).peak_bytes, dry(2).peak_bytes);
}
