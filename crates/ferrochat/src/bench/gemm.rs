//! `bench gemm`: matrix products in every shape and transposition that training and decoding use, and large squares.
//!
//! Products with weights go the way they go in a model: the weight is packed once, as after an optimizer step, and the two
//! gradients are those of the tape. Operations are timed where they are launched, so the tape itself does not count.

use std::collections::BTreeMap;

use anyhow::Result;
use ferrochat_model::{GptConfig, Rng};
use ferrochat_tensor::{Cost, DType, Device, Graph, OpUse, Param, Tensor};
use serde_json::{Value, json};

use super::ceilings::Ceilings;
use super::lines::Lines;
use super::shape::{self, TRAINING};
use super::timing::Timing;
use crate::cli::{BenchGemmArgs, GemmPart};
use crate::device;
use crate::errors::refuse;

/// Rows of the activations in decoding.
const DECODED: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Sides of the square products.
const SQUARES: [usize; 3] = [1024, 2048, 4096];
/// Bytes of weights that one decoding shape goes through, so that they come from memory and not from a cache.
const DECODED_BYTES: usize = 192 << 20;

/// `bench gemm`
///
/// # Errors
/// A flag that cannot be, or stdout cannot be written to.
pub fn command(args: &BenchGemmArgs) -> Result<()> {
    if args.samples == 0 || args.rows == 0 {
        refuse!("--samples and --rows must be at least 1");
    }
    let (.., config) = shape::model(&args.model, TRAINING)?;
    let mut lines = Lines::new("gemm", args.json);
    let first = device::open(&args.machine)?;
    let both = args.machine.dtype.is_none() && first.compute_dtype() != DType::F32;
    run(&first, args, &config, &mut lines)?;
    if both {
        drop(first);
        let mut machine = args.machine.clone();
        machine.dtype = Some("f32".to_owned());
        run(&device::open(&machine)?, args, &config, &mut lines)?;
    }
    Ok(())
}

fn run(device: &Device, args: &BenchGemmArgs, config: &GptConfig, lines: &mut Lines) -> Result<()> {
    let mut bench = Bench {
        device,
        samples: args.samples,
        ceilings: Ceilings::new(device),
        lines,
    };
    let wanted = |part: GemmPart| args.only.is_empty() || args.only.contains(&part);
    let weights = shapes(config);
    let head = (config.padded_vocab(), config.n_embd);
    if wanted(GemmPart::Training) {
        for &(name, out, inner) in &weights {
            bench.linear(name, args.rows, out, inner)?;
        }
        let chunk = device.loss_chunk(args.rows, head.1, head.0);
        bench.linear("head, a chunk", chunk, head.0, head.1)?;
    }
    if wanted(GemmPart::Muon) {
        for &(name, out, inner) in weights.iter().filter(|(name, ..)| *name != "attention, key or value") {
            bench.muon(name, out, inner)?;
        }
    }
    if wanted(GemmPart::Square) {
        for size in SQUARES {
            bench.linear("square, packed", size, size, size)?;
            bench.plain("square", [size; 3], (false, false))?;
        }
    }
    if wanted(GemmPart::Decoding) {
        for (name, out, inner) in weights.into_iter().chain([("head", head.0, head.1)]) {
            for rows in DECODED {
                bench.decoding(name, rows, out, inner)?;
            }
        }
    }
    bench.lines.finish(&format!("{}\n", device.name()))
}

/// The matrices of a block: name, rows, columns.
fn shapes(config: &GptConfig) -> Vec<(&'static str, usize, usize)> {
    let width = config.n_embd;
    let mut shapes = vec![("attention, query or output", width, width)];
    if config.kv_dim() != width {
        shapes.push(("attention, key or value", config.kv_dim(), width));
    }
    shapes.extend([("mlp, up", 4 * width, width), ("mlp, down", width, 4 * width)]);
    shapes
}

struct Bench<'a> {
    device: &'a Device,
    samples: usize,
    ceilings: Ceilings<'a>,
    lines: &'a mut Lines,
}

