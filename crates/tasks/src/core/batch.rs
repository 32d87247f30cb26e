//! What is computed together, and the passes over the model. This room must never know what a right answer is.
//!
//! What comes before the scored tokens goes through the model once for all options of a question, and leaves its keys and
//! values; the head, which is most of a small model, sees scored positions alone.

use ferrochat_model::{Gpt, KvCache};
use ferrochat_tensor::{Choice, Graph, TensorError};

use super::spans::Piece;

/// Logits held at once, for greedy tokens: 256 MiB.
const LOGITS: usize = 1 << 26;

/// What the model says of a text.
pub(super) struct Reading {
    /// Negative log-likelihood of each scored token, in nats.
    pub(super) nll: Vec<f32>,
    /// Is each of them the likeliest? Only where that was asked.
    pub(super) greedy: bool,
}

/// Pieces in batches, those that take most memory first. Those without any prefix come last, since a batch that has both
/// takes two passes.
pub(super) fn batches(pieces: &[Piece], tokens: usize, vocab: usize, greedy: bool) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    let key = |index: usize| {
        let piece = &pieces[index];
        (piece.before() > 0, piece.before() + piece.span(), piece.span())
    };
    order.sort_by_key(|&index| std::cmp::Reverse(key(index)));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut load = Load::default();
    for index in order {
        let piece = &pieces[index];
        let joined = load.with(piece);
        let fits = joined.positions() <= tokens && (!greedy || joined.logits(vocab) <= LOGITS);
        if let Some(batch) = batches.last_mut().filter(|_| fits) {
            batch.push(index);
            load = joined;
        } else {
            batches.push(vec![index]);
            load = Load::default().with(piece);
        }
    }
    batches
}

/// Rows and columns of a batch.
#[derive(Clone, Copy, Default)]
struct Load {
    prefixes: usize,
    endings: usize,
    before: usize,
    span: usize,
}

impl Load {
    fn with(self, piece: &Piece) -> Load {
        Load {
            prefixes: self.prefixes + piece.prefixes.len(),
            endings: self.endings + piece.endings.len(),
            before: self.before.max(piece.before()),
            span: self.span.max(piece.span()),
        }
    }

    /// Keys and values.
    fn positions(&self) -> usize {
        self.prefixes.max(self.endings) * (columns(self.before) + self.span)
    }

    fn logits(&self, vocab: usize) -> usize {
        self.endings * self.span * vocab
    }
}

/// Lengths are filled up to one of few, so that memory is used again from batch to batch.
fn columns(length: usize) -> usize {
    let step = (1 << length.max(1).ilog2() >> 4).max(16);
    length.next_multiple_of(step)
}

/// The passes, with what they keep from batch to batch.
pub(super) struct Reader<'a> {
    gpt: &'a Gpt,
    graph: Graph,
    /// Holds the rotary table for all.
    cache: KvCache,
    shape: [usize; 3],
}

impl<'a> Reader<'a> {
    pub(super) fn new(gpt: &'a Gpt) -> Reader<'a> {
        Reader {
            gpt,
            graph: Graph::inference(gpt.device()),
            cache: KvCache::new(gpt.device(), gpt.config()),
            shape: [0; 3],
        }
    }

    /// Reads a batch: for each piece, what the model says of each of its texts.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn read(&mut self, pieces: &[&Piece], greedy: bool) -> Result<Vec<Vec<Reading>>, TensorError> {
        let nothing = |piece: &&Piece| piece.endings.iter().map(|_| Reading::nothing()).collect();
        let mut readings: Vec<Vec<Reading>> = pieces.iter().map(nothing).collect();
        // Rows of a cache begin together or go on together; a schema may have contexts of both kinds.
        for begins in [false, true] {
            let (mut prefixes, mut follows) = (Vec::new(), Vec::new());
            let (mut endings, mut places) = (Vec::new(), Vec::new());
            for (piece, place) in pieces.iter().zip(0..) {
                let wanted = |prefix: &&Vec<u32>| prefix.is_empty() == begins;
                for (prefix, number) in piece.prefixes.iter().zip(0..).filter(|(prefix, _)| wanted(prefix)) {
                    for (ending, option) in piece.endings.iter().zip(0..) {
                        if ending.prefix == number {
                            follows.push(prefixes.len());
                            endings.push(&ending.tokens[..]);
                            places.push((place, option));
                        }
                    }
                    prefixes.push(&prefix[..]);
                }
            }
            let span = endings.iter().map(|tokens| tokens.len() - 1).max().unwrap_or(0);
            if span > 0 {
                let read = self.read_rows(&prefixes, &follows, &endings, span, greedy)?;
                for ((piece, option), reading) in places.into_iter().zip(read) {
                    let place: &mut Vec<Reading> = &mut readings[piece];
                    place[option] = reading;
                }
            }
        }
        Ok(readings)
    }

