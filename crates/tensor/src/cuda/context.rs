//! A card: its primary context, one stream, stream-ordered memory. Knows nothing of kernels.

use std::ffi::c_int;

use cudarc::driver::result::{self, DriverError, ctx, device, mem_pool, primary_ctx, stream};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUmemPool_attribute as PoolAttribute};

use super::fault;
use crate::device::TensorError;
use crate::memory::Memory;

/// What the driver says of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// The driver's number of the card.
    pub index: usize,
    /// Its name, as the driver gives it.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// Device memory in bytes.
    pub memory_bytes: usize,
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Shared memory that a block may ask for, in bytes.
    pub shared_bytes: usize,
    /// The driver's CUDA version, as 1000·major + 10·minor.
    pub driver_version: usize,
}

/// The least compute capability: the first with bf16.
const LEAST_CAPABILITY: (u32, u32) = (8, 0);

/// An open card. Everything is asked of it in the order of its one stream.
pub(super) struct Context {
    info: CardInfo,
    stream: sys::CUstream,
    pool: sys::CUmemoryPool,
}

/// All cards.
pub(super) fn list() -> Result<Vec<CardInfo>, TensorError> {
    let count = initialise()?;
    (0..count).map(describe).collect()
}

fn initialise() -> Result<usize, TensorError> {
    let count = result::init().and_then(|()| device::get_count());
    match count {
        Ok(count) => Ok(count as usize),
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        Err(error) => Err(TensorError::Unsupported(format!(
            "the NVIDIA driver does not start: {}",
            sentence(error)
        ))),
    }
}

fn describe(index: usize) -> Result<CardInfo, TensorError> {
    let ask = || -> Result<CardInfo, DriverError> {
        let handle = device::get(index as c_int)?;
        // SAFETY: the handle came from the driver a moment ago.
        let attribute = |which| unsafe { device::get_attribute(handle, which) };
        let mut version = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
        Ok(CardInfo {
            index,
            name: device::get_name(handle)?,
            capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? as u32,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? as u32,
            ),
            // SAFETY: as above.
            memory_bytes: unsafe { device::total_mem(handle) }?,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize,
            driver_version: version as usize,
        })
    };
    ask().map_err(|error| TensorError::Unsupported(format!("GPU {index} does not answer: {}", sentence(error))))
}

/// The driver's own words for an error, and how to learn more where a kernel failed: it runs later than it is started, so
/// that whoever asks for something next is told of it.
pub(super) fn sentence(error: DriverError) -> String {
    use sys::CUresult::{
        CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_ILLEGAL_INSTRUCTION, CUDA_ERROR_INVALID_ADDRESS_SPACE,
        CUDA_ERROR_INVALID_PC, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_MISALIGNED_ADDRESS,
    };
    let remedy = match error.0 {
        CUDA_ERROR_ILLEGAL_ADDRESS
        | CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUDA_ERROR_INVALID_PC
        | CUDA_ERROR_LAUNCH_FAILED
        | CUDA_ERROR_MISALIGNED_ADDRESS => {
            ": a kernel failed, and CUDA_LAUNCH_BLOCKING=1 in the environment shows which"
        }
        _ => "",
    };
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
    let words = error.error_string().map(|words| words.to_string_lossy().into_owned());
    match (name, words) {
        (Ok(name), Ok(words)) => format!("{words} ({name}){remedy}"),
        _ => format!("{error:?}{remedy}"),
    }
}

impl Context {
    pub(super) fn open(index: usize) -> Result<Context, TensorError> {
        let count = initialise()?;
        let refuse = |sentence: String| Err(TensorError::Unsupported(sentence));
        if count == 0 {
            return refuse(
                "no GPU: the NVIDIA driver is there but shows no card (CUDA_VISIBLE_DEVICES may hide it)".into(),
            );
        }
        if index >= count {
            let cards = if count == 1 {
                "one card, number 0".into()
            } else {
                format!("cards 0 to {}", count - 1)
            };
            return refuse(format!("there is no GPU {index}: the driver shows {cards}"));
        }
        let info = describe(index)?;
        if info.capability < LEAST_CAPABILITY {
            let (major, minor) = info.capability;
            return refuse(format!(
                "{} has compute capability {major}.{minor}: 8.0 (Ampere, 2020) or later is needed for bf16",
                info.name
            ));
        }
        let open = || -> Result<Context, DriverError> {
            let device = device::get(index as c_int)?;
            // The primary context is never released: cuBLASLt keeps what it knows of it, and to make another takes long.
            // SAFETY: a context that is there as long as the process.
            unsafe { ctx::set_current(primary_ctx::retain(device)?)? };
            let stream = stream::create(stream::StreamKind::NonBlocking)?;
            // Freed memory stays with the process until it is asked for again.
            let keep = u64::MAX;
            // SAFETY: the attribute is an unsigned 64-bit number.
            let pool = unsafe {
                let pool = device::get_default_mem_pool(device)?;
                let attribute = PoolAttribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
                mem_pool::set_attribute(pool, attribute, (&raw const keep).cast_mut().cast())?;
                pool
            };
            Ok(Context {
                info: info.clone(),
                stream,
                pool,
            })
        };
        open().map_err(|error| TensorError::Unsupported(format!("{} cannot be opened: {}", info.name, sentence(error))))
    }

