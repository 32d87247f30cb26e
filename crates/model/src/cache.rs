//! The KV cache: what decoding keeps of the positions it has seen.
//!
//! Knows shapes of keys and values; what is in them is `gpt.rs`'s business.

use ferrochat_tensor::{DType, Device, Graph, RotaryTable, Tensor, TensorError};

use crate::config::GptConfig;

/// Positions of the smallest cache; more come in powers of two. Most conversations end before the first growth, and
/// what no token has reached costs addresses, not memory.
const FEWEST: usize = 256;

/// Keys and values of every layer, `[rows, capacity, kv_heads, head_dim]` each, in the compute type.
///
/// A row is one sequence with a length of its own. Rows are kept together as a `Vec` keeps its elements: new ones
/// come last, and [`KvCache::swap_remove`] fills a hole with the last. Memory grows with what is asked for, in
/// powers of two, and may exceed the model's context length: the attention windows slide.
pub struct KvCache {
    device: Device,
    config: GptConfig,
    layers: Vec<[Tensor; 2]>,
    /// Rows and positions that every layer has memory for.
    room: [usize; 2],
    /// Bytes of all layers at most.
    limit: usize,
    lengths: Vec<usize>,
    /// Tokens of each row in the next forward pass, where they are not as many as its columns.
    coming: Option<Vec<usize>>,
    /// First position of the next columns per row, `I32` `[rows]`.
    starts: Tensor,
    /// Each row's last embedding from before the smear, `[rows or more, 1, channels]`.
    previous: Option<Tensor>,
    rotary: RotaryTable,
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
    /// A cache without rows and without memory.
    pub fn new(device: &Device, config: &GptConfig) -> KvCache {
        KvCache {
            device: device.clone(),
            config: config.clone(),
            layers: Vec::new(),
            room: [0, 0],
            limit: usize::MAX,
            lengths: Vec::new(),
            coming: None,
            starts: device.empty([0], DType::I32),
            previous: None,
            rotary: RotaryTable::new(device, 0, config.head_dim(), config.rotary_base),
        }
    }

    /// The cache never takes more than so many bytes.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Number of sequences.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens that a sequence can have before there must be more memory.
    pub fn capacity(&self) -> usize {
        self.room[1]
    }

