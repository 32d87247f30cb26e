//! From a path to a list of files of one kind. This room knows names,
//! extensions and sizes; it must never know how a kind is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::corpus::{Kind, SourceFile};
use crate::error::DataError;

/// Endings of files in a folder that are taken as text: prose first, then the
/// source code people train small models on.
const TEXT_EXTENSIONS: &[&str] = &[
    "txt", "text", "md", "markdown", "rst", "tex", "org", "html", "htm", "css", "csv", "c", "cc", "cpp", "go", "h",
    "hpp", "java", "js", "py", "rs", "sh", "ts",
];
const JSONL_EXTENSIONS: &[&str] = &["jsonl", "ndjson"];
const PARQUET_EXTENSIONS: &[&str] = &["parquet"];

/// Folders nested deeper than this are not searched.
const MAX_DEPTH: usize = 32;

pub(crate) fn discover(path: &Path) -> Result<(Kind, Vec<SourceFile>), DataError> {
    let metadata = fs::metadata(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            DataError::Missing {
                path: path.to_path_buf(),
            }
        } else {
            DataError::io(path, error)
        }
    })?;
    if metadata.is_dir() {
        return folder(path);
    }
    if !metadata.is_file() {
        return Err(unsupported(path, "it is neither a file nor a folder"));
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let file = SourceFile {
        path: path.to_path_buf(),
        name,
        bytes: metadata.len(),
        memory: None,
    };
    if file.bytes == 0 {
        return Err(DataError::Empty {
            path: path.to_path_buf(),
        });
    }
    Ok((kind_of_file(path)?, vec![file]))
}

fn folder(root: &Path) -> Result<(Kind, Vec<SourceFile>), DataError> {
    let mut found = Vec::new();
    walk(root, root, 0, &mut found)?;
    for (extensions, kind) in [
        (PARQUET_EXTENSIONS, Kind::Parquet),
        (JSONL_EXTENSIONS, Kind::Jsonl),
        (TEXT_EXTENSIONS, Kind::TextFolder),
    ] {
        if found.iter().any(|file| has_extension(file, extensions)) {
            found.retain(|file| has_extension(file, extensions));
            found.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok((kind, found));
        }
    }
    let endings: BTreeSet<String> = found.iter().map(|file| extension(&file.path)).collect();
    let endings: Vec<String> = endings
        .into_iter()
        .take(8)
        .map(|ending| match ending.as_str() {
            "" => "files without an ending".to_owned(),
            ending => format!(".{ending}"),
        })
        .collect();
    Err(DataError::NothingInFolder {
        path: root.to_path_buf(),
        found: if endings.is_empty() {
            "but it holds no files".to_owned()
        } else {
            format!("found only {}", endings.join(", "))
        },
    })
}

/// Collects every visible file below `at`. Links to files are followed (model
/// hubs keep their caches that way), links to folders are not, so that no loop
/// can arise.
fn walk(root: &Path, at: &Path, depth: usize, found: &mut Vec<SourceFile>) -> Result<(), DataError> {
    let fail = |error| DataError::io(at, error);
    for entry in fs::read_dir(at).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(fail)?.is_dir() {
            if depth < MAX_DEPTH {
                walk(root, &path, depth + 1, found)?;
            }
            continue;
        }
        let metadata = fs::metadata(&path);
        // A link that leads nowhere is a file that cannot be read, and named when it is its turn.
        if metadata.as_ref().map_or(true, fs::Metadata::is_file) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            found.push(SourceFile {
                name: name.into_owned(),
                bytes: metadata.map_or(0, |metadata| metadata.len()),
                memory: None,
                path,
            });
        }
    }
    Ok(())
}

fn kind_of_file(path: &Path) -> Result<Kind, DataError> {
    let ending = extension(path);
    let ending = ending.as_str();
    if PARQUET_EXTENSIONS.contains(&ending) {
        return Ok(Kind::Parquet);
    }
    if JSONL_EXTENSIONS.contains(&ending) {
        return Ok(Kind::Jsonl);
    }
    if TEXT_EXTENSIONS.contains(&ending) {
        return Ok(Kind::TextFile);
    }
    match ending {
        "json" => {
            return Err(unsupported(
                path,
                "one JSON value is not read; give JSONL, one object with a text field per line",
            ));
        }
        "gz" | "zst" | "bz2" | "xz" | "zip" | "tar" | "7z" => {
            return Err(unsupported(path, "it is compressed; unpack it first"));
        }
        _ => {}
    }
    let mut head = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(64 << 10).read_to_end(&mut head))
        .map_err(|error| DataError::io(path, error))?;
    if head.starts_with(b"PAR1") {
        return Ok(Kind::Parquet);
    }
    let is_text = match std::str::from_utf8(&head) {
        Ok(_) => true,
        // The head may end inside a character.
        Err(error) => error.error_len().is_none(),
    };
    if is_text && !head.contains(&0) {
        Ok(Kind::TextFile)
    } else {
        Err(unsupported(
            path,
            "it is not UTF-8 text; give a text, JSONL or Parquet file, or a folder of them",
        ))
    }
}

fn unsupported(path: &Path, reason: &str) -> DataError {
    DataError::Unsupported {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    }
}

fn extension(path: &Path) -> String {
    path.extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default()
}

fn has_extension(file: &SourceFile, extensions: &[&str]) -> bool {
    extensions.contains(&extension(&file.path).as_str())
}
