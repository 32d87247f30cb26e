//! Compiled kernels on disk, on the simulated card: who compiles, who reads, and what becomes of damage. Each user of a
//! card is a process of its own, as in life.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used)]

mod card;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ferrochat_tensor::cuda::{CudaOptions, SOURCES, architectures};
use ferrochat_tensor::{DType, Device, TensorError};

/// Folders of kernels of a child, separated as in `PATH`.
const FOLDERS: &str = "TEST_KERNEL_FOLDERS";
/// Kernels of `memory.cu`: what a child uses.
const SOURCE: &str = "memory";

/// What a user of a card does. Not a test by itself: the others start it.
#[test]
#[ignore = "started by the other tests"]
fn user_of_a_card() {
    let Some(folders) = std::env::var_os(FOLDERS) else {
        return;
    };
    let options = CudaOptions {
        dtype: Some(DType::F32),
        // An empty list is one empty path.
        kernels: std::env::split_paths(&folders)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect(),
        ..CudaOptions::default()
    };
    let work = || -> Result<(), TensorError> {
        let device = Device::cuda(&options)?;
        let ones = device.master([3, 5]);
        ones.fill(1.0);
        assert_eq!(ones.download(), [1.0; 15]);
        Ok(())
    };
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(*payload.downcast::<TensorError>().expect("a sentence")));
    match result {
        Ok(()) => println!("[worked]"),
        Err(error) => println!("[{error}]"),
    }
}

/// A place for a test: folders of kernels and a count of compilations.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, folders: &[&Path], libraries: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "user_of_a_card", "--ignored", "--nocapture"])
            .env(FOLDERS, std::env::join_paths(folders).unwrap())
            .env("FERROCHAT_CUDA_LIBRARIES", libraries)
            .env("SIMULATED_COMPILATIONS", self.path("compilations"))
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn start(&self, folders: &[&Path]) -> Child {
        self.command(folders, card::libraries(), &[]).spawn().unwrap()
    }

    /// A process that uses the card: what it says in the end.
    fn user(&self, folders: &[&Path], settings: &[(&str, &str)]) -> String {
        last_word(&self.command(folders, card::libraries(), settings).output().unwrap())
    }

    fn compilations(&self) -> usize {
        fs::read_to_string(self.path("compilations")).map_or(0, |text| text.lines().count())
    }

    fn kernels(&self) -> PathBuf {
        self.path("kernels")
    }
}

fn last_word(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']'));
    let (said, _) = said.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    said.to_owned()
}

