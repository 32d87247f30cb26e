//! `bench train`: whole training steps, and where their time goes.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::ceilings::Ceilings;
use super::samples::Samples;
use super::shape::{self, TRAINING};
use super::timing::{byte_rate, time};
use super::tokens::Tokens;
use super::trainer::{PHASES, Step, Trainer};
use crate::cli::BenchTrainArgs;
use crate::errors::refuse;
use crate::format::{bytes, flop_rate, push, thousands};
use crate::{device, output};

/// Steps that are profiled beside the others where profiling would slow them down.
const PROFILED: usize = 3;

/// `bench train`
///
/// # Errors
/// A flag that cannot be, or stdout cannot be written to.
pub fn command(args: &BenchTrainArgs) -> Result<()> {
    if args.steps == 0 || args.device_batch_size == 0 {
        refuse!("--steps and --device-batch-size must be at least 1");
    }
    let (arch, dials, config) = shape::model(&args.model, TRAINING)?;
    let tokens = match &args.ids {
        Some(path) => Tokens::file(path, config.vocab_size, config.sequence_len + 1)?,
        None => Tokens::random(config.vocab_size, args.seed),
    };
    let device = device::open(&args.machine)?;
    let all = args.warmup + args.steps;
    let mut trainer = Trainer::new(&device, (arch, &dials, &config), args.device_batch_size, all, tokens)?;
    let mut ceilings = Ceilings::new(&device);
    let per_step = trainer.tokens_per_step() as f64;
    let flops_per_step = per_step * trainer.flops_per_token();

    let warmup: Vec<Step> = (0..args.warmup).map(|_| trainer.step(false)).collect();
    // On the CPU a profile costs nothing that could be measured.
    let in_place = !device::is_gpu(&device);
    if in_place {
        device.start_profile();
    }
    let mut steps = Vec::new();
    let mut percent = Samples::default();
    for number in 0..args.steps {
        let ceiling = ceilings.look_at_flops();
        let step = trainer.step(in_place);
        if let Some(ceiling) = ceiling {
            percent.push(100.0 * flops_per_step / step.seconds / ceiling);
        }
        if args.json {
            let line = json!({
                "bench": "train", "step": number, "loss": step.loss, "seconds": step.seconds,
                "tokens_per_second": per_step / step.seconds, "probe_flops_per_second": ceiling,
            });
            output::print(&format!("{line}\n"))?;
        }
        steps.push(step);
    }
    let profiled = if in_place {
        steps.clone()
    } else {
        device.start_profile();
        (0..PROFILED).map(|_| trainer.step(true)).collect()
    };
    let uses = device.take_profile();
    let peak = device::peak_memory(&device);
    // Its memory comes only now, or it would count as the model's.
    let reading: Samples = (0..3).filter_map(|_| ceilings.look_at_bytes()).collect();

    let seconds: Samples = steps.iter().map(|step| step.seconds).collect();
    let median = seconds.median().unwrap_or(f64::NAN);
    let total: f64 = profiled.iter().map(|step| step.seconds).sum();
    let share: Map<String, Value> = uses
        .iter()
        .map(|used| (used.name.to_owned(), json!(used.seconds / total)))
        .collect();
    let phase = |at: usize| profiled.iter().map(|step: &Step| step.phases[at]).sum::<f64>() / total;
    let phases: Map<String, Value> = PHASES
        .iter()
        .enumerate()
        .map(|(at, name)| ((*name).to_owned(), json!(phase(at))))
        .collect();
    if !args.json {
        let mut text = format!(
            "{}\n{}; {} rows, {} tokens per step\n\n",
            device.name(),
            shape::sentence(&config),
            args.device_batch_size,
            thousands(per_step as u64)
        );
        let mut row = |name: &str, figure: &str| push(&mut text, format_args!("{name:<18}{figure}\n"));
        let quartile = |share| time(seconds.quantile(share).unwrap_or(median));
        let spread = format!(
            "quartiles {}–{}, {} steps",
            quartile(0.25),
            quartile(0.75),
            seconds.len()
        );
        row("step", &format!("{} ({spread})", time(median)));
        row("tokens/s", &thousands((per_step / median) as u64));
        let reached = match (ceilings.flops.median(), percent.median()) {
            (Some(ceiling), Some(percent)) => format!(", {percent:.0}% of the multiply loop's {}", flop_rate(ceiling)),
            _ => String::new(),
        };
        row("FLOP/s", &format!("{}{reached}", flop_rate(flops_per_step / median)));
        if let Some(rate) = reading.median() {
            row("reading memory", &byte_rate(rate));
        }
        if let Some(peak) = peak {
            row("peak memory", &bytes(peak));
        }
        for (at, name) in PHASES.iter().enumerate() {
            row(name, &format!("{:.1}%", 100.0 * phase(at)));
        }
        text.push('\n');
        let rows: Vec<Vec<String>> = uses
            .iter()
            .map(|used| {
                let share = format!("{:.1}%", 100.0 * used.seconds / total);
                vec![used.name.to_owned(), share, time(used.seconds / profiled.len() as f64)]
            })
            .collect();
        text += &output::table(&["operation", "share", "per step"], &rows);
        if args.losses {
            let losses: Vec<String> = steps.iter().map(|step| format!("{:.4}", step.loss)).collect();
            push(&mut text, format_args!("\nlosses {}\n", losses.join(" ")));
        }
        return output::print(&text);
    }
    let mut line = Map::new();
    let figures = [
        shape::describe(arch, &config),
        json!({
            "bench": "train",
            "device": device.name(),
            "dtype": device.compute_dtype().name(),
            "device_batch_size": args.device_batch_size,
            "tokens_per_step": per_step,
            "parameters": trainer.parameters(),
            "flops_per_token": trainer.flops_per_token(),
            "flops_counted": "6 per parameter of a matrix, and per layer 12 · heads · head size · min(window, context)",
            "first_step_seconds": warmup.first().or(steps.first()).map(|step| step.seconds),
            "warmup": args.warmup,
            "steps": args.steps,
            "step_seconds": seconds.json(),
            "tokens_per_second": per_step / median,
            "tokens_per_second_range": seconds.range().map(|[least, most]| [per_step / most, per_step / least]),
            "flops_per_second": flops_per_step / median,
            "probe_flops_per_second": ceilings.flops.median(),
            "probe_flops_per_second_range": ceilings.flops.range(),
            "percent_of_probe": percent.median(),
            "read_bytes_per_second": reading.median(),
            "peak_rss_bytes": peak,
            "phases": phases,
            "share": share,
        }),
    ];
    for part in figures {
        if let Value::Object(part) = part {
            line.extend(part);
        }
    }
    if args.losses {
        let losses = |steps: &[Step]| steps.iter().map(|step| step.loss).collect::<Vec<f64>>();
        line.insert("warmup_losses".to_owned(), json!(losses(&warmup)));
        line.insert("losses".to_owned(), json!(losses(&steps)));
    }
    output::print(&format!("{}\n", Value::Object(line)))
}
