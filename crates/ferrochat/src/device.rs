//! From machine flags to a device, and how fast it trains. Knows devices and models as wholes only.

use std::time::{Duration, Instant};

use anyhow::Result;
use ferrochat_model::{Gpt, GptConfig, Optimizer, Pace, Rates};
use ferrochat_tensor::{CpuOptions, DType, Device, Graph};

use crate::cli::MachineArgs;
use crate::errors::{refuse, usage};
use crate::gpu;
use crate::record::StageRecord;

/// What `--device` may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Auto,
    Cpu,
    Cuda(usize),
}

/// The device that the flags ask for.
///
/// # Errors
/// A device, element type or kernel that does not exist or this machine lacks.
pub fn open(args: &MachineArgs) -> Result<Device> {
    let (wanted, dtype) = asked(args)?;
    let device = match wanted {
        Wanted::Cpu => None,
        Wanted::Auto => gpu::if_any(dtype),
        Wanted::Cuda(index) => Some(gpu::open(index, dtype)?),
    };
    if let Some(device) = device {
        return Ok(device);
    }
    let options = CpuOptions {
        threads: args.compute.threads,
        dtype,
        kernel: None,
    };
    Device::cpu(&options).map_err(usage)
}

/// Refuses flags that no machine understands.
///
/// # Errors
/// The first of them.
pub fn check(args: &MachineArgs) -> Result<()> {
    asked(args).map(|_| ())
}

fn asked(args: &MachineArgs) -> Result<(Wanted, Option<DType>)> {
    let dtype = args.dtype.as_deref().map(dtype_of).transpose()?;
    if args
        .compute
        .threads
        .is_some_and(|threads| threads == 0 || threads > 4096)
    {
        refuse!("--threads must be from 1 to 4096");
    }
    Ok((wanted(args.compute.device.as_deref())?, dtype))
}

fn wanted(device: Option<&str>) -> Result<Wanted> {
    let wanted = match device.unwrap_or_default() {
        "" | "auto" => Some(Wanted::Auto),
        "cpu" => Some(Wanted::Cpu),
        "cuda" => Some(Wanted::Cuda(0)),
        other => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .map(Wanted::Cuda),
    };
    match wanted {
        Some(wanted) => Ok(wanted),
        None => refuse!(
            "--device {:?} is unknown; it must be auto, cpu, cuda or cuda:N with the number of a GPU (FERROCHAT_DEVICE says the same)",
            device.unwrap_or_default()
        ),
    }
}

/// The CPU, for those who plan and compute nothing.
///
/// # Errors
/// A kernel or element type in the environment that does not exist.
pub fn cpu() -> Result<Device> {
    Device::cpu(&CpuOptions::default()).map_err(usage)
}

/// The flags that ask for a device of this name again: its kind and its element type.
pub fn flags_of(name: &str) -> Vec<String> {
    let device = match name.split_once([' ', ',']) {
        Some((first, _)) if first == "cpu" || is_gpu_name(first) => first,
        _ => return Vec::new(),
    };
    let dtype = match name.rsplit(", ").next() {
        Some("bfloat16") => "bf16",
        Some("float32") => "f32",
        _ => return vec!["--device".into(), device.into()],
    };
    ["--device", device, "--dtype", dtype].map(str::to_owned).into()
}

/// True for a GPU.
pub fn is_gpu(device: &Device) -> bool {
    is_gpu_name(&device.name())
}

fn is_gpu_name(name: &str) -> bool {
    name.starts_with("cuda:")
}

/// Says and records that a stage goes on with another kind of device than it began on. Weights, optimizer and data are
/// exact then, and later losses agree within rounding; on devices of one kind the bits are the same.
pub fn note_move(record: &mut StageRecord, stage: &str, step: usize, device: &Device) {
    let before = record.details["device"].as_str().unwrap_or_default().to_owned();
    let now = device.name();
    let latest = before.rsplit(" → ").next().unwrap_or_default();
    if step == 0 || latest.is_empty() || is_gpu_name(latest) == is_gpu_name(&now) {
        return;
    }
    eprintln!("{stage}: begun on {latest}, goes on with {now}; from here on losses agree within rounding only");
    record.details["device"] = format!("{before} → {now}").into();
}

