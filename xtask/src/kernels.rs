//! `cargo xtask kernels`: compiles all kernels of the GPU backend with NVRTC, on a machine that needs no GPU, and shows what
//! they take. Knows kernels by name only.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use ferrochat_tensor::DType;
use ferrochat_tensor::cuda::{ARCHITECTURES, Compiled, ELEMENTS, SOURCES, Source, compile};
use serde::Serialize;

use crate::resources::{Resources, of_compilation, of_log};
use crate::{Usage, nvrtc};

/// Compile the GPU's kernels and show registers, shared memory and spills
#[derive(clap::Args)]
pub struct Args {
    /// Architectures, separated by commas
    #[arg(long, value_name = "SM", value_delimiter = ',', default_values = ARCHITECTURES)]
    arch: Vec<String>,
    /// One JSON line per kernel in place of the table
    #[arg(long)]
    json: bool,
    /// Fail if a thread of a kernel spills more bytes of registers than this, stores and loads each
    #[arg(long, value_name = "BYTES")]
    most_spills: Option<u32>,
}

/// One file of kernels, compiled once.
pub struct Job {
    /// The file.
    pub source: &'static Source,
    /// What `T` is.
    pub element: DType,
    /// For whom.
    pub architecture: String,
}

/// A kernel as one architecture has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    file: &'static str,
    kernel: String,
    element: &'static str,
    architecture: String,
    #[serde(flatten)]
    resources: Resources,
}

impl Row {
    /// Whether it spills more than `most` bytes.
    fn spills(&self, most: u32) -> bool {
        self.resources.spill_store_bytes.max(self.resources.spill_load_bytes) > most
    }
}

/// Runs the command.
///
/// # Errors
/// No compiler, a file that does not compile, or with `--most-spills` a kernel that spills more.
pub fn run(args: &Args) -> Result<()> {
    check_architectures(&args.arch)?;
    let version = nvrtc::ready(nvrtc::Wanted::Any)?;
    let mut rows = Vec::new();
    let mut warnings = BTreeMap::<String, Vec<String>>::new();
    let mut failures = BTreeMap::<String, Vec<String>>::new();
    let compiled = compile_all(&args.arch, true);
    let count = compiled.len();
    for (job, result) in compiled {
        match result.and_then(|compiled| measure(&job, &compiled)) {
            Ok((of_job, said)) => {
                rows.extend(of_job);
                if !said.is_empty() {
                    warnings.entry(said).or_default().push(job.to_string());
                }
            }
            Err(error) => failures.entry(format!("{error:#}")).or_default().push(job.to_string()),
        }
    }
    rows.sort_by(|a, b| (a.file, &a.kernel, a.element).cmp(&(b.file, &b.kernel, b.element)));
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row).context("a row")?);
        }
    } else {
        print!("{}", table(&rows, &args.arch));
    }
    for (text, jobs) in warnings.iter().chain(&failures) {
        eprintln!("\n{}{}:\n{text}", jobs[0], and_others(jobs.len()));
    }
    let failed: usize = failures.values().map(Vec::len).sum();
    if failed > 0 {
        bail!("{failed} of {count} compilations failed");
    }
    let spilling = |most: u32| -> Vec<String> {
        let spilling = rows.iter().filter(|row| row.spills(most));
        spilling.map(ToString::to_string).collect()
    };
    if let Some(most) = args.most_spills {
        let wrong = spilling(most);
        if !wrong.is_empty() {
            bail!(
                "more than {most} bytes of registers are spilled by {}",
                wrong.join(", ")
            );
        }
    }
    eprintln!(
        "{count} compilations by NVRTC {version}: {} kernels, {} spill",
        rows.len(),
        spilling(0).len()
    );
    Ok(())
}

fn and_others(compilations: usize) -> String {
    match compilations {
        1 => String::new(),
        more => format!(" and {} other compilations", more - 1),
    }
}

impl std::fmt::Display for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.cu, {}, {}",
            self.source.name,
            self.element.name(),
            self.architecture
        )
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Row {
            file,
            kernel,
            element,
            architecture,
            ..
        } = self;
        write!(f, "{file}/{kernel} ({element}, {architecture})")
    }
}

/// Refuses what no compiler can know.
///
/// # Errors
/// [`Usage`].
pub fn check_architectures(names: &[String]) -> Result<()> {
    for name in names {
        let number = name.strip_prefix("sm_").unwrap_or_default();
        let digits = number.trim_end_matches(['a', 'f']);
        if digits.len() < 2 || number.len() > digits.len() + 1 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            bail!(Usage(format!(
                "--arch {name} is no architecture; they are called sm_80 or sm_90a"
            )));
        }
    }
    Ok(())
}

