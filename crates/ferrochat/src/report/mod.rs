//! `report.md` and `report.html`: cost, minutes and score, the table of tasks by stage, the plan against what
//! happened, curves, answers and samples; for each figure the command that reproduces it. Speaks from the records
//! of a run alone, and tolerates what they lack.

mod bill;
mod card;
mod curves;
mod html;
mod markdown;
mod said;
pub mod scores;
mod stages;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cli::ReportArgs;
use crate::format::push;
use crate::home::{Home, RunFolder, write_atomically};
use crate::runs::Run;

/// First line of every report: a copy only replaces files that begin with it.
const MARK: &str = "<!-- ferrochat report -->";
/// Folder of the curves beside the report.
const FIGURES: &str = "report_files";

/// Writes both reports of a run into its folder and returns the path of `report.md`.
///
/// # Errors
/// No such run, or files that cannot be written.
pub fn write(home: &Home, name: &str, price_per_hour: Option<f64>) -> Result<PathBuf> {
    let run = Run::load(home, name)?;
    let mut text = format!("{MARK}\n\n");
    card::title(&mut text, &run);
    bill::line(&mut text, &run, price_per_hour);
    card::table(&mut text, &run);
    said::dialogues(&mut text, &run);
    card::machine(&mut text, &run);
    if let Some(tokenizer) = run.stage("tokenizer") {
        stages::tokenizer(&mut text, name, tokenizer);
    }
    let mut pictures = Vec::new();
    let mut base_lines: Vec<Value> = Vec::new();
    for record in card::chain(&run) {
        let lines = curves::lines(&run.folder.stage(&record.stage))?;
        stages::training(&mut text, name, record, &lines);
        for picture in curves::of_stage(&record.stage, &lines) {
            let address = format!("{FIGURES}/{}", picture.file);
            write_atomically(&run.folder.root.join(&address), picture.svg.as_bytes())?;
            push(&mut text, format_args!("![{}]({address})\n", picture.title));
            pictures.push((address, picture.svg));
        }
        text.push('\n');
        if record.stage == "base" {
            base_lines = lines;
        }
    }
    said::samples(&mut text, &run, &base_lines);
    let path = run.folder.report_file();
    write_atomically(&path, text.as_bytes())?;
    let page = html::page(&format!("Report of the run {name}"), &text, &pictures);
    write_atomically(&html_file(&run.folder), page.as_bytes())?;
    Ok(path)
}

/// `report.html`
fn html_file(run: &RunFolder) -> PathBuf {
    run.report_file().with_extension("html")
}

/// Copies a run's reports and their figures to a folder, and returns the path of `report.md` there. A file
/// there that is not ours stays; the copy then has the run's name in its own.
///
/// # Errors
/// Files that cannot be read or written.
pub fn copy(home: &Home, name: &str, folder: &Path) -> Result<PathBuf> {
    let run = home.run(name)?;
    if let Ok(figures) = std::fs::read_dir(run.root.join(FIGURES)) {
        for figure in figures.flatten().map(|entry| entry.path()) {
            let name = figure.file_name().expect("an entry of a folder has a name");
            write_atomically(&folder.join(FIGURES).join(name), &read(&figure)?)?;
        }
    }
    copy_file(&html_file(&run), folder, name)?;
    copy_file(&run.report_file(), folder, name)
}

fn copy_file(from: &Path, folder: &Path, run: &str) -> Result<PathBuf> {
    let contents = read(from)?;
    let kind = from.extension().expect("reports are .md and .html");
    let mut target = folder.join("report").with_extension(kind);
    let ours = |path: &Path| std::fs::read(path).is_ok_and(|old| old.starts_with(MARK.as_bytes()));
    if target.exists() && !ours(&target) {
        target = folder.join(format!("report-{run}")).with_added_extension(kind);
    }
    write_atomically(&target, &contents)?;
    Ok(target)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `report`
///
/// # Errors
/// No such run, or files that cannot be written.
pub fn command(home: &Home, args: &ReportArgs) -> Result<()> {
    let mut path = write(home, &args.run, args.price_per_hour)?;
    if let Some(folder) = &args.output {
        path = copy(home, &args.run, folder)?;
    }
    crate::output::print(&format!("{}\n", path.display()))
}

#[cfg(test)]
mod tests;
