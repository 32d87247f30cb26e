//! Searches among folders that look like NVIDIA's, with libraries made on the spot.

use super::*;

/// Folders that hold nothing, and no system behind them.
fn places(folders: &[&Path]) -> Places {
    Places {
        toolkits: folders.iter().map(|folder| (*folder).to_owned()).collect(),
        ..Places::default()
    }
}

fn version(major: usize, minor: usize) -> Version {
    Version { major, minor, patch: 0 }
}

/// Makes a library of this name that has these C functions. Where Rust links, there is a `cc`.
fn library(folder: &Path, soname: &str, functions: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let source = folder.join("source.c");
    std::fs::write(&source, functions).unwrap();
    let made = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(folder.join(soname))
        .arg(format!("-Wl,-soname,{soname}"))
        .arg(&source)
        .status()
        .unwrap();
    assert!(made.success());
}

/// All symbols of a kind as functions that do nothing, but for those that are given.
fn functions(kind: Kind, given: &str) -> String {
    let empty = kind.symbols().iter().filter(|symbol| !given.contains(**symbol));
    empty.fold(given.to_owned(), |text, symbol| {
        text + "int " + symbol + "(void) { return 0; }\n"
    })
}

#[test]
fn what_is_nowhere_is_one_sentence_that_says_how_to_get_it() {
    for (kind, words) in [
        (Kind::Driver, ["libcuda.so.1", "install the current driver"]),
        (Kind::Nvrtc, ["libnvrtc.so", "pip install nvidia-cuda-nvrtc into"]),
        (Kind::CublasLt, ["libcublasLt.so", "pip install nvidia-cublas into"]),
        (Kind::Nccl, ["libnccl.so.2", "pip install nvidia-nccl-cu13 into"]),
    ] {
        let finding = search(kind, &Places::default(), None);
        let error = finding.usable().unwrap_err();
        assert!(!error.found && finding.path.is_none());
        let sentence = error.to_string();
        assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
    }
}

#[test]
fn packages_are_of_the_drivers_generation() {
    let sentence = |kind| search(kind, &Places::default(), Some(version(12, 4))).problem.unwrap();
    assert!(sentence(Kind::Nvrtc).contains("nvidia-cuda-nvrtc-cu12 "));
    assert!(sentence(Kind::CublasLt).contains("nvidia-cublas-cu12 "));
    assert!(sentence(Kind::Nccl).contains("nvidia-nccl-cu12 "));
    assert_eq!(Kind::Nvrtc.file_names(Some(version(12, 4)))[0], "libnvrtc.so.12");
    assert_eq!(Kind::Nvrtc.file_names(Some(version(13, 0)))[0], "libnvrtc.so.13");
}

#[test]
fn files_that_cannot_be_loaded_are_named() {
    let place = tempfile::tempdir().unwrap();
    for (kind, name) in [
        (Kind::Driver, "libcuda.so.1"),
        (Kind::Nvrtc, "libnvrtc.so.13"),
        (Kind::CublasLt, "libcublasLt.so.12"),
        (Kind::Nccl, "libnccl.so.2"),
    ] {
        let file = place.path().join(name);
        std::fs::write(&file, "this is no library").unwrap();
        let places = Places {
            first: Some(place.path().to_owned()),
            ..Places::default()
        };
        let finding = search(kind, &places, None);
        let error = finding.usable().unwrap_err();
        assert!(error.found);
        let sentence = error.to_string();
        let file = file.to_str().unwrap();
        assert!(
            sentence.contains("cannot be loaded") && sentence.matches(file).count() == 1,
            "{sentence}"
        );
        assert_eq!(sentence.lines().count(), 1);
    }
}

#[test]
fn libraries_that_are_too_old_or_of_another_generation_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let lib = place.path().join("lib64");
    let old = functions(
        Kind::Nvrtc,
        "int nvrtcVersion(int* a, int* b) { *a = 11; *b = 8; return 0; }\n",
    );
    let new = functions(
        Kind::CublasLt,
        "unsigned long cublasLtGetVersion(void) { return 130200; }\n",
    );
    let stub = functions(
        Kind::Driver,
        "int cuDriverGetVersion(int* a) { *a = 13000; return 34; }\n",
    );
    library(&lib, "libnvrtc.so", &old);
    library(&lib, "libcublasLt.so.13", &new);
    library(&lib, "libcuda.so.1", &stub);
    let sentence = |kind, driver| {
        search(kind, &places(&[place.path()]), driver)
            .problem
            .unwrap_or_default()
    };
    let nvrtc = sentence(Kind::Nvrtc, None);
    assert!(nvrtc.contains("is of CUDA 11.8 and 12.0 or later is needed"), "{nvrtc}");
    let blas = sentence(Kind::CublasLt, Some(version(12, 6)));
    assert!(blas.contains("is of CUDA 13.2 and the driver of CUDA 12.6"), "{blas}");
    assert!(blas.contains("pip install nvidia-cublas-cu12"), "{blas}");
    let first = Places {
        first: Some(lib),
        ..Places::default()
    };
    let driver = search(Kind::Driver, &first, None).problem.unwrap();
    assert!(driver.contains("does not say its version"), "{driver}");
}

