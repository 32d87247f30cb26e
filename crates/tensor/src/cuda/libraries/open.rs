//! Opening a library and asking it what it is, before cudarc does: cudarc panics where a library or a symbol is missing.
//! Knows the names, symbols and version calls of NVIDIA's libraries, and nothing of folders.

use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::os::unix::Library as Handle;

use super::{Kind, Version};

/// A library that has been opened and found whole. Closed when dropped, unless [`Opened::keep`] is called.
#[derive(Debug)]
pub(super) struct Opened {
    handle: Handle,
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

/// What the driver calls of ours and of cudarc need, by the names that cudarc asks for.
const DRIVER_SYMBOLS: &[&str] = &[
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemGetInfo_v2",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
];

const NVRTC_SYMBOLS: &[&str] = &[
    "nvrtcCompileProgram",
    "nvrtcCreateProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetCUBIN",
    "nvrtcGetCUBINSize",
    "nvrtcGetErrorString",
    "nvrtcGetProgramLog",
    "nvrtcGetProgramLogSize",
    "nvrtcVersion",
];

const CUBLAS_LT_SYMBOLS: &[&str] = &[
    "cublasLtCreate",
    "cublasLtDestroy",
    "cublasLtGetVersion",
    "cublasLtMatmul",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutDestroy",
];

const NCCL_SYMBOLS: &[&str] = &["ncclGetVersion"];

impl Kind {
    /// The functions without which a library is refused: all that this program can ask of it.
    pub fn symbols(self) -> &'static [&'static str] {
        match self {
            Kind::Driver => DRIVER_SYMBOLS,
            Kind::Nvrtc => NVRTC_SYMBOLS,
            Kind::CublasLt => CUBLAS_LT_SYMBOLS,
            Kind::Nccl => NCCL_SYMBOLS,
        }
    }

    /// The names by which cudarc asks the loader, in its order.
    fn names(self) -> Vec<String> {
        match self {
            Kind::Nccl => ["libnccl.so.2", "libnccl.so"].map(str::to_owned).into(),
            _ => cudarc::get_lib_name_candidates(self.stem()),
        }
    }
}

/// Opens the file at `path`.
///
/// # Errors
/// What is wrong with it, as half a sentence that goes on after its path.
pub(super) fn open(kind: Kind, path: &Path) -> Result<Opened, String> {
    // SAFETY: the file is called what NVIDIA's library is called and lies where NVIDIA's libraries lie. Its initialisers
    // are those that any program of the system would run by opening it.
    let handle = unsafe { Handle::new(path) }.map_err(|error| format!("cannot be loaded: {}", reason(&error, path)))?;
    examine(kind, handle, path)
}

/// Opens what the loader gives for the first name that it knows, as cudarc will; none if it knows none of them.
///
/// # Errors
/// As [`open`], with the file as far as it can be found out.
pub(super) fn open_by_name(kind: Kind) -> Option<Result<Opened, (PathBuf, String)>> {
    let (name, handle) = kind.names().into_iter().find_map(|name| {
        // SAFETY: as in `open`, and the loader chooses the file.
        let handle = unsafe { Handle::new(&name) }.ok()?;
        Some((name, handle))
    })?;
    let known = kind.symbols().iter().find_map(|symbol| address(&handle, symbol));
    let path = known.and_then(file_of).unwrap_or_else(|| name.into());
    Some(examine(kind, handle, &path).map_err(|why| (path, why)))
}

fn examine(kind: Kind, handle: Handle, path: &Path) -> Result<Opened, String> {
    if let Some(missing) = kind.symbols().iter().find(|symbol| address(&handle, symbol).is_none()) {
        return Err(format!("has no {missing}: it is too old, or damaged"));
    }
    match version(kind, &handle) {
        Some(version) => Ok(Opened {
            handle,
            path: path.to_owned(),
            version,
        }),
        None => Err("does not say its version: it is a stub for linkers, or damaged".to_owned()),
    }
}

impl Opened {
    /// Keeps the library open until the process ends: cudarc's own request for it then finds it.
    ///
    /// # Errors
    /// cudarc would find another file, which is named. Nothing is kept then.
    pub(super) fn keep(self, kind: Kind) -> Result<(), String> {
        let address = |handle: &Handle| address(handle, kind.symbols()[0]).map(|symbol| symbol as usize);
        // SAFETY: as in `open_by_name`.
        let theirs = kind
            .names()
            .into_iter()
            .find_map(|name| unsafe { Handle::new(name) }.ok());
        let same = theirs
            .as_ref()
            .is_some_and(|theirs| address(theirs) == address(&self.handle));
        if same {
            std::mem::forget(self.handle);
            return Ok(());
        }
        Err(match theirs {
            Some(theirs) => {
                let symbol = self::address(&theirs, kind.symbols()[0]);
                let path = symbol.and_then(file_of).unwrap_or_else(|| kind.stem().into());
                format!("is hidden by {}, which the system's loader finds first", path.display())
            }
            None => "calls itself by a name that is none of NVIDIA's".to_owned(),
        })
    }
}

