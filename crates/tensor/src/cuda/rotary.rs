//! Rotary embedding and QK norm: the host side of `source/rotary.cu`.

use super::Cuda;
use super::launch::{Grid, args, vector_lanes};
use crate::backend::{Buffer, RotaryArgs};
use crate::ops::rotary::MAX_HEAD_DIM;

/// Threads of a block.
const THREADS: usize = 256;

/// How heads are shared out.
struct Groups {
    /// Neighbouring lanes that work on one head.
    lanes: usize,
    /// Whether they load vectors.
    vectors: bool,
    heads: usize,
}

impl Groups {
    fn new(args: &RotaryArgs) -> Groups {
        assert!(
            args.head_dim <= MAX_HEAD_DIM,
            "heads of at most {MAX_HEAD_DIM} channels"
        );
        let (half, lanes) = (args.head_dim / 2, vector_lanes(args.cos.dtype));
        let vectors = half.is_multiple_of(lanes) && half / lanes <= 32;
        let chunks = if vectors { half / lanes } else { half };
        Groups {
            lanes: chunks.next_power_of_two().min(32),
            vectors,
            heads: args.batch * args.time * args.heads,
        }
    }

    fn grid(&self) -> Grid {
        Grid::new(self.heads.div_ceil(THREADS / self.lanes), THREADS)
    }
}

impl Cuda {
    pub(super) fn rotary(&self, args: &RotaryArgs, x: Buffer, y: Buffer) {
        let groups = Groups::new(args);
        let kernel = if groups.vectors {
            "rotary_vectors"
        } else {
            "rotary_elements"
        };
        let RotaryArgs { cos, sin, starts, .. } = *args;
        let half = args.head_dim / 2;
        let (total, lanes) = (groups.heads, groups.lanes);
        self.launch(
            "rotary",
            kernel,
            x.dtype,
            groups.grid(),
            args![
                x, y, cos, sin, starts, total, args.time, args.heads, half, lanes, args.scale
            ],
        );
    }

    pub(super) fn rotary_backward(&self, args: &RotaryArgs, x: Buffer, dy: Buffer, dx: Buffer) {
        let groups = Groups::new(args);
        let kernel = if groups.vectors {
            "rotary_backward_vectors"
        } else {
            "rotary_backward_elements"
        };
        let RotaryArgs { cos, sin, starts, .. } = *args;
        let half = args.head_dim / 2;
        let (total, lanes) = (groups.heads, groups.lanes);
        self.launch(
            "rotary",
            kernel,
            x.dtype,
            groups.grid(),
            args![
                x, dy, dx, cos, sin, starts, total, args.time, args.heads, half, lanes, args.scale
            ],
        );
    }
}
