//! Curves of a stage from its `metrics.jsonl`. Lines are read as they are: each stage writes fields of its own,
//! and what was not measured gives no picture.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::metrics;
use crate::plot::{self, Curve};

const COLOURS: [&str; 4] = ["#3b7ddd", "#d9534f", "#3a9d5d", "#b07cd8"];

/// A picture of the report.
pub struct Picture {
    /// Its file's name.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// The SVG.
    pub svg: String,
}

/// All lines of a stage that can be read; none if there is no file.
///
/// # Errors
/// The file cannot be read.
pub fn lines(folder: &Path) -> Result<Vec<Value>> {
    let path = folder.join(metrics::FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes
            .split(|&byte| byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The curves of a stage.
pub fn of_stage(stage: &str, lines: &[Value]) -> Vec<Picture> {
    // A step's own figures are noisy and smoothed, those on validation data are not.
    let pairs = [
        ("reward", "mean reward"),
        ("loss", "loss, nats per token"),
        ("accuracy", "share of pairs won"),
        ("margin", "margin between chosen and rejected, nats"),
    ];
    let mut pictures = Vec::new();
    for (field, title) in pairs {
        let training = smooth(&series(lines, &format!("/{field}")));
        let validation = series(lines, &format!("/val_{field}"));
        let mut both = vec![("training", training), ("validation", validation)];
        if field == "accuracy" {
            both.push(("likelier", series(lines, "/val_wins")));
        }
        pictures.extend(picture(stage, field, title, &both));
    }
    pictures.extend(pass_at_k(stage, lines));
    let alone = [
        ("val_bpb", "bits per byte", "validation"),
        ("reply_tokens", "tokens of a reply", "training"),
        ("lr_multiplier", "learning rate, as a part of its highest", "schedule"),
        ("tokens_per_second", "tokens per second", "training"),
    ];
    for (field, title, label) in alone {
        let points = series(lines, &format!("/{field}"));
        pictures.extend(picture(stage, field, title, &[(label, points)]));
    }
    pictures
}

/// pass@k over the steps.
fn pass_at_k(stage: &str, lines: &[Value]) -> Option<Picture> {
    let name = ["val_pass_at_k", "pass_at_k"]
        .into_iter()
        .find(|name| lines.iter().any(|line| line[name].is_array()))?;
    let values = |k: usize| {
        let plain = series(lines, &format!("/{name}/{}", k - 1));
        if plain.is_empty() {
            series(lines, &format!("/{name}/{}/value", k - 1))
        } else {
            plain
        }
    };
    let series = [
        ("pass@1", values(1)),
        ("pass@2", values(2)),
        ("pass@4", values(4)),
        ("pass@8", values(8)),
    ];
    picture(stage, "pass_at_k", "right within k answers", &series)
}

fn picture(stage: &str, name: &str, title: &str, series: &[(&str, Vec<(f64, f64)>)]) -> Option<Picture> {
    let title = format!("{}: {title}", stage.to_uppercase());
    // A colour means the same in every picture.
    let curves: Vec<Curve> = series
        .iter()
        .zip(COLOURS)
        .filter(|((_, points), _)| !points.is_empty())
        .map(|((label, points), colour)| Curve { label, colour, points })
        .collect();
    let svg = plot::svg(&title, "steps", &curves)?;
    Some(Picture {
        file: format!("{stage}_{name}.svg"),
        title,
        svg,
    })
}

/// (step, value) of a field, by ascending step; the last line of a step counts.
fn series(lines: &[Value], pointer: &str) -> Vec<(f64, f64)> {
    let mut points = BTreeMap::new();
    for line in lines {
        if let (Some(step), Some(value)) = (line["step"].as_u64(), line.pointer(pointer).and_then(Value::as_f64)) {
            points.insert(step, value);
        }
    }
    points.into_iter().map(|(step, value)| (step as f64, value)).collect()
}

/// A running mean over about a hundredth of the curve.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 100.0).max(1.0);
    let mut level = points.first().map_or(0.0, |point| point.1);
    points
        .iter()
        .map(|&(x, y)| {
            level = keep * level + (1.0 - keep) * y;
            (x, level)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stage_shows_what_it_measured_and_no_more() {
        let line = |step: u32| json!({"step": step, "reward": 0.1 * f64::from(step), "pass_at_k": [0.1, {"value": 0.2}], "odd": "x"});
        let lines: Vec<Value> = (0..5).map(line).collect();
        let files: Vec<String> = of_stage("rl", &lines).into_iter().map(|picture| picture.file).collect();
        assert_eq!(files, ["rl_reward.svg", "rl_pass_at_k.svg"]);
        assert!(of_stage("base", &[]).is_empty());
    }

    #[test]
    fn cut_and_doubled_lines_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"step\":1,\"loss\":2.0}\n{\"step\":1,\"loss\":3.0}\n{\"step\":0,\"loss\":1.0}\n{\"st";
        std::fs::write(folder.path().join(metrics::FILE), text).unwrap();
        let lines = lines(folder.path()).unwrap();
        assert_eq!(series(&lines, "/loss"), [(0.0, 1.0), (1.0, 3.0)]);
    }
}