fn file(dtype: DType, architecture: &str) -> String {
    let source = SOURCES.iter().find(|source| source.name == SOURCE).unwrap();
    source.file_name(dtype, architecture)
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn one_compiles_and_all_others_read() {
    let place = Place::new();
    let kernels = place.kernels();
    for _ in 0..3 {
        assert_eq!(place.user(&[&kernels], &[]), "worked");
        assert_eq!(place.compilations(), 1);
    }
    assert_eq!(files_in(&kernels), [file(DType::F32, "sm_80")]);
    // Another card is another matter.
    assert_eq!(place.user(&[&kernels], &[("SIMULATED_CAPABILITY", "90")]), "worked");
    assert_eq!(place.compilations(), 2);
    // Without a folder everyone compiles.
    assert_eq!(place.user(&[], &[]), "worked");
    assert_eq!(place.compilations(), 3);
}

#[test]
fn damage_is_mended() {
    let place = Place::new();
    let kernels = place.kernels();
    assert_eq!(place.user(&[&kernels], &[]), "worked");
    let path = kernels.join(file(DType::F32, "sm_80"));
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    let damaged: [&[u8]; 4] = [b"", &whole[..whole.len() / 2], &whole[..whole.len() - 1], &flipped];
    for (count, bytes) in damaged.into_iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert_eq!(place.user(&[&kernels], &[]), "worked");
        assert_eq!(place.compilations(), count + 2);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    // Whole, but nothing that the driver takes.
    ferrochat_tensor::cuda::keep(&kernels, &file(DType::F32, "sm_80"), b"no machine code").unwrap();
    assert_eq!(place.user(&[&kernels], &[]), "worked");
    assert_eq!((place.compilations(), fs::read(&path).unwrap()), (6, whole));
}

#[test]
fn what_cannot_be_kept_is_made_every_time() {
    let place = Place::new();
    let kernels = place.kernels();
    // A folder in the place of the file, and a file in the place of the folder.
    fs::create_dir_all(kernels.join(file(DType::F32, "sm_80"))).unwrap();
    fs::write(place.path("file"), "").unwrap();
    for (count, folder) in [&kernels, &kernels, &place.path("file"), &place.path("file/below")]
        .into_iter()
        .enumerate()
    {
        assert_eq!(place.user(&[folder], &[]), "worked");
        assert_eq!(place.compilations(), count + 1);
    }
    assert_eq!(files_in(&kernels).len(), 1);
}

#[test]
fn folders_are_looked_through_in_order_and_the_first_gets_what_is_new() {
    let place = Place::new();
    let (first, second) = (place.path("first"), place.path("second"));
    assert_eq!(place.user(&[&second], &[]), "worked");
    assert_eq!(place.user(&[&first, &second], &[]), "worked");
    assert_eq!((place.compilations(), first.exists()), (1, false));
    fs::remove_dir_all(&second).unwrap();
    assert_eq!(place.user(&[&first, &second], &[]), "worked");
    assert_eq!((place.compilations(), second.exists()), (2, false));
    assert_eq!(files_in(&first), [file(DType::F32, "sm_80")]);
}

#[test]
fn many_processes_may_begin_at_once() {
    let place = Place::new();
    let kernels = place.kernels();
    let users: Vec<Child> = (0..6).map(|_| place.start(&[&kernels])).collect();
    for user in users {
        assert_eq!(last_word(&user.wait_with_output().unwrap()), "worked");
    }
    assert!((1..=6).contains(&place.compilations()));
    assert_eq!(files_in(&kernels), [file(DType::F32, "sm_80")]);
    let compilations = place.compilations();
    assert_eq!(place.user(&[&kernels], &[]), "worked");
    assert_eq!(place.compilations(), compilations);
}

/// The simulated libraries without the compiler. The caller sees to it that no other is found.
fn without_nvrtc(place: &Place) -> PathBuf {
    let folder = place.path("libraries");
    fs::create_dir_all(&folder).unwrap();
    for name in ["libcuda.so.1", "libcublasLt.so.13"] {
        std::os::unix::fs::symlink(card::libraries().join(name), folder.join(name)).unwrap();
    }
    folder
}

#[test]
fn machine_code_of_the_generation_needs_no_compiler() {
    let place = Place::new();
    let kernels = place.kernels();
    assert_eq!(place.user(&[&kernels], &[("SIMULATED_CAPABILITY", "80")]), "worked");
    assert_eq!(architectures((8, 9)), ["sm_89", "sm_80"]);
    let libraries = without_nvrtc(&place);
    let user = |capability: &str| {
        let settings = [
            ("SIMULATED_CAPABILITY", capability),
            ("HOME", "/nowhere"),
            ("PATH", "/nowhere"),
        ];
        let mut command = place.command(&[&kernels], &libraries, &settings);
        for name in [
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "CUDA_HOME",
            "CUDA_PATH",
            "LD_LIBRARY_PATH",
        ] {
            command.env_remove(name);
        }
        last_word(&command.output().unwrap())
    };
    assert_eq!(user("89"), "worked");
    assert_eq!(place.compilations(), 1);
    // A card of a later generation has nothing to run. (A toolkit that is installed on this machine would help.)
    let said = user("120");
    if said != "worked" {
        assert!(said.contains("no compiled kernels for sm_120, and NVRTC"), "{said}");
        assert!(said.contains("pip install nvidia-cuda-nvrtc"), "{said}");
    }
}

#[test]
fn a_compiler_older_than_the_card_is_a_sentence() {
    let place = Place::new();
    let settings = [("SIMULATED_CAPABILITY", "120"), ("SIMULATED_NVRTC", "100")];
    let said = place.user(&[&place.kernels()], &settings);
    assert!(
        said.contains("NVRTC 13.0 does not know sm_120; pip install nvidia-cuda-nvrtc"),
        "{said}"
    );
    assert!(!said.contains('\n') && place.compilations() == 0, "{said}");
    // Code that came with the program is used all the same.
    assert_eq!(
        place.user(&[&place.kernels()], &[("SIMULATED_CAPABILITY", "120")]),
        "worked"
    );
    assert_eq!(place.user(&[&place.kernels()], &settings), "worked");
}

#[test]
fn a_kernel_that_fails_is_a_sentence() {
    let place = Place::new();
    // The panic goes by the device and its tensors, whose memory nobody takes back any more.
    let sentence = place.user(&[&place.kernels()], &[("SIMULATED_FAILURE", "1")]);
    assert!(
        sentence.contains("copying from the GPU") && sentence.contains("CUDA_LAUNCH_BLOCKING"),
        "{sentence}"
    );
}
