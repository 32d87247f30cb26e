//! A small model's first steps of training, beside the same steps on the CPU.

use std::time::Instant;

use anyhow::Result;
use ferrochat_model::{Gpt, GptConfig, Optimizer, Rates, Schedule};
use ferrochat_tensor::check::Part;
use ferrochat_tensor::{DType, Device, Graph};

use super::lines::{Line, Lines, guarded};
use super::source::Source;
use super::subject::Subject;
use crate::errors::usage;
use crate::format::duration;
use crate::progress::Progress;

const PART: &str = "training";

/// Seed of weights and tokens.
const SEED: u64 = 1337;

/// A model that was trained on the reference device.
pub struct Trained {
    /// Its shape.
    pub config: GptConfig,
    /// Values of its parameters by name.
    pub parameters: Vec<(String, Vec<f32>)>,
}

impl Trained {
    /// The model on a device.
    ///
    /// # Errors
    /// The model cannot exist.
    pub fn on(&self, device: &Device) -> Result<Gpt> {
        let gpt = Gpt::new(device, &self.config).map_err(usage)?;
        for (name, values) in &self.parameters {
            gpt.parameter(name).expect("the same model").upload(values);
        }
        Ok(gpt)
    }
}

/// One training run that can be gone on with.
pub struct Run {
    gpt: Gpt,
    optimizer: Optimizer,
    graph: Graph,
    source: Source,
    schedule: Schedule,
    batch: usize,
    done: usize,
}

impl Run {
    /// The subject's model with the same random weights on every device.
    ///
    /// # Errors
    /// The model cannot exist.
    pub fn new(device: &Device, config: &GptConfig, batch: usize, steps: usize) -> Result<Run> {
        let gpt = Gpt::new(device, config).map_err(usage)?;
        gpt.initialize(SEED);
        // The reference's rates are for batches of 2^19 tokens: these are a fraction of that.
        let rates = Rates::default().scaled(0.1);
        Ok(Run {
            optimizer: Optimizer::new(&gpt, &rates),
            graph: Graph::training(device),
            source: Source::new(config.vocab_size, SEED),
            schedule: Schedule::short_run(steps, 0.1),
            gpt,
            batch,
            done: 0,
        })
    }

    /// One step; the loss before it, still on the device.
    pub fn step(&mut self) -> ferrochat_tensor::Tensor {
        let device = self.gpt.device();
        let time = self.gpt.config().sequence_len;
        let (inputs, targets) = self.source.batch(self.done, self.batch, time);
        let shape = [self.batch, time];
        let weights = device.master(shape);
        weights.fill(1.0 / (self.batch * time) as f32);
        let (inputs, targets) = (device.indices(&inputs, shape), device.indices(&targets, shape));
        let loss = self.gpt.loss(&self.graph, &inputs, &targets, &weights).loss;
        self.graph.backward();
        self.optimizer.step(&self.schedule.at(self.done));
        self.done += 1;
        loss
    }

    /// The model.
    pub fn model(&self) -> &Gpt {
        &self.gpt
    }

    /// Tokens per step.
    pub fn tokens(&self) -> usize {
        self.batch * self.gpt.config().sequence_len
    }
}

fn curve(run: &mut Run, steps: usize, label: &str) -> Vec<f64> {
    let begun = Instant::now();
    let mut progress = Progress::new(label, steps as u64);
    let mut losses = Vec::with_capacity(steps);
    for done in 1..=steps {
        let loss = run.step().download()[0];
        losses.push(f64::from(loss));
        let left = begun.elapsed().as_secs_f64() / done as f64 * (steps - done) as f64;
        progress.part(
            done as u64,
            &format!("steps of {label}, loss {loss:.3}, ETA {}", duration(left)),
        );
    }
    progress.finish();
    losses
}

