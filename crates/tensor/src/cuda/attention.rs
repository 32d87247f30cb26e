//! Flash attention: the host side of `source/attention.cu`, `source/attention_tensor.cu` (the same on tensor cores) and
//! `source/attention_decode.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::{AttentionArgs, Buffer};
use crate::dtype::DType;
use crate::ops::rotary::MAX_HEAD_DIM;

/// Threads of a block of `attention.cu`.
const THREADS: usize = 256;

/// A window that is no window: farther than any two positions are apart, and still an `int` when a position is added.
const NO_WINDOW: usize = 1 << 30;

/// The kernels for heads of up to some number of channels.
struct Tiles {
    file: &'static str,
    forward: &'static str,
    backward_queries: &'static str,
    backward_keys: &'static str,
    threads: usize,
    /// Rows that a block owns.
    own: usize,
    /// Bytes of shared memory on the way forward and on the way back.
    shared: [usize; 2],
    channels: usize,
}

macro_rules! tiles {
    ($file:literal, $channels:literal, $threads:expr, $own:expr, $shared:expr) => {
        Tiles {
            file: $file,
            forward: concat!("attention_forward_", $channels),
            backward_queries: concat!("attention_backward_queries_", $channels),
            backward_keys: concat!("attention_backward_keys_", $channels),
            threads: $threads,
            own: $own,
            shared: $shared,
            channels: $channels,
        }
    };
}

/// `attention.cu`: any head, both element types. Rows that a block owns, and that it goes over at a time.
macro_rules! plain {
    ($channels:literal, $own:literal, $other:literal) => {
        tiles!("attention", $channels, THREADS, $own, {
            // The block's own rows (once or twice), one tile of others, one of scores, in float32 with padding.
            let others = $other * ($channels + 4) + $own * ($other + 16);
            [
                4 * ($own * ($channels + 4) + others),
                4 * (2 * $own * ($channels + 4) + others),
            ]
        })
    };
}

static PLAIN: [Tiles; 4] = [
    plain!(32, 64, 64),
    plain!(64, 64, 64),
    plain!(128, 64, 32),
    plain!(512, 16, 16),
];

/// `attention_tensor.cu`: bf16, and heads of just as many channels.
macro_rules! tensor {
    ($channels:literal) => {
        // Rows in bf16 with padding: 64 own and 64 keys and values; 2·64 own and two stages of 2·32 others.
        tiles!(
            "attention_tensor",
            $channels,
            128,
            64,
            [3 * 64 * 2 * ($channels + 8), 4 * 64 * 2 * ($channels + 8)]
        )
    };
}

static TENSOR: [Tiles; 3] = [tensor!(32), tensor!(64), tensor!(128)];

/// The first of several kernels, from narrow to wide, that has enough channels for a head.
fn narrowest<K>(kernels: &'static [K], head_dim: usize, channels: impl Fn(&K) -> usize) -> &'static K {
    let fits = kernels.iter().find(|kernel| head_dim <= channels(kernel));
    fits.unwrap_or_else(|| panic!("attention has heads of at most {MAX_HEAD_DIM} channels"))
}

impl Tiles {
    fn of(head_dim: usize, dtype: DType) -> &'static Tiles {
        let just = |tiles: &&Tiles| dtype == DType::Bf16 && tiles.channels == head_dim;
        let tensor = TENSOR.iter().find(just);
        tensor.unwrap_or_else(|| narrowest(&PLAIN, head_dim, |tiles| tiles.channels))
    }

    fn grid(&self, heads: usize, time: usize, backward: bool) -> Grid {
        Grid::new(heads, self.threads)
            .by(time.div_ceil(self.own), 1)
            .shared(self.shared[usize::from(backward)])
    }
}

/// Queries of one kv head up to which keys are shared out among blocks (beyond, there are enough tiles of queries).
const FEW_QUERIES: usize = 16;

/// Keys that a block of `attention_decode.cu` reads.
const CHUNK: usize = 256;

/// Its threads.
const DECODE_THREADS: usize = 128;

/// The kernels for a few queries that look into a cache, with heads of up to some number of channels.
struct Decode {
    /// For one query per kv head.
    single: &'static str,
    /// For more.
    several: &'static str,
    /// Queries that it lets read a kv head together.
    together: usize,
    combine: &'static str,
    channels: usize,
}

