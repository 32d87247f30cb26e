//! Reading fixtures: safetensors whose header says what was computed how.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::arch::{Arch, Dials};
use crate::config::GptConfig;

/// A safetensors fixture. What is wrong with one is a fault of whoever made it: reading panics.
pub struct Fixture<'a> {
    bytes: &'a [u8],
}

impl<'a> Fixture<'a> {
    /// A fixture's bytes.
    pub fn new(bytes: &'a [u8]) -> Fixture<'a> {
        Fixture { bytes }
    }

    fn tensors(&self) -> SafeTensors<'a> {
        SafeTensors::deserialize(self.bytes).expect("a fixture is a safetensors file")
    }

    /// The JSON under `key` in the header.
    pub fn header(&self, key: &str) -> Value {
        let (_, metadata) = SafeTensors::read_metadata(self.bytes).expect("a fixture has a header");
        let texts = metadata
            .metadata()
            .as_ref()
            .expect("a fixture's header says how it was made");
        serde_json::from_str(&texts[key]).expect("the header's entries are JSON")
    }

    /// Names of tensors that begin with `prefix`, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let tensors = self.tensors();
        let names = tensors.names().into_iter().filter_map(|name| name.strip_prefix(prefix));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Dimensions of a tensor.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        tensor.shape().to_vec()
    }

    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|_| panic!("no tensor {name}"));
        tensor.data().as_chunks::<4>().0.to_vec()
    }

    /// Elements of a tensor of `f32`.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_le_bytes).collect()
    }

    /// Elements of a tensor of `i32`.
    pub fn indices(&self, name: &str) -> Vec<i32> {
        self.words(name).into_iter().map(i32::from_le_bytes).collect()
    }

    /// Our configuration of the model that the header describes.
    pub fn config(&self) -> GptConfig {
        config(&self.header("config"))
    }
}

/// A number of a fixture's header.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number of a header")
}

/// Our configuration of a model that the reference describes.
///
/// # Panics
/// If the description lacks a size.
pub fn config(theirs: &Value) -> GptConfig {
    let size = |key: &str| number(&theirs[key]) as usize;
    let arch: Option<Arch> = theirs["arch"].as_str().and_then(|name| name.parse().ok());
    let dials = Dials {
        sequence_len: size("sequence_len"),
        vocab_size: size("vocab_size"),
        head_dim: size("n_embd") / size("n_head"),
        n_embd: Some(size("n_embd")),
        n_kv_head: Some(size("n_kv_head")),
        window_pattern: theirs["window_pattern"].as_str().map(str::to_owned),
        ..Dials::default()
    };
    GptConfig::from_depth(arch.expect("an architecture that we have"), size("n_layer"), &dials)
}
