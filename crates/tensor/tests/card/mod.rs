//! The simulated card: three C++ libraries that stand where the driver, NVRTC and cuBLASLt would, built when a test first
//! needs them. They run the very kernels of `src/cuda/source`, compiled as C++, so that the whole GPU backend is
//! tested on a machine that has none. A C++ compiler (`c++`, or what `CXX` names) is needed.
//!
//! What it cannot show: that the driver takes our machine code, speed, and races between blocks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the libraries: what `FERROCHAT_CUDA_LIBRARIES` must name.
pub fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build)
}

/// Points this process to the simulated card. Called before anything asks for a GPU.
#[allow(dead_code, reason = "some tests point processes of their own to it")]
pub fn install() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // SAFETY: tests read the environment through `std` alone, which takes a lock.
        unsafe { std::env::set_var("FERROCHAT_CUDA_LIBRARIES", libraries()) };
    });
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.ancestors().find(|folder| folder.join("crates/tensor").is_dir());
    let tensor = root.expect("a test of this workspace").join("crates/tensor");
    let (card, source) = (tensor.join("tests/card"), tensor.join("src/cuda/source"));
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());

    let mut inputs = files(&card);
    inputs.extend(files(&source));
    let mut hasher = DefaultHasher::new();
    compiler.hash(&mut hasher);
    for input in &inputs {
        input.hash(&mut hasher);
        std::fs::read(input).expect("a source of the card").hash(&mut hasher);
    }
    let cache = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tensor.join("../../target"), PathBuf::from);
    let folder = cache.join("tmp").join(format!("card-{:016x}", hasher.finish()));
    if folder.join("complete").exists() {
        return folder;
    }
    // Another process may be building too: each builds for itself, and the first to end wins.
    let work = cache.join("tmp").join(format!("card-{}", std::process::id()));
    std::fs::create_dir_all(&work).expect("a folder for the simulated card");
    let compile = |args: &[&str]| {
        let output = Command::new(&compiler)
            .args(["-std=c++17", "-O2", "-fPIC", "-w"])
            .args(args)
            .output();
        let output =
            output.unwrap_or_else(|error| panic!("tests need a C++ compiler, and {compiler} does not start: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let mut objects: Vec<String> = Vec::new();
    let kernels = inputs
        .iter()
        .filter(|input| input.extension().is_some_and(|extension| extension == "cu"));
    let variants: Vec<_> = kernels.flat_map(|kernel| [(kernel, "BF16"), (kernel, "F32")]).collect();
    for (kernel, element) in &variants {
        let name = kernel.file_stem().expect("a file").to_str().expect("a name in UTF-8");
        objects.push(text(&work.join(format!("{name}-{element}.o"))));
    }
    // Every file of kernels for each element type, on all cores.
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((kernel, element)) = variants.get(index) else {
                        break;
                    };
                    let name = kernel.file_stem().expect("a file").to_str().expect("a name in UTF-8");
                    compile(&[
                        "-c",
                        "-O3",
                        &format!("-DELEMENT_{element}"),
                        &format!("-DSHIM_FILE=\"{name}\""),
                        &format!("-DCOMMON=\"{}\"", text(&source.join("common.cuh"))),
                        &format!("-DSOURCE=\"{}\"", text(kernel)),
                        &text(&card.join("kernels.cpp")),
                        "-o",
                        &objects[index],
                    ]);
                }
            });
        }
    });
    let library = |name: &str, sources: &[String]| {
        let path = text(&work.join(name));
        // The first name that is asked of the loader, so that no real driver of the machine is found before this one.
        let first = name.split_inclusive(".so").next().expect("a name of a library");
        let mut args = vec!["-shared".to_owned(), format!("-Wl,-soname,{first}"), "-o".into(), path];
        args.extend_from_slice(sources);
        compile(&args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let driver = ["fibres.cpp", "driver.cpp"].map(|name| text(&card.join(name)));
    library("libcuda.so.1", &[&driver[..], &objects[..]].concat());
    library("libnvrtc.so.13", &[text(&card.join("nvrtc.cpp"))]);
    library("libcublasLt.so.13", &["-O3".into(), text(&card.join("blas.cpp"))]);
    for object in objects {
        std::fs::remove_file(object).expect("an object file of our own");
    }
    std::fs::write(work.join("complete"), "").expect("a mark that all is there");
    if std::fs::rename(&work, &folder).is_err() {
        assert!(
            folder.join("complete").exists(),
            "the simulated card cannot be put into {}",
            folder.display()
        );
        let _ = std::fs::remove_dir_all(&work);
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of the sources");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
