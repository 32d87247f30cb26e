//! `doctor`: what this machine offers and where files go. Looks and changes nothing.

use anyhow::Result;
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::format::{bytes, push};
use crate::home::{Home, check_writable, free_bytes};
use crate::machine::{Machine, available_memory};
use crate::{device, output, presets};

/// `doctor`
///
/// # Errors
/// The device cannot be opened as asked.
pub fn command(home: &Home, args: &DoctorArgs) -> Result<()> {
    let machine = Machine::detect();
    let device = device::open(&args.machine)?;
    let writable = check_writable(&home.runs, 0);
    let free = free_bytes(&home.runs).ok();
    if args.json {
        return output::print_json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "available_memory_bytes": available_memory(),
            "device": device.name(),
            "kernel": ferrochat_tensor::detected_kernel(),
            "compute_dtype": device.compute_dtype().name(),
            "runs": home.runs,
            "cache": home.cache,
            "runs_writable": writable.is_ok(),
            "free_bytes": free,
            "presets": presets::all().iter().map(|preset| preset.name).collect::<Vec<_>>(),
        }));
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
        ("device", device.name()),
        ("kernel", ferrochat_tensor::detected_kernel().to_owned()),
        ("arithmetic", device.compute_dtype().name().to_owned()),
        ("runs", format!("{}, {} free", home.runs.display(), memory(free))),
        ("cache", home.cache.display().to_string()),
    ];
    if let Err(error) = writable {
        rows.push(("warning", error.to_string()));
    }
    for preset in presets::all() {
        rows.push(("preset", format!("{:<14}{}", preset.name, preset.about)));
    }
    let mut text = String::new();
    for (name, value) in rows {
        push(
            &mut text,
            format_args!(
                "{name:<12}{value}
"
            ),
        );
    }
    output::print(&text)
}
