//! Flash attention: the host side of `source/attention.cu` and `source/attention_decode.cu`.

use super::Cuda;
use super::launch::{Arg, Grid, args};
use crate::backend::{AttentionArgs, Buffer};
use crate::ops::rotary::MAX_HEAD_DIM;

/// Threads of a block of `attention.cu`.
const THREADS: usize = 256;

/// A window that is no window: farther than any two positions are apart, and still an `int` when a position is added.
const NO_WINDOW: usize = 1 << 30;

/// The kernels for heads of up to some number of channels, and their tiles as `Tile` in `attention.cu` has them.
struct Tiles {
    forward: &'static str,
    backward_queries: &'static str,
    backward_keys: &'static str,
    /// Rows that a block owns.
    own: usize,
    /// Rows that it goes over at a time.
    other: usize,
    /// Channels in shared memory.
    channels: usize,
}

macro_rules! tiles {
    ($channels:literal, $own:literal, $other:literal) => {
        Tiles {
            forward: concat!("attention_forward_", $channels),
            backward_queries: concat!("attention_backward_queries_", $channels),
            backward_keys: concat!("attention_backward_keys_", $channels),
            own: $own,
            other: $other,
            channels: $channels,
        }
    };
}

static TILES: [Tiles; 4] = [
    tiles!(32, 64, 64),
    tiles!(64, 64, 64),
    tiles!(128, 64, 32),
    tiles!(512, 16, 16),
];

/// The first of several kernels, from narrow to wide, that has enough channels for a head.
fn narrowest<K>(kernels: &'static [K], head_dim: usize, channels: impl Fn(&K) -> usize) -> &'static K {
    let fits = kernels.iter().find(|kernel| head_dim <= channels(kernel));
    fits.unwrap_or_else(|| panic!("attention has heads of at most {MAX_HEAD_DIM} channels"))
}

impl Tiles {
    /// Shared memory for `owned` tiles of a block's own, one of the others and one of scores.
    fn shared(&self, owned: usize) -> usize {
        let floats = (owned * self.own + self.other) * (self.channels + 4) + self.own * (self.other + 16);
        4 * floats
    }

    fn grid(&self, heads: usize, time: usize, owned: usize) -> Grid {
        Grid::new(heads, THREADS)
            .by(time.div_ceil(self.own), 1)
            .shared(self.shared(owned))
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
        let tiles = narrowest(&TILES, args.head_dim, |tiles| tiles.channels);
        self.launch(
            "attention",
            tiles.forward,
            q.dtype,
            tiles.grid(args.batch * args.heads, args.time, 1),
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
        let tiles = narrowest(&TILES, args.head_dim, |tiles| tiles.channels);
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
            "attention",
            tiles.backward_queries,
            q.dtype,
            tiles.grid(args.batch * heads, args.time, 2),
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
            "attention",
            tiles.backward_keys,
            q.dtype,
            tiles.grid(args.batch * kv_heads, args.time, 2),
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
