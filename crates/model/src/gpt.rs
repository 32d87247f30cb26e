//! The GPT: every parameter declared once, and the forward pass from token ids to the loss.
//!
//! This is the file to change for a new architecture. The same code trains (on a recording graph), evaluates
//! and decodes (with a [`KvCache`]); optimizer, checkpoints, parameter counts and FLOPs follow from the
//! declarations. It must never know a concrete device.
//!
//! Weights are `[out, in]`. Shapes: B batch, T time, C width, H heads, K key-value heads, D channels per head.

use std::cell::OnceCell;

use ferrochat_tensor::{Device, Graph, Nll, NllHead, Param, RotaryTable, Scalar, Tensor};

use crate::cache::{KvCache, Past};
use crate::config::{ConfigError, GptConfig, InitScheme, SMEAR_GATE_CHANNELS, VALUE_GATE_CHANNELS};
use crate::declare::{Declaration, Declare};
use crate::init::Init;
use crate::optim::Group;

/// A decoder-only transformer.
pub struct Gpt {
    config: GptConfig,
    declarations: Vec<Declaration>,
    device: Device,
    rotary: OnceCell<RotaryTable>,
    wte: Param,
    smear: Option<Smear>,
    residual: Option<Residual>,
    blocks: Vec<Block>,
    backout_lambda: Option<Param>,
    lm_head: Param,
}

/// Mixes the previous token's embedding into each position.
struct Smear {
    gate: Param,
    lambda: Param,
}

/// Per layer, how much of the stream goes on and how much of the embedding comes back.
struct Residual {
    resid_lambdas: Param,
    x0_lambdas: Param,
}

/// Attention, then MLP, each on the normalised stream and added to it.
struct Block {
    attention: Attention,
    mlp: Mlp,
}

struct Attention {
    c_q: Param,
    c_k: Param,
    c_v: Param,
    c_proj: Param,
    value_embedding: Option<ValueEmbedding>,
    window: usize,
    head_dim: usize,
    qk_scale: f32,
}

/// A second embedding of the token, added to the values through a gate.
struct ValueEmbedding {
    table: Param,
    gate: Param,
}

struct Mlp {
    c_fc: Param,
    c_proj: Param,
}

impl Gpt {
    /// Builds the model with all parameters zero: [`Gpt::initialize`] or a checkpoint fills them.
    pub fn new(device: &Device, config: &GptConfig) -> Result<Gpt, ConfigError> {
        config.validate()?;
        let (n_layer, width, vocab) = (config.n_layer, config.n_embd, config.padded_vocab());
        let classic = config.init == InitScheme::Classic;
        let mut declare = Declare::new(device);

        let init = Init::Normal {
            std: if classic { 1.0 } else { 0.8 },
        };
        let wte = declare.embedding("transformer.wte.weight", [vocab, width], init, Group::Embedding);
        let smear = config.smear.then(|| Smear::new(&mut declare));
        let residual = config.residual_scalars.then(|| Residual::new(&mut declare, n_layer));
        let blocks = (0..n_layer).map(|i| Block::new(&mut declare, config, i)).collect();
        let backout_lambda = config
            .backout
            .then(|| declare.scalars("backout_lambda", 1, Init::Constant(0.2), Group::Smear));
        let init = if classic {
            Init::Zeros
        } else {
            Init::Normal { std: 0.001 }
        };
        let lm_head = declare.linear("lm_head.weight", [vocab, width], init, Group::Head);

        Ok(Gpt {
            config: config.clone(),
            declarations: declare.finish(),
            device: device.clone(),
            rotary: OnceCell::new(),
            wte,
            smear,
            residual,
            blocks,
            backout_lambda,
            lm_head,
        })
    }

    /// Draws the starting weights. Each parameter has its own stream, from the seed and its name.
    pub fn initialize(&self, seed: u64) {
        for Declaration { param, init, .. } in &self.declarations {
            param.upload(&init.values(seed, param.name(), param.numel()));
        }
    }

    /// From `ids` `[B, T]` to the normalised hidden state `[B, T, C]` that the head reads.
    pub fn forward(&self, g: &Graph, ids: &Tensor) -> Tensor {
        self.trunk(g, ids, None, None)
    }

    /// Like [`Gpt::forward`], the positions being those after what `cache` holds; they are added to it.
    ///
    /// # Panics
    /// If the graph records, the cache is full, or it has another number of rows than `ids`.
    pub fn forward_cached(&self, g: &Graph, ids: &Tensor, cache: &mut KvCache) -> Tensor {
        self.trunk(g, ids, Some(cache), None)
    }

