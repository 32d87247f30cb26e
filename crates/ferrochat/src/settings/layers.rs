//! How defaults, a preset, an earlier start and the command line become one value: layers of fields by name, whatever the
//! fields are. Settings of every stage are made this way.

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::errors::refuse;

/// JSON has no NaN and no infinities, and no setting means anything with one.
pub fn finite(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("it must be a finite number".to_owned()),
    }
}

/// Settings made of layers by field name; later layers go over earlier ones. The first has every field.
pub fn layered<T: DeserializeOwned>(layers: &[Map<String, Value>]) -> T {
    let mut all = Map::new();
    for layer in layers {
        all.extend(layer.clone());
    }
    serde_json::from_value(Value::Object(all)).expect("flags have settings' types")
}

/// The settings of work that goes on: those it was `saved` with, unless one of the `free` flags says otherwise.
///
/// # Errors
/// Another flag that differs from what the work was started with.
pub fn gone_on<T: Serialize + DeserializeOwned>(
    saved: &T,
    flags: &impl Serialize,
    free: &[&str],
    run: &str,
) -> Result<T> {
    let mut layers = object(saved);
    for (name, value) in object(flags) {
        if free.contains(&name.as_str()) {
            layers.insert(name, value);
        } else if layers.get(&name) != Some(&value) {
            let flag = name.replace('_', "-");
            let before = match layers.get(&name) {
                None | Some(Value::Null) => format!("without --{flag}"),
                Some(before) => format!("with --{flag} {}", plain(before)),
            };
            refuse!(
                "the run {run:?} was started {before}, not {}: leave the flag out to go on with it, or give another --run, or --fresh to begin again",
                plain(&value)
            );
        }
    }
    Ok(layered(&[layers]))
}

/// A struct of plain values as its fields.
pub fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("settings are structs of plain values"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