/// Operations per second that a device's maker promises in its element type; none where that is not known.
pub fn peak_flops(device: &Device) -> Option<f64> {
    let card = gpu::card(&device.name())?;
    match device.compute_dtype() {
        DType::Bf16 => card.bf16_flops,
        _ => Some(card.f32_flops),
    }
}

/// How often the multiply loop is looked at, a few milliseconds each: another program may be in the way of one look.
const LOOKS: usize = 5;

/// What a device can do at best, in operations per second in its element type.
#[derive(Clone, Copy, Debug)]
pub enum Peak {
    /// As its maker says.
    Promised(f64),
    /// Its own multiply loop, just now.
    Measured(f64),
}

/// The peak of a device; none where nobody knows it.
pub fn peak(device: &Device) -> Option<Peak> {
    peak_flops(device).map(Peak::Promised).or_else(|| {
        let looks = (0..LOOKS).filter_map(|_| device.probe_flops());
        looks.reduce(f64::max).map(Peak::Measured)
    })
}

/// Such a rate as a part of a peak that was measured; none above it: then something was in the way of every look.
pub fn share_of_peak(flops_per_second: f64, peak: f64) -> Option<f64> {
    let share = flops_per_second / peak;
    (share <= 1.0).then_some(share)
}

/// Most bytes of memory that have been in use for a device: the card's, or this process's.
pub fn peak_memory(device: &Device) -> Option<u64> {
    if is_gpu(device) {
        return Some(device.memory_use().peak as u64);
    }
    crate::machine::peak_memory()
}

/// The element type of a name that `--dtype` takes.
///
/// # Errors
/// It is unknown.
pub fn dtype_of(name: &str) -> Result<DType> {
    Ok(match name {
        "bf16" | "bfloat16" => DType::Bf16,
        "f32" | "fp32" | "float32" => DType::F32,
        other => refuse!("--dtype {other:?} is unknown; it must be bf16 or f32"),
    })
}

/// The element type of a device as `--dtype` takes it.
pub fn dtype_name(device: &Device) -> &'static str {
    match device.compute_dtype() {
        DType::Bf16 => "bf16",
        _ => "f32",
    }
}

/// Time that measuring may take.
const ENOUGH: Duration = Duration::from_millis(400);

/// Floating-point operations per second (by the model's own formula) in training a model like this
/// one, shrunk where a pass of the whole would take too long.
///
/// # Errors
/// The model cannot exist.
pub fn measure_rate(device: &Device, model: &GptConfig, batch: usize) -> Result<f64> {
    let (config, tokens) = if is_gpu(device) {
        // A GPU shows its speed only on work of the size that it will have.
        (with_layers(model, 4), 65_536)
    } else {
        (shrunk(model), 2048)
    };
    let batch = batch.clamp(1, usize::div_ceil(tokens, config.sequence_len));
    let gpt = Gpt::new(device, &config).map_err(usage)?;
    gpt.initialize(0);
    let mut optimizer = Optimizer::new(&gpt, &Rates::default());
    let pace = Pace {
        lr_multiplier: 0.0,
        momentum: 0.9,
        weight_decay: 0.0,
    };
    let graph = Graph::training(device);
    let tokens = batch * config.sequence_len;
    let shape = [batch, config.sequence_len];
    let ids: Vec<i32> = (0..tokens).map(|i| (i * 7919 % config.vocab_size) as i32).collect();
    let ids = device.indices(&ids, shape);
    let weights = device.master(shape);
    weights.fill(1.0 / tokens as f32);
    let mut pass = || {
        let begun = Instant::now();
        let nll = gpt.loss(&graph, &ids, &ids, &weights);
        graph.backward();
        optimizer.step(&pace);
        // Reading the loss waits for all work before it.
        nll.loss.download();
        begun.elapsed()
    };
    // The first pass warms caches and takes memory from the system.
    pass();
    let begun = Instant::now();
    let mut best = pass();
    while begun.elapsed() < ENOUGH {
        best = best.min(pass());
    }
    let facts = ferrochat_model::Facts::of(&config).map_err(usage)?;
    Ok(facts.flops_per_token * tokens as f64 / best.as_secs_f64())
}