/// Trains on the CPU in `f32`, and compares the device if that is asked for.
///
/// # Errors
/// A device cannot be opened or stdout written to.
pub fn run(subject: &Subject, compare: bool, lines: &mut Lines) -> Result<Trained> {
    let (batch, steps) = subject.training();
    let config = subject.model();
    let reference = subject.reference()?;
    let mut reference_run = Run::new(&reference, &config, batch, steps)?;
    let wanted = curve(&mut reference_run, steps, "the CPU's training");
    if compare {
        lines.push(&Line::measured(
            PART,
            "the CPU's curve",
            Some("float32"),
            shown(&wanted),
        ))?;
        for dtype in subject.dtypes() {
            let device = subject.device(dtype)?;
            let ours = guarded(|| -> Result<Vec<f64>> {
                let mut run = Run::new(&device, &config, batch, steps)?;
                Ok(curve(&mut run, steps, "training"))
            });
            let name = format!("{steps} steps of depth {}", config.n_layer);
            lines.count(1);
            lines.push(&match ours {
                Ok(ours) => judge(&name, dtype, &ours?, &wanted),
                Err(sentence) => Line::judged(PART, name, Some(dtype.name()), &[sentence]),
            })?;
        }
    }
    let parameters = reference_run.gpt.declarations().iter().map(|declaration| {
        let param = &declaration.param;
        (param.name().to_owned(), param.value().download())
    });
    Ok(Trained {
        config,
        parameters: parameters.collect(),
    })
}

/// Losses may differ, in nats, by so much at the first step, on average, and at any step.
///
/// Both runs see the same tokens, so that only rounding parts them; each step takes the difference of the step before
/// with it and adds its own.
fn limits(dtype: DType) -> [f64; 3] {
    match dtype {
        DType::Bf16 => [5e-3, 1e-2, 4e-2],
        _ => [1e-5, 2e-3, 1e-2],
    }
}

fn judge(name: &str, dtype: DType, ours: &[f64], wanted: &[f64]) -> Line {
    let differences: Vec<f64> = ours.iter().zip(wanted).map(|(a, b)| (a - b).abs()).collect();
    let largest = differences
        .iter()
        .fold(0.0, |most: f64, &d| if d > most || d.is_nan() { d } else { most });
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let errors = [
        ("first loss", differences[0]),
        ("mean difference", mean),
        ("largest difference", largest),
    ];
    let mut parts: Vec<Part> = errors
        .iter()
        .zip(limits(dtype))
        .map(|(&(what, error), tolerance)| Part {
            what: what.to_owned(),
            error,
            tolerance,
            complaint: (error > tolerance || error.is_nan())
                .then(|| format!("of {error:.2e} nats, allowed {tolerance:.0e}")),
        })
        .collect();
    // Ten steps of a tiny model, or a hundred that learn most of what there is.
    let least_fall = if ours.len() < 50 { 0.1 } else { 1.0 };
    let (first, last) = (ours[0], ours[ours.len() - 1]);
    parts.push(Part::required(
        "the curve",
        last < first - least_fall,
        format!("does not fall: {first:.3} to {last:.3}"),
    ));
    let mut line = Line::of_parts(PART, name, Some(dtype.name()), &parts);
    let figures = format!(
        "{}; beside the CPU: mean {mean:.1e}, largest {largest:.1e} nats",
        shown(ours)
    );
    line.detail = if line.detail.is_empty() || parts.iter().all(|part| part.complaint.is_none()) {
        figures
    } else {
        format!("{}; {figures}", line.detail)
    };
    line.with("mean_difference", mean).with("largest_difference", largest)
}

/// A curve in a few numbers.
fn shown(losses: &[f64]) -> String {
    let last = losses.len() - 1;
    let at = [0, last / 4, last / 2, 3 * last / 4, last];
    let numbers: Vec<String> = at.iter().map(|&i| format!("{:.4}", losses[i])).collect();
    format!("loss {}", numbers.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::lines::Verdict;

    fn curve_of(shift: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..100).map(|step| 6.0 - 0.03 * step as f64 + shift(step)).collect()
    }

    fn verdict(ours: &[f64]) -> Verdict {
        judge("steps", DType::F32, ours, &curve_of(|_| 0.0)).verdict
    }

    #[test]
    fn curves_that_part_fail() {
        assert_eq!(verdict(&curve_of(|_| 1e-6)), Verdict::Ok);
        assert_eq!(verdict(&curve_of(|_| 1e-3)), Verdict::Fail, "the first loss is another");
        assert_eq!(
            verdict(&curve_of(|step| 3e-4 * step as f64)),
            Verdict::Fail,
            "they drift"
        );
        let spike = |step| if step == 70 { 0.1 } else { 0.0 };
        assert_eq!(verdict(&curve_of(spike)), Verdict::Fail);
        let broken = |step| if step == 99 { f64::NAN } else { 0.0 };
        assert_eq!(verdict(&curve_of(broken)), Verdict::Fail);
        assert_eq!(
            judge("steps", DType::F32, &[6.0; 100], &[6.0; 100]).verdict,
            Verdict::Fail,
            "nothing is learned"
        );
    }
}
