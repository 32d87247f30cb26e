//! What a program's own root looks like: Python at the paths where it lies outside, and `/tmp`.
//!
//! Everything is worked out beforehand as C strings, because between `clone` and `execve` nothing may be allocated.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::python::Python;

/// A folder that is bound is bound with all that lies beneath.
#[derive(Debug)]
pub(super) struct Bind {
    /// Where it lies outside.
    pub source: CString,
    /// Where it will lie, relative to the root.
    pub target: CString,
    /// Whether it is a folder and no file.
    pub folder: bool,
}

/// Steps that build the root, in this order. Targets are relative to it.
#[derive(Debug)]
pub(super) struct Root {
    /// Folders to make, parents first.
    pub folders: Vec<CString>,
    /// Symbolic links to make: target, name.
    pub links: Vec<(CString, CString)>,
    /// What to bind, read-only.
    pub binds: Vec<Bind>,
}

impl Root {
    pub(super) fn of(python: &Python) -> Self {
        let mut wanted: BTreeSet<PathBuf> = python.paths.iter().cloned().collect();
        wanted.insert(python.program.clone());
        // Libraries are looked up under names that link to the files: their folders are needed whole. Landlock
        // narrows that down to the files.
        let folders = python.libraries.iter().filter_map(|library| library.parent());
        wanted.extend(folders.map(Path::to_path_buf));
        wanted.insert("/etc/ld.so.cache".into());
        wanted.retain(|path| path.exists());
        let binds: Vec<PathBuf> = wanted
            .iter()
            .filter(|path| !path.ancestors().skip(1).any(|above| wanted.contains(above)))
            .cloned()
            .collect();

        let mut links = BTreeMap::new();
        for name in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"] {
            follow(Path::new(name), &mut links);
        }
        if let Some(loader) = &python.loader {
            follow(loader, &mut links);
        }
        links.retain(|name, _| !binds.iter().any(|bind| name.starts_with(bind)));

        let mut folders = BTreeSet::from([PathBuf::from("/tmp")]);
        for path in binds.iter().chain(links.keys()) {
            folders.extend(path.ancestors().skip(1).map(Path::to_path_buf));
        }
        folders.extend(binds.iter().filter(|path| path.is_dir()).cloned());
        folders.remove(Path::new("/"));

        let binds = binds.iter().map(|path| Bind {
            source: c_string(path),
            target: relative(path),
            folder: path.is_dir(),
        });
        Self {
            folders: folders.iter().map(|path| relative(path)).collect(),
            links: links
                .iter()
                .map(|(name, target)| (c_string(target), relative(name)))
                .collect(),
            binds: binds.collect(),
        }
    }
}

/// Collects the symbolic links that a look-up of the path passes through.
fn follow(path: &Path, links: &mut BTreeMap<PathBuf, PathBuf>) {
    let mut path = path.to_path_buf();
    // As many links as the kernel follows.
    for _ in 0..40 {
        let mut at = PathBuf::new();
        let mut components = path.components();
        let mut next = None;
        for component in components.by_ref() {
            match component {
                Component::ParentDir => drop(at.pop()),
                component => at.push(component),
            }
            if let Ok(target) = fs::read_link(&at) {
                links.insert(at.clone(), target.clone());
                at.pop();
                next = Some(at.join(target));
                break;
            }
        }
        let Some(next) = next else { return };
        path = next.join(components.as_path());
    }
}

fn relative(path: &Path) -> CString {
    c_string(path.strip_prefix("/").unwrap_or(path))
}

pub(super) fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path that the system gave holds no zero")
}
