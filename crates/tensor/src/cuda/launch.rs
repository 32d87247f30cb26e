//! Starting kernels: arguments, grids, and the scratch memory that reductions in two steps need.

use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;

use cudarc::driver::result;

use super::context::{Context, sentence};
use super::{Cuda, fault};
use crate::backend::Buffer;
use crate::dtype::DType;
use crate::memory::{Memory, size_class};

/// One kernel argument: a pointer, `int`, `long long` or `float`. Integers are sign-extended to eight bytes, so that
/// the kernel's declaration alone says how wide they are; [`Cuda::launch`] checks that they fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arg {
    bits: u64,
    is_integer: bool,
}

impl From<Buffer> for Arg {
    fn from(buffer: Buffer) -> Arg {
        Arg::pointer(buffer.address())
    }
}

/// A null pointer where there is none.
impl From<Option<Buffer>> for Arg {
    fn from(buffer: Option<Buffer>) -> Arg {
        Arg::pointer(buffer.map_or(0, Buffer::address))
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Arg {
        Arg::integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Arg {
        Arg::integer(i64::from(value))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Arg {
        Arg::integer(i64::from(value))
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Arg {
        Arg {
            bits: u64::from(value.to_bits()),
            is_integer: false,
        }
    }
}

impl Arg {
    /// A device address.
    pub(super) fn pointer(address: u64) -> Arg {
        Arg {
            bits: address,
            is_integer: false,
        }
    }

    fn integer(value: i64) -> Arg {
        Arg {
            bits: value as u64,
            is_integer: true,
        }
    }
}

/// `args![x, y, cols]`: kernel arguments of mixed types.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::cuda::launch::Arg::from($value)),*] };
}
pub(super) use args;

/// How many threads run a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Blocks along x, y and z.
    pub(super) blocks: [usize; 3],
    /// Threads per block.
    pub(super) threads: usize,
    /// Dynamic shared memory in bytes.
    pub(super) shared: usize,
}

/// Threads of a block of an elementwise kernel.
pub(super) const ELEMENTWISE_THREADS: usize = 256;

/// Elements that a kernel loads at once: `Vector<T>::lanes` in `source/common.cuh`.
pub(super) fn vector_lanes(dtype: DType) -> usize {
    16 / dtype.bytes()
}

impl Grid {
    /// `blocks` blocks of `threads` threads.
    pub(super) fn new(blocks: usize, threads: usize) -> Grid {
        Grid {
            blocks: [blocks, 1, 1],
            threads,
            shared: 0,
        }
    }

    /// A grid-stride loop over `len` elements, of which a thread takes 8 at a time.
    pub(super) fn elementwise(len: usize) -> Grid {
        Grid::new(
            len.div_ceil(8 * ELEMENTWISE_THREADS).clamp(1, 1 << 16),
            ELEMENTWISE_THREADS,
        )
    }

    /// Rows of `units` loads each, whose threads find their places with `team_of(threads, blocks)`: a row has `threads`
    /// threads, or `blocks` whole blocks where it is long.
    pub(super) fn teams(rows: usize, units: usize) -> (Grid, usize, usize) {
        let threads = units.next_power_of_two().min(ELEMENTWISE_THREADS);
        let blocks = units.div_ceil(8 * ELEMENTWISE_THREADS).clamp(1, 1 << 10);
        let grid = rows.div_ceil(ELEMENTWISE_THREADS / threads) * blocks;
        (Grid::new(grid, ELEMENTWISE_THREADS), threads, blocks)
    }

    /// With dynamic shared memory.
    pub(super) fn shared(self, bytes: usize) -> Grid {
        Grid { shared: bytes, ..self }
    }

    /// With blocks along y and z.
    pub(super) fn by(self, y: usize, z: usize) -> Grid {
        let blocks = [self.blocks[0], y, z];
        Grid { blocks, ..self }
    }
}

/// Above this, a kernel must be told that it may use so much shared memory.
const DEFAULT_SHARED: usize = 48 * 1024;

impl Buffer {
    /// Where the buffer begins on the card.
    pub(super) fn address(self) -> u64 {
        self.memory.address as u64
    }

    /// Where its element `index` stands.
    pub(super) fn at(self, index: usize) -> u64 {
        debug_assert!(index <= self.len, "an address inside the buffer");
        self.address() + (index * self.dtype.bytes()) as u64
    }
}

impl Cuda {
    /// Starts `kernel` of `source/FILE.cu`, compiled for `dtype`. A grid without blocks does nothing.
    pub(super) fn launch(&self, file: &'static str, kernel: &'static str, dtype: DType, grid: Grid, args: &[Arg]) {
        if grid.blocks.contains(&0) {
            return;
        }
        let function = self.modules.function(file, kernel, dtype);
        if let Some(sizes) = &function.parameters {
            assert_eq!(sizes.len(), args.len(), "arguments of {file}/{kernel}");
            for (size, arg) in sizes.iter().zip(args) {
                let fits = !arg.is_integer || *size == 8 || i32::try_from(arg.bits as i64).is_ok();
                assert!(fits, "an argument of {file}/{kernel} needs 64 bits: {}", arg.bits);
            }
        }
        assert!(
            grid.blocks[1] < 1 << 16 && grid.blocks[2] < 1 << 16 && grid.blocks[0] < 1 << 31,
            "grid of {file}/{kernel}: {:?}",
            grid.blocks
        );
        if grid.shared > DEFAULT_SHARED {
            function.allow_shared(grid.shared);
        }
        let [x, y, z] = grid.blocks.map(|blocks| blocks as u32);
        let mut pointers = [std::ptr::null_mut::<c_void>(); MAX_ARGS];
        for (pointer, arg) in pointers.iter_mut().zip(args) {
            *pointer = (&raw const arg.bits).cast_mut().cast();
        }
        // SAFETY: the parameters were compared with the kernel's own above (drivers before 12.4 cannot say them), and
        // the driver copies them before it returns. The buffers outlive the work: memory is given back in stream order.
        let started = unsafe {
            result::launch_kernel(
                function.handle,
                (x, y, z),
                (grid.threads as u32, 1, 1),
                grid.shared as u32,
                self.context.stream(),
                &mut pointers[..args.len()],
            )
        };
        started.unwrap_or_else(|error| fault(&format!("starting the kernel {file}/{kernel}"), sentence(error)));
    }

    /// A scratch block of at least `bytes` bytes, to be used up by the kernels that are launched before the next call.
    pub(super) fn scratch(&self, bytes: usize) -> u64 {
        self.scratch.get(bytes)
    }
}

/// The most arguments of a kernel.
const MAX_ARGS: usize = 40;

/// One block, made larger when more is asked for.
pub(super) struct Scratch {
    context: Rc<Context>,
    block: Cell<Option<Memory>>,
}

impl Scratch {
    pub(super) fn new(context: &Rc<Context>) -> Scratch {
        Scratch {
            context: Rc::clone(context),
            block: Cell::new(None),
        }
    }

    fn get(&self, bytes: usize) -> u64 {
        if let Some(block) = self.block.get() {
            if block.bytes >= bytes {
                return block.address as u64;
            }
            self.context.release(block);
        }
        let class = size_class(bytes);
        let block = self.context.allocate(class);
        self.block.set(block);
        block.map_or_else(
            || std::panic::panic_any(crate::device::TensorError::OutOfMemory { bytes: class, live: 0 }),
            |block| block.address as u64,
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.context.release(block);
        }
    }
}