impl Bench<'_> {
    /// `y = x·Wᵀ` and both gradients for `rows` rows of x.
    fn linear(&mut self, name: &str, rows: usize, out: usize, inner: usize) -> Result<()> {
        let graph = Graph::training(self.device);
        let weight = self.weight(out, inner);
        let (x, seed) = (self.values([rows, inner]), self.values([rows, out]));
        let timings = self.measure(|| {
            let leaf = graph.leaf(&x);
            let y = graph.linear(&leaf, &weight);
            graph.gradients(&y, &seed, &[&leaf]);
            weight.clear_grad();
        });
        let products = [
            ("linear", "x·Wᵀ", [rows, out, inner]),
            ("linear_backward_input", "dy·W", [rows, inner, out]),
            ("linear_backward_weight", "dyᵀ·x", [out, inner, rows]),
        ];
        for (op, product, sides) in products {
            if let Some(timing) = timings.get(op) {
                self.tell(name, product, sides, timing)?;
            }
        }
        Ok(())
    }

    /// Muon's three products for a matrix: the Gram matrix of the shorter side, its polynomial, the update.
    fn muon(&mut self, name: &str, rows: usize, cols: usize) -> Result<()> {
        let (short, long) = (rows.min(cols), rows.max(cols));
        let tall = rows > cols;
        let name = format!("muon, {name}");
        self.product(&name, "gram", [short, short, long], (tall, !tall))?;
        self.product(&name, "gram²", [short; 3], (false, false))?;
        let update = if tall {
            [long, short, short]
        } else {
            [short, long, short]
        };
        self.product(&name, "update", update, (false, false))
    }

    /// A product of two plain matrices in the compute type.
    fn plain(&mut self, name: &str, sides: [usize; 3], transposed: (bool, bool)) -> Result<()> {
        self.product(name, "a·b", sides, transposed)
    }

    fn product(&mut self, name: &str, product: &str, [m, n, k]: [usize; 3], transposed: (bool, bool)) -> Result<()> {
        let shape = |rows, cols, transposed| if transposed { [cols, rows] } else { [rows, cols] };
        let a = self.values(shape(m, k, transposed.0));
        // A matrix with its own transpose is seen as such.
        let gram = product == "gram";
        let b = if gram {
            a.clone()
        } else {
            self.values(shape(k, n, transposed.1))
        };
        let device = self.device;
        let timings = self.measure(|| drop(device.matmul((&a, transposed.0), (&b, transposed.1), 1.0, None)));
        timings
            .get("matmul")
            .map_or(Ok(()), |timing| self.tell(name, product, [m, n, k], timing))
    }

    /// `y = x·Wᵀ` for a few rows, through so many weights that they come from memory.
    fn decoding(&mut self, name: &str, rows: usize, out: usize, inner: usize) -> Result<()> {
        let bytes = out * inner * self.device.compute_dtype().bytes();
        let copies = DECODED_BYTES.div_ceil(bytes);
        let weights: Vec<Param> = (0..copies).map(|_| self.weight(out, inner)).collect();
        let x = self.values([rows, inner]);
        let graph = Graph::inference(self.device);
        let mut timings = self.measure(|| weights.iter().for_each(|weight| drop(graph.linear(&x, weight))));
        let Some(timing) = timings.remove("linear") else {
            return Ok(());
        };
        self.tell(
            &format!("decoding, {name}"),
            "x·Wᵀ",
            [rows, out, inner],
            &timing.divided(copies),
        )
    }

    /// Times operations of `work` by name, each repetition beside a look at the ceilings.
    fn measure(&mut self, mut work: impl FnMut()) -> BTreeMap<&'static str, Timing> {
        work();
        let mut timings = BTreeMap::<&str, Timing>::new();
        for _ in 0..self.samples {
            let look = self.ceilings.look();
            self.device.start_profile();
            work();
            for OpUse {
                name, seconds, cost, ..
            } in self.device.take_profile()
            {
                let Cost { flops, bytes } = cost;
                let timing = timings.entry(name).or_insert_with(|| Timing::new(flops, bytes));
                timing.push(seconds, look);
            }
        }
        timings
    }

    fn tell(&mut self, name: &str, product: &str, [m, n, k]: [usize; 3], timing: &Timing) -> Result<()> {
        let dtype = self.device.compute_dtype().name();
        let about: Value = json!({
            "device": self.device.name(), "dtype": dtype, "product": product, "m": m, "n": n, "k": k,
        });
        let shown = if self.lines.is_json() {
            name.to_owned()
        } else {
            format!("{name}: {product}, {m}×{n}×{k}")
        };
        self.lines.push(&shown, about, timing)
    }

    fn weight(&self, out: usize, inner: usize) -> Param {
        let weight = Param::new(self.device, "weight", [out, inner]);
        weight.upload(&random(out * inner));
        weight
    }

    fn values(&self, shape: [usize; 2]) -> Tensor {
        self.device.tensor(&random(shape[0] * shape[1]), shape)
    }
}

/// Numbers between −½ and ½.
fn random(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(count as u64);
    (0..count).map(|_| rng.uniform() as f32 - 0.5).collect()
}