    /// The hidden state at one position of each row only: `positions` `[B]` (`I32`) of `ids` → `[B, 1, C]`, with the bits
    /// that [`Gpt::forward`] has there. The last layer makes keys and values of all positions and nothing else of the
    /// others. A `cache` gets the keys and values of all layers and positions.
    ///
    /// # Panics
    /// As [`Gpt::forward_cached`], or if the cache holds tokens already.
    pub fn forward_at(&self, g: &Graph, ids: &Tensor, positions: &Tensor, cache: Option<&mut KvCache>) -> Tensor {
        let fresh = cache.as_ref().is_none_or(|cache| cache.is_fresh());
        assert!(
            fresh,
            "positions count from a sequence's beginning, and the cache must hold nothing"
        );
        self.trunk(g, ids, cache, Some(positions))
    }

    /// The loss `Σ weight·nll` over `targets` `[B, T]` (negative: none) and the nats per position.
    pub fn loss(&self, g: &Graph, ids: &Tensor, targets: &Tensor, weights: &Tensor) -> Nll {
        g.weighted_nll(&self.forward(g, ids), &self.head(), targets, weights)
    }

    /// The unembedding, for [`Graph::weighted_nll`] and [`Graph::logits`].
    pub fn head(&self) -> NllHead<'_> {
        NllHead {
            weight: &self.lm_head,
            vocab: self.config.vocab_size,
            softcap: self.config.logit_softcap,
        }
    }

    fn trunk(&self, g: &Graph, ids: &Tensor, mut cache: Option<&mut KvCache>, only: Option<&Tensor>) -> Tensor {
        if let Some(cache) = cache.as_deref_mut() {
            cache.begin(ids);
        }
        let mut x = g.rms_norm(&g.embedding(&self.wte, ids));
        if let Some(smear) = &self.smear {
            let before = x;
            let previous = cache.as_deref().and_then(KvCache::previous);
            x = g.smear(&before, &smear.gate, &smear.lambda, previous);
            if let Some(cache) = cache.as_deref_mut() {
                cache.remember(g, &before);
            }
        }

        let x0 = x.clone();
        let mut middle = None;
        for (i, block) in self.blocks.iter().enumerate() {
            if let Some(residual) = &self.residual {
                x = residual.mix(g, &x, &x0, i);
            }
            let past = cache.as_deref().map(|cache| cache.layer(i));
            let h = g.rms_norm(&x);
            // Of the other positions nobody reads what the last layer makes, but for keys and values.
            let only = only.filter(|_| i + 1 == self.config.n_layer);
            if let Some(only) = only {
                x = g.select_positions(&x, only);
                middle = middle.map(|middle| g.select_positions(&middle, only));
            }
            x = g.add(&x, &block.attention.forward(g, &h, ids, self.rotary(), past, only));
            let h = g.rms_norm(&x);
            x = g.add(&x, &block.mlp.forward(g, &h));
            if self.backout_lambda.is_some() && i == self.config.n_layer / 2 {
                middle = Some(x.clone());
            }
        }
        if let (Some(lambda), Some(middle)) = (&self.backout_lambda, middle) {
            x = g.mix(&x, Scalar::Constant(1.0), &middle, learned(-1.0, lambda, 0));
        }

        if let Some(cache) = cache {
            cache.advance(ids);
        }
        g.rms_norm(&x)
    }

    fn rotary(&self) -> &RotaryTable {
        let config = &self.config;
        self.rotary
            .get_or_init(|| RotaryTable::new(&self.device, config.sequence_len, config.head_dim(), config.rotary_base))
    }

    /// Sizes and features.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// Where the parameters live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Every parameter, in the order of the forward pass.
    pub fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&Param> {
        let declaration = self.declarations.iter().find(|d| d.param.name() == name)?;
        Some(&declaration.param)
    }
}

impl Smear {
    fn new(declare: &mut Declare) -> Smear {
        let init = Init::Uniform { low: 0.0, high: 0.02 };
        Smear {
            gate: declare.linear("smear_gate.weight", [1, SMEAR_GATE_CHANNELS], init, Group::Smear),
            lambda: declare.scalars("smear_lambda", 1, Init::Zeros, Group::Smear),
        }
    }
}

impl Residual {
    fn new(declare: &mut Declare, n_layer: usize) -> Residual {
        let resid = Init::Ramp {
            first: 1.15,
            last: 1.05,
        };
        let x0 = Init::Ramp {
            first: 0.20,
            last: 0.05,
        };
        Residual {
            resid_lambdas: declare.scalars("resid_lambdas", n_layer, resid, Group::Residual),
            x0_lambdas: declare.scalars("x0_lambdas", n_layer, x0, Group::Embedded),
        }
    }

    fn mix(&self, g: &Graph, x: &Tensor, x0: &Tensor, layer: usize) -> Tensor {
        let (stream, embedded) = (&self.resid_lambdas, &self.x0_lambdas);
        g.mix(x, learned(1.0, stream, layer), x0, learned(1.0, embedded, layer))
    }
}

impl Block {
    fn new(declare: &mut Declare, config: &GptConfig, layer: usize) -> Block {
        Block {
            attention: Attention::new(declare, config, layer),
            mlp: Mlp::new(declare, config, layer),
        }
    }
}