    pub(super) fn info(&self) -> &CardInfo {
        &self.info
    }

    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// Waits for everything that was asked for.
    pub(super) fn synchronize(&self) {
        // SAFETY: the stream lives as long as the context.
        unsafe { stream::synchronize(self.stream) }
            .unwrap_or_else(|error| fault("waiting for the GPU", sentence(error)));
    }

    /// Waits, and gives the card back what was released. Errors are left to whoever asks for something next.
    pub(super) fn settle(&self) {
        // SAFETY: stream and pool are there as long as the context.
        unsafe {
            let _ = stream::synchronize(self.stream);
            let _ = mem_pool::trim_to(self.pool, 0);
        }
    }

    /// Bytes free on the card of the current context; what was released counts as free.
    pub(super) fn free_bytes(&self) -> usize {
        self.settle();
        result::mem_get_info().map_or(0, |(free, _)| free)
    }

    /// A block whose contents are not set; none if there is no memory.
    pub(super) fn allocate(&self, bytes: usize) -> Option<Memory> {
        // SAFETY: nobody uses the block before the caller writes to it, in the order of the same stream.
        let ask = || unsafe { result::malloc_async(self.stream, bytes) };
        let answer = ask().or_else(|error| match error.0 {
            // What was released in other sizes may make the room, once nobody uses it any more.
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                self.settle();
                ask()
            }
            _ => Err(error),
        });
        match answer {
            Ok(address) => Some(Memory {
                address: address as usize,
                bytes,
            }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => None,
            Err(error) => fault("asking the GPU for memory", sentence(error)),
        }
    }

    /// Gives a block back, once all work asked for until now is done.
    pub(super) fn release(&self, memory: Memory) {
        // SAFETY: the block came from `allocate`, and no later work reads it.
        let freed = unsafe { result::free_async(memory.address as u64, self.stream) };
        // After a kernel failed every call fails, and this is called while its panic is on its way: a second one would end
        // the process without a word.
        if let Err(error @ DriverError(sys::CUresult::CUDA_ERROR_INVALID_VALUE)) = freed
            && !std::thread::panicking()
        {
            fault("giving GPU memory back", sentence(error));
        }
    }

    /// Host to device. The values may be dropped when this returns: what is not pinned is staged by the driver.
    pub(super) fn write<E>(&self, values: &[E], address: u64) {
        // SAFETY: the caller's buffer holds as many elements; sources are plain numbers.
        let copied = unsafe { result::memcpy_htod_async(address, values, self.stream) };
        copied.unwrap_or_else(|error| fault("copying to the GPU", sentence(error)));
    }

    /// Device to host; waits.
    pub(super) fn read<E>(&self, address: u64, values: &mut [E]) {
        // SAFETY: the caller's buffer holds as many elements; the values are not read before the stream is done.
        let copied = unsafe { result::memcpy_dtoh_async(values, address, self.stream) };
        copied.unwrap_or_else(|error| fault("copying from the GPU", sentence(error)));
        self.synchronize();
    }

    /// Device to device, not overlapping.
    pub(super) fn copy(&self, from: u64, to: u64, bytes: usize) {
        // SAFETY: both blocks hold as many bytes.
        let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) };
        copied.unwrap_or_else(|error| fault("copying on the GPU", sentence(error)));
    }

    /// Zeros.
    pub(super) fn clear(&self, address: u64, bytes: usize) {
        // SAFETY: the block holds as many bytes.
        let cleared = unsafe { result::memset_d8_async(address, 0, bytes, self.stream) };
        cleared.unwrap_or_else(|error| fault("clearing GPU memory", sentence(error)));
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.settle();
        // SAFETY: all work of the stream is done. There is nobody to tell of an error: the process ends or the card is gone.
        let _ = unsafe { stream::destroy(self.stream) };
    }
}
