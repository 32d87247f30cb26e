//! Compares two sets of fixtures and verifies their checksums. Knows the files' format, not their meaning.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Allowed ‖a − b‖ / ‖a‖ of a tensor. Other instruction sets were measured at up to 2e-6 (in a gradient that is itself
/// a difference of large numbers); the tests that use the fixtures allow 1e-4.
const TENSOR_LIMIT: f64 = 1e-5;
/// Allowed difference of a number in JSON, relative and absolute.
const NUMBER_LIMIT: f64 = 1e-5;
const NUMBER_FLOOR: f64 = 1e-6;
/// What may differ between two machines that agree on the numbers.
const PROVENANCE: [&str; 4] = ["numpy_version", "sha256", "torch_version", "transformers_version"];

/// One tensor as it lies in the file.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn floats(&self) -> impl Iterator<Item = f64> {
        self.bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| f64::from(f32::from_le_bytes(*word)))
    }

    /// ‖self − other‖ / ‖self‖; infinite where one of them is not finite.
    fn distance(&self, other: &Tensor) -> f64 {
        let apart: f64 = self.floats().zip(other.floats()).map(|(a, b)| (a - b).powi(2)).sum();
        let size: f64 = self.floats().map(|a| a * a).sum();
        if apart == 0.0 {
            return 0.0;
        }
        let ratio = (apart / size).sqrt();
        if ratio.is_finite() { ratio } else { f64::INFINITY }
    }
}

/// A safetensors file of the fixtures.
struct Fixture {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
}

impl Fixture {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let damaged = || format!("{} is not a safetensors file", path.display());
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(&bytes).with_context(damaged)?;
        let tensors = file.iter().map(|(name, view)| {
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), Tensor { dtype, shape, bytes })
        });
        Ok(Self {
            metadata,
            tensors: tensors.collect(),
        })
    }

    /// The checksum of the contents, as `fixture.py` computes it.
    fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for (name, tensor) in &self.tensors {
            let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
            digest.update(format!("{name}\n{:?}\n{}\n", tensor.dtype, shape.join(",")));
            digest.update(&tensor.bytes);
        }
        format!("{:x}", digest.finalize())
    }

    fn verify(&self, path: &Path) -> Result<()> {
        ensure!(
            self.metadata.get("sha256") == Some(&self.sha256()),
            "{} does not match the checksum in its header",
            path.display()
        );
        Ok(())
    }
}

/// Compare the files `names` of two folders and print the largest difference of each.
///
/// # Errors
/// When a committed file is missing or damaged, or differs from the one remade.
pub fn folders(committed: &Path, remade: &Path, names: &[&str]) -> Result<()> {
    let mut differing = Vec::new();
    for name in names {
        let (ours, theirs) = (committed.join(name), remade.join(name));
        let outcome = if is_json(name) {
            json_files(&ours, &theirs)
        } else {
            tensor_files(&ours, &theirs)
        };
        match outcome {
            Ok(worst) => println!("{name}: same (largest difference {worst:.1e})"),
            Err(error) => {
                println!("{name}: {error:#}");
                differing.push(*name);
            }
        }
    }
    if !differing.is_empty() {
        bail!(
            "the committed fixtures differ from those remade: {}",
            differing.join(", ")
        );
    }
    Ok(())
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

fn tensor_files(ours: &Path, theirs: &Path) -> Result<f64> {
    let (a, b) = (Fixture::read(ours)?, Fixture::read(theirs)?);
    a.verify(ours)?;
    for (key, value) in &a.metadata {
        if PROVENANCE.contains(&key.as_str()) {
            continue;
        }
        let other = b.metadata.get(key).with_context(|| format!("header {key} is gone"))?;
        match (serde_json::from_str(value), serde_json::from_str(other)) {
            (Ok(x), Ok(y)) => drop(json(key, &x, &y)?),
            _ => ensure!(value == other, "header {key} was {value}, is {other}"),
        }
    }
    ensure!(a.tensors.keys().eq(b.tensors.keys()), "the names of the tensors differ");
    let mut worst = 0.0_f64;
    for (name, x) in &a.tensors {
        let y = &b.tensors[name];
        ensure!(
            x.dtype == y.dtype && x.shape == y.shape,
            "{name} has another shape or type"
        );
        if x.dtype == Dtype::F32 {
            let distance = x.distance(y);
            ensure!(
                distance <= TENSOR_LIMIT,
                "{name} differs by {distance:.1e} (allowed {TENSOR_LIMIT:.0e})"
            );
            worst = worst.max(distance);
        } else {
            ensure!(x.bytes == y.bytes, "{name} differs");
        }
    }
    Ok(worst)
}

fn json_files(ours: &Path, theirs: &Path) -> Result<f64> {
    let read = |path: &Path| -> Result<Value> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
    };
    json("", &read(ours)?, &read(theirs)?)
}

