//! `doctor`: what this machine offers, what it lacks and how to get it, and where files go. Changes nothing.

use anyhow::Result;
use ferrochat_tensor::Device;
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::format::{bytes, flop_rate, push};
use crate::gpu::{self, CardReport, LibraryReport};
use crate::home::{Home, check_writable, free_bytes};
use crate::machine::{Machine, available_memory};
use crate::{device, output, presets};

/// `doctor`
///
/// # Errors
/// The device cannot be opened as asked; everything else has been said before.
pub fn command(home: &Home, args: &DoctorArgs) -> Result<()> {
    device::check(&args.machine)?;
    let machine = Machine::detect();
    let gpus = gpu::report();
    let device = device::open(&args.machine);
    let opened = device.as_ref().ok();
    let writable = check_writable(&home.runs, 0);
    let free = free_bytes(&home.runs).ok();
    if args.json {
        output::print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "available_memory_bytes": available_memory(),
            "device": opened.map(Device::name),
            "kernel": ferrochat_tensor::detected_kernel(),
            "amx": ferrochat_tensor::amx().to_string(),
            "compute_dtype": opened.map(|device| device.compute_dtype().name()),
            "gpu": gpus,
            "runs": home.runs,
            "cache": home.cache,
            "runs_writable": writable.is_ok(),
            "free_bytes": free,
            "presets": presets::all().iter().map(|preset| preset.name).collect::<Vec<_>>(),
        }))?;
        return device.map(|_| ());
    }
    let memory = |n: Option<u64>| n.map_or("unknown".to_owned(), bytes);
    let mut rows = vec![
        ("ferrochat", env!("CARGO_PKG_VERSION").to_owned()),
        ("system", machine.system.clone()),
        ("processor", format!("{}, {} cores", machine.processor, machine.cores)),
        (
            "memory",
            format!(
                "{}, {} available",
                memory(machine.memory_bytes),
                memory(available_memory())
            ),
        ),
        ("kernel", ferrochat_tensor::detected_kernel().to_owned()),
        ("amx", ferrochat_tensor::amx().to_string()),
    ];
    if let Some(device) = opened {
        rows.push(("device", device.name()));
        rows.push(("arithmetic", device.compute_dtype().name().to_owned()));
    }
    rows.extend(gpus.cards.iter().map(|card| ("gpu", of_card(card))));
    if let Some(problem) = &gpus.problem {
        rows.push(("gpu", format!("none can be used: {problem}")));
    }
    if let Some(warning) = without_driver(&gpus) {
        rows.push(("warning", warning));
    }
    // A machine that has nothing to do with NVIDIA needs no list of NVIDIA's libraries.
    let concerned = gpus.on_the_bus > 0 || gpus.libraries.iter().any(|library| library.path.is_some());
    for library in gpus.libraries.iter().filter(|_| concerned) {
        // What is the first thing missing has just been said.
        if library.problem.is_none() || library.problem != gpus.problem {
            rows.push(("library", of_library(library)));
        }
        rows.extend(library.note.iter().map(|note| ("note", note.clone())));
    }
    rows.extend([
        ("runs", format!("{}, {} free", home.runs.display(), memory(free))),
        ("cache", home.cache.display().to_string()),
    ]);
    if let Err(error) = writable {
        rows.push(("warning", error.to_string()));
    }
    for preset in presets::all() {
        rows.push(("preset", format!("{:<14}{}", preset.name, preset.about)));
    }
    let mut text = String::new();
    for (name, value) in rows {
        push(&mut text, format_args!("{name:<12}{value}\n"));
    }
    output::print(&text)?;
    device.map(|_| ())
}

fn of_card(card: &CardReport) -> String {
    let mut text = format!(
        "{} {}, {}, compute capability {}",
        card.device,
        card.name,
        bytes(card.memory_bytes as u64),
        card.compute_capability
    );
    match (card.bf16_flops, card.bytes_per_second) {
        (Some(flops), Some(bandwidth)) => {
            let (flops, bandwidth) = (flop_rate(flops), bytes(bandwidth as u64));
            push(
                &mut text,
                format_args!(", by its data sheet {flops} in bf16 and {bandwidth}/s"),
            );
        }
        _ => text.push_str(", whose data sheet is not known here: no MFU"),
    }
    if card.kernels_compiled {
        text.push_str(", kernels compiled");
    }
    text
}

fn of_library(library: &LibraryReport) -> String {
    let version = library.version.as_deref().unwrap_or("of unknown version");
    match (&library.problem, &library.path) {
        (None, Some(path)) => format!("{} {version} in {}", library.name, path.display()),
        (Some(problem), _) => problem.clone(),
        (None, None) => format!("{} {version}", library.name),
    }
}

/// A card that the machine has and the driver does not show.
fn without_driver(gpus: &gpu::Report) -> Option<String> {
    let module = gpus.kernel_module.as_deref();
    (gpus.on_the_bus > 0 && gpus.cards.is_empty()).then(|| {
        let driver = module.map_or_else(
            || "no driver for it in the kernel".to_owned(),
            |version| format!("driver {version} in the kernel"),
        );
        format!("this machine has an NVIDIA card on its bus and {driver}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_it_is() {
        let mut card = CardReport {
            device: "cuda:0".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            memory_bytes: 85_520_809_984,
            compute_capability: "9.0".into(),
            bf16_flops: Some(989.4e12),
            f32_flops: Some(66.9e12),
            bytes_per_second: Some(3352e9),
            kernels_compiled: true,
            problem: None,
        };
        assert_eq!(
            of_card(&card),
            "cuda:0 NVIDIA H100 80GB HBM3, 85.5 GB, compute capability 9.0, by its data sheet 989.4 TFLOP/s in bf16 and 3.4 TB/s, kernels compiled"
        );
        card.bf16_flops = None;
        assert!(of_card(&card).contains("not known"));
    }

    #[test]
    fn a_card_without_a_driver_is_pointed_out() {
        let mut gpus = gpu::Report::default();
        assert_eq!(without_driver(&gpus), None);
        gpus.on_the_bus = 1;
        assert!(without_driver(&gpus).unwrap().contains("no driver"));
        gpus.kernel_module = Some("580.65.06".into());
        assert!(without_driver(&gpus).unwrap().contains("driver 580.65.06"));
    }
}