/// The same model with fewer layers.
fn with_layers(model: &GptConfig, most: usize) -> GptConfig {
    GptConfig {
        n_layer: model.n_layer.min(most),
        ..model.clone()
    }
}

/// The same shape of work at a size that takes a moment.
fn shrunk(model: &GptConfig) -> GptConfig {
    let head = model.head_dim();
    let heads = (512 / head.max(1)).clamp(1, model.n_head);
    let same_heads = model.n_kv_head == model.n_head || !heads.is_multiple_of(model.n_kv_head);
    GptConfig {
        sequence_len: model.sequence_len.min(512),
        vocab_size: model.vocab_size.min(4096),
        n_layer: model.n_layer.min(4),
        n_head: heads,
        n_kv_head: if same_heads { heads } else { model.n_kv_head },
        n_embd: heads * head,
        ..model.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ComputeArgs;

    fn args(device: &str, threads: Option<usize>) -> MachineArgs {
        MachineArgs::of(&ComputeArgs {
            device: Some(device.into()),
            threads,
        })
    }

    #[test]
    fn devices_are_told_by_name() {
        assert_eq!(wanted(None).unwrap(), Wanted::Auto);
        assert_eq!(wanted(Some("")).unwrap(), Wanted::Auto);
        assert_eq!(wanted(Some("auto")).unwrap(), Wanted::Auto);
        assert_eq!(wanted(Some("cpu")).unwrap(), Wanted::Cpu);
        assert_eq!(wanted(Some("cuda")).unwrap(), Wanted::Cuda(0));
        assert_eq!(wanted(Some("cuda:7")).unwrap(), Wanted::Cuda(7));
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:x", "cuda0", "CPU"] {
            let sentence = wanted(Some(wrong)).unwrap_err().to_string();
            assert!(sentence.contains(wrong) && sentence.contains("cuda:N"), "{sentence}");
        }
    }

    #[test]
    fn the_cpu_is_no_gpu() {
        let device = open(&args("cpu", Some(1))).unwrap();
        assert!(!is_gpu(&device) && device.name().contains("1 threads"));
        assert_eq!(peak_flops(&device), None);
        assert!(matches!(peak(&device), Some(Peak::Measured(flops)) if flops > 1e6));
        assert!(open(&args("cpu", Some(0))).is_err());
    }

    #[test]
    fn a_stage_that_moves_to_another_kind_of_device_remembers_both() {
        let device = open(&args("cpu", Some(1))).unwrap();
        let now = device.name();
        let moved = |begun_on: &str, step: usize| {
            let details = serde_json::json!({ "device": begun_on });
            let mut record = StageRecord::begin("base", &crate::settings::Settings::default(), details);
            note_move(&mut record, "base", step, &device);
            record.details["device"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            moved("cuda:0 NVIDIA L4, bf16", 5),
            format!("cuda:0 NVIDIA L4, bf16 → {now}")
        );
        assert_eq!(moved("cuda:0 NVIDIA L4, bf16", 0), "cuda:0 NVIDIA L4, bf16");
        let there_and_back = "cuda:0 NVIDIA L4, bf16 → cpu f32, 8 threads, f32";
        assert_eq!(moved(there_and_back, 9), there_and_back);
    }
}
