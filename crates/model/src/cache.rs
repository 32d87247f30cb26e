//! The KV cache: what decoding keeps of the positions it has seen.
//!
//! Knows shapes of keys and values; what is in them is `gpt.rs`'s business.

use ferrochat_tensor::{DType, Device, Graph, RotaryTable, Tensor};

use crate::config::GptConfig;

/// Keys and values of every layer, `[batch, capacity, kv_heads, head_dim]` each, in the compute type.
///
/// All rows advance together; each row's position is kept on the device for the kernels.
/// The capacity may exceed the model's context length: the attention windows slide.
pub struct KvCache {
    layers: Vec<[Tensor; 2]>,
    batch: usize,
    capacity: usize,
    position: usize,
    /// First position of the next columns per row, `I32` `[batch]`.
    starts: Tensor,
    /// The last column's embedding from before the smear, `[batch, 1, channels]`.
    previous: Option<Tensor>,
    rotary: RotaryTable,
    starts_on_host: Vec<i32>,
}

/// What one layer's attention sees of the cache.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    pub(crate) keys: &'a Tensor,
    pub(crate) values: &'a Tensor,
    pub(crate) starts: &'a Tensor,
    pub(crate) rotary: &'a RotaryTable,
}

impl KvCache {
    /// An empty cache for `batch` sequences of up to `capacity` tokens.
    pub fn new(device: &Device, config: &GptConfig, batch: usize, capacity: usize) -> KvCache {
        let shape = [batch, capacity, config.n_kv_head, config.head_dim()];
        let zeros = || {
            let tensor = device.activation(shape);
            tensor.fill(0.0);
            tensor
        };
        let starts = device.empty([batch], DType::I32);
        let starts_on_host = vec![0; batch];
        starts.upload_i32(&starts_on_host);
        KvCache {
            layers: (0..config.n_layer).map(|_| [zeros(), zeros()]).collect(),
            batch,
            capacity,
            position: 0,
            starts,
            previous: None,
            rotary: RotaryTable::new(device, capacity, config.head_dim(), config.rotary_base),
            starts_on_host,
        }
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens a sequence can have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens every sequence has.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Forgets everything; the memory stays.
    pub fn clear(&mut self) {
        self.position = 0;
        self.previous = None;
        self.starts_on_host.fill(0);
        self.starts.upload_i32(&self.starts_on_host);
    }

    /// A cache of `batch` sequences that all begin with the one sequence of this cache: the prompt is
    /// processed once and continued many times.
    ///
    /// # Panics
    /// If this cache has more than one sequence or does not fit into `capacity`.
    #[must_use]
    pub fn replicate(&self, config: &GptConfig, batch: usize, capacity: usize) -> KvCache {
        assert_eq!(self.batch, 1, "only a single sequence is replicated");
        assert!(self.position <= capacity, "the replicas have room for the original");
        let device = self.starts.device();
        let mut copy = KvCache::new(device, config, batch, capacity);
        let channels = config.kv_dim();
        for (from, to) in self.layers.iter().flatten().zip(copy.layers.iter().flatten()) {
            let column = repeat(&from.download()[..self.position * channels], batch);
            let column = device.tensor(&column, [batch, self.position, config.n_kv_head, config.head_dim()]);
            Graph::inference(device).cache_write(to, &column, &copy.starts);
        }
        if let Some(previous) = &self.previous {
            let repeated = repeat(&previous.download(), batch);
            copy.previous = Some(device.tensor(&repeated, [batch, 1, previous.shape().last()]));
        }
        copy.move_to(self.position);
        copy
    }

    /// Checks that `ids` `[batch, time]` fit.
    pub(crate) fn begin(&self, ids: &Tensor) {
        let (batch, time) = (ids.shape().dims()[0], ids.shape().last());
        assert_eq!(batch, self.batch, "a KV cache of as many rows as there are sequences");
        assert!(self.position + time <= self.capacity, "the KV cache is full");
    }

    pub(crate) fn layer(&self, layer: usize) -> Past<'_> {
        let [keys, values] = &self.layers[layer];
        Past {
            keys,
            values,
            starts: &self.starts,
            rotary: &self.rotary,
        }
    }

    pub(crate) fn previous(&self) -> Option<&Tensor> {
        self.previous.as_ref()
    }

    /// Keeps the last column of `x` `[batch, time, channels]` for the next smear.
    pub(crate) fn remember(&mut self, g: &Graph, x: &Tensor) {
        let last = x.shape().dims()[1] - 1;
        self.previous = Some(last_position(g, x, last));
    }

    pub(crate) fn advance(&mut self, ids: &Tensor) {
        self.move_to(self.position + ids.shape().last());
    }

    fn move_to(&mut self, position: usize) {
        self.position = position;
        self.starts_on_host.fill(position as i32);
        self.starts.upload_i32(&self.starts_on_host);
    }
}

/// Column `index` of `x` `[batch, time, channels]`, as `[batch, 1, channels]`.
pub(crate) fn last_position(g: &Graph, x: &Tensor, index: usize) -> Tensor {
    let batch = x.shape().dims()[0];
    let index = g.device().indices(&vec![index as i32; batch], [batch]);
    g.select_positions(x, &index)
}

fn repeat(values: &[f32], times: usize) -> Vec<f32> {
    values.repeat(times)
}