fn address(handle: &Handle, symbol: &str) -> Option<*const c_void> {
    // SAFETY: only the address is used here; whoever calls it gives it its type.
    let found = unsafe { handle.get::<*const c_void>(symbol.as_bytes()) }.ok()?;
    Some(found.into_raw().cast_const()).filter(|address| !address.is_null())
}

/// The file from which an address was mapped.
fn file_of(address: *const c_void) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let inside = (number(from)?..number(to)?).contains(&(address as usize));
        // Permissions, offset, device and inode stand before the path.
        let path = rest.find('/').filter(|_| inside)?;
        Some(PathBuf::from(&rest[path..]))
    })
}

/// What a library says of its version; none if the call fails.
fn version(kind: Kind, handle: &Handle) -> Option<Version> {
    type One = unsafe extern "C" fn(*mut c_int) -> c_int;
    type Two = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
    type Size = unsafe extern "C" fn() -> usize;
    let (mut major, mut minor) = (0, 0);
    let one = |name: &str| {
        let mut number = 0;
        // SAFETY: both `cuDriverGetVersion` and `ncclGetVersion` write one number and need no initialisation.
        let status = unsafe { handle.get::<One>(name.as_bytes()).ok()?(&raw mut number) };
        usize::try_from(number).ok().filter(|_| status == 0)
    };
    let (major, minor, patch) = match kind {
        Kind::Driver => one("cuDriverGetVersion").map(|n| (n / 1000, n % 1000 / 10, 0))?,
        Kind::Nvrtc => {
            // SAFETY: `nvrtcVersion` writes two numbers and needs no initialisation.
            let status = unsafe { handle.get::<Two>(b"nvrtcVersion").ok()?(&raw mut major, &raw mut minor) };
            (status == 0).then_some((major as usize, minor as usize, 0))?
        }
        Kind::CublasLt => {
            // SAFETY: `cublasLtGetVersion` takes nothing and returns a number.
            let number = unsafe { handle.get::<Size>(b"cublasLtGetVersion").ok()?() };
            parts(number, 100_000)
        }
        Kind::Nccl => parts(one("ncclGetVersion")?, 10_000),
    };
    let version = Version { major, minor, patch };
    Some(version).filter(|version| version.major > 0)
}

/// A number such as 131000 for 13.10.0. Below `new` it is of the time when the major part had one digit less.
fn parts(number: usize, new: usize) -> (usize, usize, usize) {
    let major = if number < new { 1000 } else { 10_000 };
    (number / major, number % major / 100, number % 100)
}

/// The loader's words, without the path that the sentence already has.
fn reason(error: &libloading::Error, path: &Path) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = source.to_string();
    }
    let path = path.display().to_string();
    let text = text
        .strip_prefix(&path)
        .map_or(text.as_str(), |rest| rest.trim_start_matches(": "));
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_old_and_new_versions_are_read() {
        assert_eq!(parts(131_000, 100_000), (13, 10, 0));
        assert_eq!(parts(120_804, 100_000), (12, 8, 4));
        assert_eq!(parts(11_601, 100_000), (11, 6, 1));
        assert_eq!(parts(22_803, 10_000), (2, 28, 3));
        assert_eq!(parts(2_708, 10_000), (2, 7, 8));
    }

    #[test]
    fn files_that_are_no_libraries_are_told_apart() {
        let place = tempfile::tempdir().unwrap();
        for (name, contents, about) in [
            ("empty", &b""[..], "cannot be loaded"),
            ("text", b"INPUT(libcuda.so.1)\n", "cannot be loaded"),
            ("half", b"\x7fELF\x02\x01\x01", "cannot be loaded"),
        ] {
            let path = place.path().join(name);
            std::fs::write(&path, contents).unwrap();
            let sentence = open(Kind::Driver, &path).unwrap_err();
            assert!(sentence.contains(about) && !sentence.contains(name), "{sentence}");
        }
        let sentence = open(Kind::Driver, Path::new("/no/such/file")).unwrap_err();
        assert!(sentence.contains("cannot be loaded"), "{sentence}");
    }

    #[test]
    fn a_library_of_another_processor_is_refused() {
        let place = tempfile::tempdir().unwrap();
        // This program itself, with the machine's number in its header replaced.
        let mut program = vec![0u8; 64];
        program[..20].copy_from_slice(&[
            0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0xf7, 0,
        ]);
        let path = place.path().join("libcuda.so.1");
        std::fs::write(&path, program).unwrap();
        let sentence = open(Kind::Driver, &path).unwrap_err();
        assert!(sentence.contains("cannot be loaded"), "{sentence}");
    }

    #[test]
    fn another_library_of_that_name_is_refused() {
        // The C library is there wherever these tests run.
        let handle = Handle::this();
        let path = address(&handle, "malloc").and_then(file_of).unwrap();
        let sentence = open(Kind::CublasLt, &path).unwrap_err();
        assert!(sentence.contains("has no cublasLtCreate"), "{sentence}");
    }
}