macro_rules! decode {
    ($channels:literal, $together:literal) => {
        Decode {
            single: concat!("attention_decode_", $channels, "_1"),
            several: concat!("attention_decode_", $channels, "_", $together),
            together: $together,
            combine: concat!("attention_combine_", $channels),
            channels: $channels,
        }
    };
}

static DECODE: [Decode; 4] = [decode!(32, 4), decode!(64, 4), decode!(128, 4), decode!(512, 1)];

impl Cuda {
    pub(super) fn attention_forward(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        y: Buffer,
        logsumexp: Buffer,
    ) {
        if args.starts.is_some() && args.time * args.heads / args.kv_heads <= FEW_QUERIES {
            return self.attention_to_cache(args, (q, k, v), y, logsumexp);
        }
        let tiles = Tiles::of(args.head_dim, q.dtype);
        self.launch(
            tiles.file,
            tiles.forward,
            q.dtype,
            tiles.grid(args.batch * args.heads, args.time, false),
            args![
                q,
                k,
                v,
                y,
                logsumexp,
                args.starts,
                args.time,
                args.heads,
                args.kv_heads,
                args.capacity,
                args.head_dim,
                args.window.min(NO_WINDOW),
                args.scale,
            ],
        );
    }

    /// Few queries, many keys: the keys are shared out among blocks.
    fn attention_to_cache(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        y: Buffer,
        logsumexp: Buffer,
    ) {
        let (time, heads, kv_heads, window) = (args.time, args.heads, args.kv_heads, args.window.min(NO_WINDOW));
        let rows = time * heads / kv_heads;
        let decode = narrowest(&DECODE, args.head_dim, |decode| decode.channels);
        let (kernel, together) = if rows == 1 {
            (decode.single, 1)
        } else {
            (decode.several, decode.together)
        };
        let chunks = args.capacity.div_ceil(CHUNK);
        let partial = if chunks == 1 {
            0
        } else {
            self.scratch(args.batch * heads * time * chunks * (decode.channels + 2) * size_of::<f32>())
        };
        let partial = Arg::pointer(partial);
        self.launch(
            "attention_decode",
            kernel,
            q.dtype,
            Grid::new(chunks, DECODE_THREADS).by(kv_heads * rows.div_ceil(together), args.batch),
            args![
                q,
                k,
                v,
                y,
                logsumexp,
                partial,
                args.starts,
                time,
                heads,
                kv_heads,
                args.capacity,
                args.head_dim,
                window,
                args.scale,
            ],
        );
        if chunks > 1 {
            self.launch(
                "attention_decode",
                decode.combine,
                q.dtype,
                Grid::new(args.batch * heads * time, DECODE_THREADS),
                args![
                    partial,
                    y,
                    logsumexp,
                    args.starts,
                    chunks,
                    time,
                    heads,
                    args.capacity,
                    args.head_dim,
                    window,
                ],
            );
        }
    }

    pub(super) fn attention_gradients(
        &self,
        args: &AttentionArgs,
        (q, k, v): (Buffer, Buffer, Buffer),
        (y, logsumexp, dy): (Buffer, Buffer, Buffer),
        (dq, dk, dv): (Buffer, Buffer, Buffer),
    ) {
        let tiles = Tiles::of(args.head_dim, q.dtype);
        let (heads, kv_heads, window) = (args.heads, args.kv_heads, args.window.min(NO_WINDOW));
        let rows = args.batch * args.time * heads;
        let delta = Arg::pointer(self.scratch(rows * size_of::<f32>()));
        self.launch(
            "attention",
            "attention_delta",
            q.dtype,
            Grid::new(rows.div_ceil(THREADS / 32), THREADS),
            args![y, dy, delta, rows, args.time, heads, args.head_dim],
        );
        self.launch(
            tiles.file,
            tiles.backward_queries,
            q.dtype,
            tiles.grid(args.batch * heads, args.time, true),
            args![
                q,
                k,
                v,
                dy,
                logsumexp,
                delta,
                dq,
                args.time,
                heads,
                kv_heads,
                args.head_dim,
                window,
                args.scale
            ],
        );
        self.launch(
            tiles.file,
            tiles.backward_keys,
            q.dtype,
            tiles.grid(args.batch * kv_heads, args.time, true),
            args![
                q,
                k,
                v,
                dy,
                logsumexp,
                delta,
                dk,
                dv,
                args.time,
                heads,
                kv_heads,
                args.head_dim,
                window,
                args.scale
            ],
        );
    }
}