impl Attention {
    fn new(declare: &mut Declare, config: &GptConfig, layer: usize) -> Attention {
        let (width, kv_dim) = (config.n_embd, config.kv_dim());
        let uniform = Init::symmetric((3.0 / width as f64).sqrt());
        let mut matrix = |name: &str, shape, zero| {
            let init = match config.init {
                _ if zero => Init::Zeros,
                InitScheme::Classic => Init::by_fan(shape),
                InitScheme::Current => uniform,
            };
            let name = format!("transformer.h.{layer}.attn.{name}.weight");
            declare.linear(&name, shape, init, Group::Matrix)
        };
        let c_q = matrix("c_q", [width, width], false);
        let c_k = matrix("c_k", [kv_dim, width], false);
        let c_v = matrix("c_v", [kv_dim, width], false);
        let c_proj = matrix("c_proj", [width, width], true);
        let value_embedding = config.has_value_embedding(layer).then(|| {
            let gate = Init::Uniform { low: 0.0, high: 0.02 };
            ValueEmbedding {
                gate: declare.linear(
                    &format!("transformer.h.{layer}.attn.ve_gate.weight"),
                    [config.n_kv_head, VALUE_GATE_CHANNELS],
                    gate,
                    Group::Matrix,
                ),
                table: declare.embedding(
                    &format!("value_embeds.{layer}.weight"),
                    [config.padded_vocab(), kv_dim],
                    uniform,
                    Group::ValueEmbedding,
                ),
            }
        });
        Attention {
            c_q,
            c_k,
            c_v,
            c_proj,
            value_embedding,
            window: config.windows()[layer],
            head_dim: config.head_dim(),
            qk_scale: config.qk_scale,
        }
    }

    /// `x` `[B, T, C]` attends to itself and to what `past` holds. With `only` `[B]`, one position of each sequence does,
    /// counted from its beginning: `[B, 1, C]`.
    fn forward(
        &self,
        g: &Graph,
        x: &Tensor,
        ids: &Tensor,
        rotary: &RotaryTable,
        past: Option<Past>,
        only: Option<&Tensor>,
    ) -> Tensor {
        let asking = only.map_or_else(|| x.clone(), |only| g.select_positions(x, only));
        let q = self.heads(&g.linear(&asking, &self.c_q)); // [B, T or 1, H, D]
        let k = self.heads(&g.linear(x, &self.c_k)); // [B, T, K, D]
        let mut v = self.heads(&g.linear(x, &self.c_v));
        if let Some(embedding) = &self.value_embedding {
            let own = g.embedding(&embedding.table, ids);
            v = g.value_gate(&v, x, &own, &embedding.gate);
        }
        let y = match past {
            None => {
                let q = g.rotary_qk_norm(&q, rotary, only, self.qk_scale);
                let k = g.rotary_qk_norm(&k, rotary, None, self.qk_scale);
                match only {
                    None => g.attention(&q, &k, &v, self.window),
                    Some(only) => g.attention_cached(&q, &k, &v, self.window, only),
                }
            }
            Some(past) => {
                let starts = only.unwrap_or(past.starts);
                let q = g.rotary_qk_norm(&q, past.rotary, Some(starts), self.qk_scale);
                let k = g.rotary_qk_norm(&k, past.rotary, Some(past.starts), self.qk_scale);
                g.cache_write(past.keys, &k, past.starts);
                g.cache_write(past.values, &v, past.starts);
                g.attention_cached(&q, past.keys, past.values, self.window, starts)
            }
        };
        g.linear(&y.reshape(asking.shape()), &self.c_proj)
    }

    /// `[B, T, H·D]` as `[B, T, H, D]`.
    fn heads(&self, x: &Tensor) -> Tensor {
        let heads = x.shape().last() / self.head_dim;
        x.reshape(x.shape().with_last(heads).with_inner(self.head_dim))
    }
}

impl Mlp {
    fn new(declare: &mut Declare, config: &GptConfig, layer: usize) -> Mlp {
        let (width, hidden) = (config.n_embd, 4 * config.n_embd);
        let up = match config.init {
            InitScheme::Classic => Init::by_fan([hidden, width]),
            InitScheme::Current => Init::symmetric(0.4 * (3.0 / width as f64).sqrt()),
        };
        let mut matrix = |name: &str, shape, init| {
            let name = format!("transformer.h.{layer}.mlp.{name}.weight");
            declare.linear(&name, shape, init, Group::Matrix)
        };
        Mlp {
            c_fc: matrix("c_fc", [hidden, width], up),
            c_proj: matrix("c_proj", [width, hidden], Init::Zeros),
        }
    }

    fn forward(&self, g: &Graph, x: &Tensor) -> Tensor {
        let hidden = g.relu_squared(&g.linear(x, &self.c_fc));
        g.linear(&hidden, &self.c_proj)
    }
}

fn learned(factor: f32, parameter: &Param, index: usize) -> Scalar<'_> {
    Scalar::Learned {
        factor,
        parameter,
        index,
    }
}