/// The largest difference between two JSON values, which must have the same form.
fn json(at: &str, a: &Value, b: &Value) -> Result<f64> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            ensure!(x.keys().eq(y.keys()), "{at} has other keys");
            let mut worst = 0.0_f64;
            for (key, value) in x.iter().filter(|(key, _)| !PROVENANCE.contains(&key.as_str())) {
                worst = worst.max(json(&format!("{at}/{key}"), value, &y[key])?);
            }
            Ok(worst)
        }
        (Value::Array(x), Value::Array(y)) => {
            ensure!(x.len() == y.len(), "{at} has another length");
            let mut worst = 0.0_f64;
            for (i, (u, v)) in x.iter().zip(y).enumerate() {
                worst = worst.max(json(&format!("{at}/{i}"), u, v)?);
            }
            Ok(worst)
        }
        // Counts must agree exactly; only fractions may carry rounding.
        (Value::Number(x), Value::Number(y)) if x.is_f64() && y.is_f64() => {
            let (x, y) = (x.as_f64().unwrap_or(f64::NAN), y.as_f64().unwrap_or(f64::NAN));
            let apart = (x - y).abs();
            ensure!(
                apart <= NUMBER_FLOOR + NUMBER_LIMIT * x.abs().max(y.abs()),
                "{at} was {x}, is {y}"
            );
            Ok(apart)
        }
        _ => {
            ensure!(a == b, "{at} was {a}, is {b}");
            Ok(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::{FIXTURES, fixtures_folder};
    use safetensors::tensor::{TensorView, serialize_to_file};

    fn write(path: &Path, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = || TensorView::new(Dtype::F32, vec![values.len()], &bytes).unwrap();
        serialize_to_file([("x", view())], None, path).unwrap();
        let sha256 = Fixture::read(path).unwrap().sha256();
        let metadata = [("sha256".to_owned(), sha256)].into();
        serialize_to_file([("x", view())], Some(metadata), path).unwrap();
    }

    /// The outcome of comparing two one-tensor files.
    fn compare(a: &[f32], b: &[f32]) -> Result<f64> {
        let dir = tempfile::tempdir().unwrap();
        let (x, y) = (dir.path().join("a"), dir.path().join("b"));
        write(&x, a);
        write(&y, b);
        tensor_files(&x, &y)
    }

    #[test]
    fn rounding_passes_and_a_change_does_not() {
        assert!(compare(&[1.0, 2.0], &[1.0, 2.000_001]).unwrap() > 0.0);
        assert!(compare(&[1.0, 2.0], &[1.0, 2.001]).is_err());
        assert!(compare(&[1.0, 2.0], &[1.0, f32::NAN]).is_err());
        assert!(compare(&[0.0, 0.0], &[0.0, 1e-9]).is_err());
        assert!(compare(&[1.0, 2.0], &[1.0, 2.0, 3.0]).is_err());
    }

    #[test]
    fn json_counts_are_exact_and_fractions_are_not() {
        let compare =
            |a: &str, b: &str| json("", &serde_json::from_str(a).unwrap(), &serde_json::from_str(b).unwrap()).is_ok();
        assert!(compare(r#"{"n":3,"x":0.5}"#, r#"{"n":3,"x":0.500001}"#));
        assert!(!compare(r#"{"x":0.5}"#, r#"{"x":0.501}"#));
        assert!(!compare(r#"{"n":100000000}"#, r#"{"n":100000001}"#));
        assert!(!compare(r#"{"a":[1,2]}"#, r#"{"a":[1]}"#));
        assert!(compare(r#"{"torch_version":"1"}"#, r#"{"torch_version":"2"}"#));
    }

    #[test]
    fn committed_fixtures_are_whole_small_and_say_something() {
        let mut size = 0;
        for name in FIXTURES {
            let path = fixtures_folder().join(name);
            size += fs::metadata(&path).unwrap().len();
            if is_json(name) {
                json_files(&path, &path).unwrap();
                continue;
            }
            let fixture = Fixture::read(&path).unwrap();
            fixture.verify(&path).unwrap();
            for (tensor, values) in &fixture.tensors {
                assert!(matches!(values.dtype, Dtype::F32 | Dtype::I32), "{name}: {tensor}");
                if tensor.starts_with("grad.") {
                    let norm = values.floats().map(|x| x * x).sum::<f64>().sqrt();
                    assert!(norm > 1e-6, "{name}: {tensor} has a gradient of norm {norm}");
                    assert!(fixture.tensors.contains_key(&tensor.replacen("grad", "param", 1)));
                }
                if tensor.starts_with("param.") {
                    assert!(values.floats().all(|x| x != 0.0), "{name}: {tensor} has a zero");
                }
            }
        }
        assert!(size < 4 << 20, "{size} bytes of fixtures");
    }
}