    /// Reads endings, each behind the prefix that it follows. Either all prefixes are empty or none is.
    fn read_rows(
        &mut self,
        prefixes: &[&[u32]],
        follows: &[usize],
        endings: &[&[u32]],
        span: usize,
        greedy: bool,
    ) -> Result<Vec<Reading>, TensorError> {
        let before = columns(prefixes.iter().map(|prefix| prefix.len()).max().unwrap_or(0));
        let shape = [prefixes.len(), before, endings.len()];
        if shape != self.shape {
            // Blocks of the last sizes would wait for a use that may never come.
            self.gpt.device().trim();
            self.shape = shape;
        }
        let mut cache = self.prefill(prefixes, before, endings.len(), span)?;
        if endings.len() > prefixes.len() {
            let prefilled = cache;
            cache = self.cache.aside(endings.len(), before + span)?;
            if prefilled.length(0) > 0 {
                cache.clear();
                cache.append(&prefilled, follows)?;
            }
        }

        let (g, device, rows) = (&self.graph, self.gpt.device(), endings.len());
        let (mut ids, mut targets) = (vec![0; rows * span], vec![-1; rows * span]);
        for (row, tokens) in endings.iter().enumerate() {
            for (at, pair) in tokens.windows(2).enumerate() {
                ids[row * span + at] = pair[0] as i32;
                targets[row * span + at] = pair[1] as i32;
            }
        }
        let weights = device.master([rows, span]);
        weights.fill(0.0);
        let x = self
            .gpt
            .forward_cached(g, &device.indices(&ids, [rows, span]), &mut cache);
        drop(cache);
        let head = self.gpt.head();
        let nll = g.weighted_nll(&x, &head, &device.indices(&targets, [rows, span]), &weights);
        let nll = nll.nll.download();
        let mut likeliest = vec![-1; rows * span];
        if greedy {
            let logits = g.logits(&x, &head);
            let places: Vec<usize> = (0..rows * span).filter(|&place| targets[place] >= 0).collect();
            let choices: Vec<Choice> = places.iter().map(|&place| Choice::greedy(place)).collect();
            for (place, id) in places.into_iter().zip(device.choose(&logits, &choices)) {
                likeliest[place] = id;
            }
        }
        let reading = |(row, tokens): (usize, &&[u32])| {
            let scored = row * span..row * span + tokens.len() - 1;
            Reading {
                nll: nll[scored.clone()].to_vec(),
                greedy: greedy && likeliest[scored.clone()] == targets[scored],
            }
        };
        Ok(endings.iter().enumerate().map(reading).collect())
    }

    /// A cache that holds the prefixes, with room for endings where each has its own.
    fn prefill(
        &mut self,
        prefixes: &[&[u32]],
        before: usize,
        endings: usize,
        span: usize,
    ) -> Result<KvCache, TensorError> {
        let rows = prefixes.len();
        let room = if endings > rows { 0 } else { span };
        let mut cache = self.cache.aside(rows, (before + room).max(1))?;
        if before > 0 {
            let mut ids = vec![0; rows * before];
            for (row, prefix) in ids.chunks_exact_mut(before).zip(prefixes) {
                for (id, &token) in row.iter_mut().zip(*prefix) {
                    *id = token as i32;
                }
            }
            let lengths = prefixes.iter().map(|prefix| prefix.len());
            let last: Vec<i32> = lengths.clone().map(|length| length as i32 - 1).collect();
            cache.expect(lengths.collect());
            let device = self.gpt.device();
            let (ids, last) = (device.indices(&ids, [rows, before]), device.indices(&last, [rows]));
            // Keys and values are all that is wanted; one state per row is the least there is.
            self.gpt.forward_at(&self.graph, &ids, &last, Some(&mut cache));
        }
        Ok(cache)
    }
}

impl Reading {
    fn nothing() -> Reading {
        Reading {
            nll: Vec::new(),
            greedy: true,
        }
    }

    /// The mean; NaN of nothing.
    pub(super) fn mean(&self) -> f64 {
        self.nll.iter().map(|&nats| f64::from(nats)).sum::<f64>() / self.nll.len() as f64
    }
}