#[test]
fn a_library_with_a_symbol_missing_is_refused() {
    let place = tempfile::tempdir().unwrap();
    library(
        &place.path().join("lib"),
        "libnvrtc.so",
        "int nvrtcVersion(int* a, int* b) { return 0; }\n",
    );
    let sentence = search(Kind::Nvrtc, &places(&[place.path()]), None).problem.unwrap();
    assert!(sentence.contains("has no nvrtcCompileProgram"), "{sentence}");
}

#[test]
fn the_first_that_fits_is_kept_for_whoever_asks_by_name() {
    let place = tempfile::tempdir().unwrap();
    let (damaged, whole) = (place.path().join("damaged/lib"), place.path().join("whole/lib"));
    let text = functions(Kind::Nccl, "int ncclGetVersion(int* a) { *a = 22803; return 0; }\n");
    library(&whole, "libnccl.so.2", &text);
    std::fs::create_dir_all(&damaged).unwrap();
    std::fs::write(damaged.join("libnccl.so.2"), "").unwrap();
    let roots = places(&[&place.path().join("damaged"), &place.path().join("whole")]);
    let finding = search(Kind::Nccl, &roots, Some(version(13, 0)));
    assert!(finding.is_usable(), "{finding:?}");
    assert_eq!(finding.path, Some(whole.join("libnccl.so.2")));
    assert_eq!(finding.version.unwrap().to_string(), "2.28.3");
    let note = finding.note.unwrap();
    assert!(
        note.contains("damaged") && note.contains("was passed over: it cannot be loaded"),
        "{note}"
    );
    let by_name = open::open_by_name(Kind::Nccl).unwrap().unwrap();
    assert_eq!(by_name.path, whole.join("libnccl.so.2").canonicalize().unwrap());
    // Another of that name is hidden by the first from now on.
    let text = text.replace("22803", "22903");
    let other = place.path().join("other");
    library(&other.join("lib"), "libnccl.so.2", &text);
    let hidden = open::open(Kind::Nccl, &other.join("lib/libnccl.so.2")).unwrap();
    let why = hidden.keep(Kind::Nccl).unwrap_err();
    assert!(why.contains("is hidden by") && why.contains("whole"), "{why}");
}

#[test]
fn a_library_that_calls_itself_otherwise_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let lib = place.path().join("lib");
    let text = functions(
        Kind::CublasLt,
        "unsigned long cublasLtGetVersion(void) { return 120804; }\n",
    );
    library(&lib, "libother.so", &text);
    std::fs::rename(lib.join("libother.so"), lib.join("libcublasLt.so.12")).unwrap();
    let finding = search(Kind::CublasLt, &places(&[place.path()]), None);
    // Unless this machine has one, which the loader then finds first.
    let sentence = finding.problem.unwrap();
    assert!(
        sentence.contains("calls itself") || sentence.contains("is hidden by"),
        "{sentence}"
    );
}

#[test]
fn a_compiler_newer_than_the_driver_is_noted() {
    let note = |nvrtc, driver| note(Kind::Nvrtc, nvrtc, Some(driver));
    assert_eq!(note(version(13, 0), version(13, 0)), None);
    assert!(note(version(13, 5), version(13, 0)).unwrap().contains("is fine"));
    let sentence = note(version(13, 5), version(12, 4)).unwrap();
    assert!(sentence.contains("nvidia-cuda-nvrtc-cu12"), "{sentence}");
    assert_eq!(super::note(Kind::CublasLt, version(13, 5), Some(version(13, 0))), None);
}

#[test]
fn searching_twice_gives_the_same() {
    for ready in [load_driver, load, nvrtc] {
        let sentence = |result: Result<(), LibraryError>| result.err().map(|error| error.to_string());
        assert_eq!(sentence(ready()), sentence(ready()));
    }
    assert!(load_driver().is_ok() || load().is_err());
}
