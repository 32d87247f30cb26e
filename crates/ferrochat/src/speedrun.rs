//! `speedrun`: everything, end to end: tokenizer → base → sample → report. Each stage keeps its own
//! record, so that the same line goes on wherever the last one ended.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::cli::{MachineArgs, ModelArgs, SpeedrunArgs};
use crate::home::{Home, RunFolder};
use crate::interrupt::Interrupt;
use crate::prepare::{self, prepare};
use crate::record::{self, StageRecord, State};
use crate::stages::base;
use crate::{format, model, output, report, sample};

/// Texts that the finished model writes.
const SAMPLES: usize = 3;

/// `speedrun`
///
/// # Errors
/// Anything refused, a failure, or an interrupt.
pub fn command(home: &Home, args: &SpeedrunArgs) -> Result<()> {
    let mut flags = args.flags.clone();
    let known = |name: &String| {
        home.run(name)
            .is_ok_and(|run| run.stage("base").join("stage.json").exists())
    };
    if flags.preset.is_none() && (args.run.fresh || !args.run.run.as_ref().is_some_and(known)) {
        flags.preset = Some(prepare::DEFAULT_PRESET.to_owned());
    }
    let mut prepared = prepare(home, &flags, &args.run, args.threads, &args.plan)?;
    if args.plan.dry_run {
        return prepared.print_plan(&args.plan);
    }
    let run = prepared.run.clone();
    let finished = prepare::is_finished(prepared.base.as_ref());
    let price = args.plan.price_per_hour;
    let interrupt = Interrupt::listen()?;
    let _lock = record::lock(&run)?;

    eprintln!(
        "speedrun {:?}: tokenizer, base, sample, report; everything goes to {}",
        run.name,
        run.root.display()
    );
    if finished {
        eprintln!("tokenizer, base: finished before, skipped (--fresh begins again)");
    } else {
        prepared.predict_time(&args.plan)?;
        if let Some(time) = &prepared.plan.time {
            eprintln!(
                "this takes about {} in all at {} {}",
                format::duration(time.minutes * 60.0),
                format::flop_rate(time.flops_per_second),
                time.source
            );
        }
        if prepared.tokenizer.is_some() && !prepared.fresh {
            eprintln!("tokenizer: trained before, skipped");
        }
        // The stage's own line would go on with the stage alone.
        let go_on = format::shell_line(["ferrochat", "speedrun", "--run", &run.name]);
        base::train(prepared, &interrupt, &go_on)?;
    }

    write_samples(home, &run, args.threads)?;
    let path = report::write(home, &run.name, price)?;
    let copied = match report::copy(home, &run.name, Path::new(".")) {
        Ok(copy) => format!(", copied to {}", copy.display()),
        Err(error) => format!("; it could not be copied here: {error:#}"),
    };
    eprintln!("report: {}{copied}", path.display());
    Ok(())
}

/// Lets the model write and keeps what it wrote in the record, for the report.
fn write_samples(home: &Home, run: &RunFolder, threads: Option<usize>) -> Result<()> {
    let args = ModelArgs {
        run: run.name.clone(),
        step: None,
        machine: MachineArgs { threads, dtype: None },
    };
    let trained = model::load(home, &args)?;
    let options = sample::usual(SAMPLES, 120);
    let texts = sample::texts(&trained.gpt, &trained.tokenizer, trained.start, "", &options)?;
    for text in &texts {
        output::print(&format!("{}\n---\n", text.trim()))?;
    }
    let folder = run.stage("base");
    if let Some(mut record) = StageRecord::load(&folder)? {
        if let Some(details) = record.details.as_object_mut() {
            details.insert("samples".into(), json!(texts));
        }
        record.save(&folder, State::Finished)?;
    }
    Ok(())
}