/// Compiles everything, on all cores.
pub fn compile_all(architectures: &[String], verbose: bool) -> Vec<(Job, Result<Compiled>)> {
    let jobs: Vec<Job> = architectures
        .iter()
        .flat_map(|architecture| ELEMENTS.map(|element| (architecture, element)))
        .flat_map(|(architecture, element)| {
            SOURCES.iter().map(move |source| Job {
                source,
                element,
                architecture: architecture.clone(),
            })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { break };
                    let compiled = compile(job.source, job.element, &job.architecture, verbose);
                    let mut results = results.lock().expect("nobody panics with the results in hand");
                    results.insert(index, compiled);
                }
            });
        }
    });
    let results = results.into_inner().expect("nobody panicked with the results in hand");
    let results = results
        .into_values()
        .map(|result| result.map_err(|error| anyhow!(error)));
    jobs.into_iter().zip(results).collect()
}

fn measure(job: &Job, compiled: &Compiled) -> Result<(Vec<Row>, String)> {
    let log = of_log(&compiled.log);
    let kernels = of_compilation(&log, &compiled.code)?;
    let rows = kernels.into_iter().map(|(kernel, resources)| Row {
        file: job.source.name,
        kernel,
        element: job.element.name(),
        architecture: job.architecture.clone(),
        resources,
    });
    Ok((rows.collect(), log.warnings))
}

/// A line for each kernel and element type, with the figures of the architectures side by side.
fn table(rows: &[Row], architectures: &[String]) -> String {
    let mut lines = BTreeMap::<(&str, &str, &str), BTreeMap<&str, &Resources>>::new();
    for row in rows {
        let line = lines.entry((row.file, &row.kernel, row.element)).or_default();
        line.insert(&row.architecture, &row.resources);
    }
    let names = lines.keys().map(|(file, kernel, _)| file.len() + 1 + kernel.len());
    let width = names.max().unwrap_or_default();
    let mut text = format!("{:width$}         ", "");
    for architecture in architectures {
        let _ = write!(text, " | {architecture:<34}");
    }
    let _ = write!(text, "\n{:width$}         ", "kernel");
    for _ in architectures {
        let _ = write!(
            text,
            " | {:>4} {:>6} {:>6} {:>9} {:>5}",
            "regs", "shared", "stack", "spills", "code"
        );
    }
    text.push('\n');
    for ((file, kernel, element), by_architecture) in lines {
        let name = format!("{file}/{kernel}");
        let _ = write!(text, "{name:width$} {element:<8}");
        for architecture in architectures {
            let _ = match by_architecture.get(architecture.as_str()) {
                Some(figures) => write!(
                    text,
                    " | {:>4} {:>6} {:>6} {:>9} {:>5}",
                    figures.registers,
                    figures.shared_bytes,
                    figures.stack_bytes,
                    format!("{}+{}", figures.spill_store_bytes, figures.spill_load_bytes),
                    figures.code_bytes
                ),
                None => write!(text, " | {:34}", ""),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, architecture: &str, registers: u32) -> Row {
        Row {
            file: "norms",
            kernel: kernel.to_owned(),
            element: "bf16",
            architecture: architecture.to_owned(),
            resources: Resources {
                registers,
                code_bytes: 1024,
                ..Resources::default()
            },
        }
    }

    #[test]
    fn architectures_stand_side_by_side() {
        let rows = [
            row("rms_norm", "sm_80", 31),
            row("rms_norm", "sm_100", 37),
            row("other", "sm_80", 41),
        ];
        let text = table(&rows, &["sm_80".to_owned(), "sm_100".to_owned()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[2].starts_with("norms/other") && lines[2].contains(" 41 "),
            "{text}"
        );
        assert!(
            lines[3].find(" 31 ").unwrap() < lines[3].find(" 37 ").unwrap(),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    }

    #[test]
    fn architectures_have_names_of_one_form() {
        let check = |name: &str| check_architectures(&[name.to_owned()]);
        for name in ["sm_80", "sm_90a", "sm_100", "sm_120f"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "80", "sm_", "sm_8", "sm_90aa", "sm_90b", "compute_80", "sm_80 "] {
            assert!(check(name).unwrap_err().is::<Usage>(), "{name}");
        }
    }

    #[test]
    fn what_spills_is_known() {
        let mut spilling = row("x", "sm_80", 255);
        assert!(!spilling.spills(0));
        spilling.resources.spill_load_bytes = 4;
        assert!(spilling.spills(0) && !spilling.spills(u32::MAX));
        assert_eq!(spilling.to_string(), "norms/x (bf16, sm_80)");
    }
}
