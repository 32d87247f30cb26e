//! Reading fixtures and measuring distances.

use std::path::PathBuf;

use ferrochat_model::{Arch, Dials, GptConfig};
use safetensors::SafeTensors;
use serde_json::Value;

/// A safetensors fixture.
pub struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    pub fn read(name: &str) -> Fixture {
        Fixture { bytes: read(name) }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    /// The JSON under `key` in the header.
    pub fn header(&self, key: &str) -> Value {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).unwrap();
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()[key]).unwrap()
    }

    pub fn names(&self, prefix: &str) -> Vec<String> {
        let tensors = self.tensors();
        let names = tensors.names().into_iter().filter_map(|name| name.strip_prefix(prefix));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors().tensor(name).unwrap().shape().to_vec()
    }

    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        tensor.data().as_chunks::<4>().0.to_vec()
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_le_bytes).collect()
    }

    pub fn indices(&self, name: &str) -> Vec<i32> {
        self.words(name).into_iter().map(i32::from_le_bytes).collect()
    }

    /// Our configuration of the model that the header describes.
    pub fn config(&self) -> GptConfig {
        config(&self.header("config"))
    }
}

/// Our configuration of a model that the reference describes.
pub fn config(theirs: &Value) -> GptConfig {
    let size = |key: &str| theirs[key].as_u64().unwrap() as usize;
    let arch: Arch = theirs["arch"].as_str().unwrap().parse().unwrap();
    let dials = Dials {
        sequence_len: size("sequence_len"),
        vocab_size: size("vocab_size"),
        head_dim: size("n_embd") / size("n_head"),
        n_embd: Some(size("n_embd")),
        n_kv_head: Some(size("n_kv_head")),
        window_pattern: theirs["window_pattern"].as_str().map(str::to_owned),
        ..Dials::default()
    };
    GptConfig::from_depth(arch, size("n_layer"), &dials)
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&read(name)).unwrap()
}

fn read(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// ‖ours − reference‖/‖reference‖.
pub fn distance(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let size = norm(&mut reference.iter().map(|&x| f64::from(x)));
    assert!(size > 0.0, "a reference of zero norm proves nothing");
    let pairs = ours.iter().zip(reference);
    norm(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b))) / size
}

/// Fails if `ours` is further from the reference than `limit`.
pub fn check(what: &str, ours: &[f32], reference: &[f32], limit: f64) {
    let distance = distance(ours, reference);
    assert!(
        distance <= limit,
        "{what}: distance {distance:.2e}, allowed {limit:.0e}"
    );
}