    /// Tokens of a sequence.
    pub fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    /// True if no sequence has begun.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lengths.iter().all(|&length| length == 0)
    }

    /// Adds empty rows, behind the others.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`]; the cache is as before.
    pub fn add_rows(&mut self, count: usize) -> Result<(), TensorError> {
        self.reserve(self.rows() + count, self.capacity())?;
        self.lengths.resize(self.rows() + count, 0);
        self.place();
        Ok(())
    }

    /// Makes room for so many rows of so many positions.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`]; the cache holds what it held.
    pub fn reserve(&mut self, rows: usize, positions: usize) -> Result<(), TensorError> {
        let [old_rows, old_positions] = self.room;
        let rows = match rows {
            enough if enough <= old_rows => old_rows,
            // Rows that come one by one must not move all the others each time.
            more => more.max(old_rows + old_rows / 2),
        };
        let positions = match positions {
            enough if enough <= old_positions => old_positions,
            more => more.checked_next_power_of_two().unwrap_or(more).max(FEWEST),
        };
        self.resize([rows, positions])
    }

    /// Memory of exactly this shape, in which the rows fit.
    fn resize(&mut self, room: [usize; 2]) -> Result<(), TensorError> {
        if room == self.room {
            return Ok(());
        }
        let config = &self.config;
        let shape = [room[0], room[1], config.n_kv_head, config.head_dim()];
        let factors = [2 * config.n_layer * self.device.compute_dtype().bytes()];
        let bytes = factors
            .iter()
            .chain(&shape)
            .fold(1, |product: usize, &factor| product.saturating_mul(factor));
        if bytes > self.limit || bytes > isize::MAX as usize / 16 {
            let live = self.device.memory_use().live;
            return Err(TensorError::OutOfMemory { bytes, live });
        }
        let new = || self.device.try_empty(shape, self.device.compute_dtype());
        if self.rotary.positions() < room[1] {
            self.rotary = RotaryTable::new(&self.device, room[1], config.head_dim(), config.rotary_base);
        }
        if self.lengths.is_empty() {
            self.room = [0, 0];
            self.layers.clear();
            let layers = (0..config.n_layer).map(|_| Ok([new()?, new()?]));
            self.layers = layers.collect::<Result<_, TensorError>>()?;
        } else {
            let kept = self.pairs(0..self.rows(), 0);
            let positions = self.lengths.iter().copied().max().unwrap_or(0);
            let g = Graph::inference(&self.device);
            for layer in self.layers.iter_mut().flatten() {
                // One layer after the other, so that little is there twice. Where an earlier attempt ended in
                // between, some have grown already.
                if layer.shape().dims() != shape {
                    let larger = new()?;
                    g.cache_copy(layer, &larger, &kept, positions);
                    *layer = larger;
                }
            }
            // The smaller blocks would wait for a use that may never come.
            self.device.trim();
        }
        self.room = room;
        Ok(())
    }

    /// Appends rows that go on where rows of `from` stand: its row `rows[i]` as the `i`-th of the new ones.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`]; the cache holds what it held.
    ///
    /// # Panics
    /// If rows of one of the two have no tokens yet, or are of another model.
    pub fn append(&mut self, from: &KvCache, rows: &[usize]) -> Result<(), TensorError> {
        let first = self.rows();
        let longest = rows.iter().map(|&row| from.lengths[row]).max().unwrap_or(0);
        self.reserve(first + rows.len(), longest)?;
        let pairs = self.pairs(rows.iter().copied(), first);
        let g = Graph::inference(&self.device);
        for (from, to) in from.layers.iter().flatten().zip(self.layers.iter().flatten()) {
            g.cache_copy(from, to, &pairs, longest);
        }
        if let Some(theirs) = &from.previous {
            let all = self.device.activation([first + rows.len(), 1, theirs.shape().last()]);
            if let Some(ours) = self.previous.take_if(|_| first > 0) {
                g.cache_copy(&ours, &all, &self.pairs(0..first, 0), 1);
            }
            g.cache_copy(theirs, &all, &pairs, 1);
            self.previous = Some(all);
        }
        self.lengths.extend(rows.iter().map(|&row| from.lengths[row]));
        self.place();
        Ok(())
    }

    /// Removes a row; the last one takes its number.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        let last = self.rows() - 1;
        let moved = self.lengths[last];
        self.lengths.swap_remove(row);
        if row != last {
            let pair = self.pairs([last], row);
            let g = Graph::inference(&self.device);
            for layer in self.layers.iter().flatten() {
                g.cache_copy(layer, layer, &pair, moved);
            }
            if let Some(previous) = &self.previous {
                g.cache_copy(previous, previous, &pair, 1);
            }
        }
        self.place();
    }

    /// Forgets all rows; the memory stays.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.previous = None;
        self.place();
    }

    /// A cache of so many empty rows with exactly this room, which shares what this one knows of positions: for prompts
    /// that are to become rows of this one, or are read once and forgotten.
    ///
    /// # Errors
    /// [`TensorError::OutOfMemory`]
    pub fn aside(&mut self, rows: usize, positions: usize) -> Result<KvCache, TensorError> {
        let config = &self.config;
        if self.rotary.positions() < positions {
            let positions = positions.next_power_of_two().max(FEWEST);
            self.rotary = RotaryTable::new(&self.device, positions, config.head_dim(), config.rotary_base);
        }
        let mut cache = KvCache {
            rotary: self.rotary.clone(),
            limit: self.limit,
            ..KvCache::new(&self.device, config)
        };
        cache.resize([rows, positions])?;
        cache.add_rows(rows)?;
        Ok(cache)
    }

    /// Says how many tokens each row has in the next forward pass; what stands behind them in its columns is nothing.
    pub fn expect(&mut self, tokens: Vec<usize>) {
        self.coming = Some(tokens);
    }

    /// Checks that `ids` `[rows, time]` fit.
    pub(crate) fn begin(&self, ids: &Tensor) {
        let (batch, time) = (ids.shape().dims()[0], ids.shape().last());
        assert_eq!(batch, self.rows(), "a KV cache of as many rows as there are sequences");
        let fits = |&length: &usize| length + time <= self.capacity();
        assert!(self.lengths.iter().all(fits), "the KV cache is full");
        let begun = self.lengths.iter().filter(|&&length| length > 0).count();
        assert!(begun == 0 || begun == batch, "rows begin together or go on together");
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

    /// Keeps each row's last column of `x` `[rows, time, channels]` for the next smear.
    pub(crate) fn remember(&mut self, g: &Graph, x: &Tensor) {
        let time = x.shape().dims()[1];
        self.previous = Some(if time == 1 {
            x.clone()
        } else {
            let last: Vec<i32> = (0..self.rows()).map(|row| self.tokens(row, time) as i32 - 1).collect();
            g.select_positions(x, &self.device.indices(&last, [last.len()]))
        });
    }

    pub(crate) fn advance(&mut self, ids: &Tensor) {
        let time = ids.shape().last();
        for row in 0..self.rows() {
            self.lengths[row] += self.tokens(row, time);
        }
        self.coming = None;
        self.place();
    }

    /// Tokens of a row in a pass of so many columns.
    fn tokens(&self, row: usize, columns: usize) -> usize {
        self.coming.as_ref().map_or(columns, |coming| coming[row])
    }

    /// Tells the device where the rows stand.
    fn place(&mut self) {
        let starts: Vec<i32> = self.lengths.iter().map(|&length| length as i32).collect();
        self.starts = self.device.indices(&starts, [starts.len()]);
    }

    /// For [`Graph::cache_copy`]: these rows to those from `first` on.
    fn pairs(&self, from: impl IntoIterator<Item = usize>, first: usize) -> Tensor {
        let pairs: Vec<i32> = from
            .into_iter()
            .zip(first..)
            .flat_map(|(from, to)| [from as i32, to as i32])
            .collect();
        self.device.indices(&pairs, [pairs.len() / 2, 2])
    }
}
