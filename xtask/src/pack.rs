//! `cargo xtask pack`: the repository as one file, to ask a model about. Sources and documents that git tracks;
//! no fixtures, no lock file, no recorded runs. Knows git and files, nothing of what they say.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Usage;

/// Kinds of files that are text to read.
const TEXT: [&str; 15] = [
    "css", "cu", "h", "html", "js", "json", "md", "patch", "py", "rs", "sh", "toml", "txt", "yaml", "yml",
];
/// Text without a kind.
const NAMES: [&str; 3] = ["LICENSE", ".gitignore", "run"];
/// Folders whose files are data or results.
const NOT_SOURCES: [&str; 3] = ["fixtures", "runs", "target"];
/// Bytes of a token of source code, roughly.
const BYTES_PER_TOKEN: f64 = 3.5;

/// Write the repository's sources and documents as one file
#[derive(clap::Args)]
pub struct Args {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "target/ferrochat-packed.md")]
    output: PathBuf,
}

/// What was packed.
#[derive(Debug, PartialEq, Eq)]
struct Packed {
    text: String,
    files: usize,
}

/// Packs the repository of the current folder.
pub fn run(args: &Args) -> Result<()> {
    let root = git(Path::new("."), &["rev-parse", "--show-toplevel"])?;
    let root = PathBuf::from(root.trim_end_matches('\n'));
    let packed = pack(&root)?;
    let output = if args.output.is_relative() {
        root.join(&args.output)
    } else {
        args.output.clone()
    };
    let failed = || format!("cannot write {}", output.display());
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(&output, &packed.text).with_context(failed)?;
    println!(
        "{}: {} files, {} bytes, {} lines, about {:.0} thousand tokens",
        output.display(),
        packed.files,
        packed.text.len(),
        packed.text.lines().count(),
        packed.text.len() as f64 / BYTES_PER_TOKEN / 1e3
    );
    Ok(())
}

fn pack(root: &Path) -> Result<Packed> {
    let listed = git(root, &["ls-files", "-z"])?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| is_source(path)).collect();
    // Documents first: they are the map of the rest.
    paths.sort_by_key(|path| (!is_document(path), path.matches('/').count() > 0, *path));
    let mut files = Vec::new();
    for path in paths {
        // Deleted but still tracked: not there to be read.
        if !root.join(path).is_file() {
            continue;
        }
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        // Whatever its name says, this is no text.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files.push((path, text));
    }
    if files.is_empty() {
        return Err(Usage(format!("git tracks no sources in {}", root.display())).into());
    }
    let mut text = String::from("# Packed repository\n\nEvery file begins with a line `FILE: path`.\n\n## Files\n\n");
    for (path, contents) in &files {
        push(
            &mut text,
            format_args!("- {path} ({} lines)\n", contents.lines().count()),
        );
    }
    for (path, contents) in &files {
        let longest = contents.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let kind = Path::new(path).extension().and_then(|kind| kind.to_str()).unwrap_or("");
        push(
            &mut text,
            format_args!("\nFILE: {path}\n{fence}{kind}\n{}\n{fence}\n", contents.trim_end()),
        );
    }
    Ok(Packed {
        text,
        files: files.len(),
    })
}

fn push(text: &mut String, part: std::fmt::Arguments) {
    text.write_fmt(part).expect("writing to a String cannot fail");
}

fn is_document(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "md")
}

fn is_source(path: &str) -> bool {
    let path = Path::new(path);
    let in_data = path
        .parent()
        .into_iter()
        .flat_map(Path::components)
        .any(|part| NOT_SOURCES.iter().any(|name| part.as_os_str() == *name));
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or("");
    !in_data && name != "Cargo.lock" && (TEXT.contains(&kind) || NAMES.contains(&name))
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .output()
        .context("cannot run git, which knows the files of the repository")?;
    if !output.status.success() {
        bail!(
            "git {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("a path of the repository is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, contents: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    #[test]
    fn sources_and_documents_are_packed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        git(root, &["init", "-q"]).unwrap();
        let tracked: [(&str, &[u8]); 9] = [
            ("README.md", b"# Read\n```sh\nrun\n```\n"),
            ("src/main.rs", b"fn main() {}\n"),
            ("LICENSE", b"MIT\n"),
            ("Cargo.lock", b"locked"),
            ("tests/fixtures/a.json", b"{\"fixture\": 1}"),
            ("docs/runs/a/report.md", b"a run"),
            ("model.safetensors", b"weights"),
            ("src/latin.rs", b"// \xe9"),
            ("src/gone.rs", b"gone"),
        ];
        for (path, contents) in tracked {
            write(root, path, contents);
        }
        git(root, &["add", "."]).unwrap();
        write(root, "src/untracked.rs", b"untracked");
        fs::remove_file(root.join("src/gone.rs")).unwrap();
        let packed = pack(root).unwrap();
        let expected = "# Packed repository\n\nEvery file begins with a line `FILE: path`.\n\n## Files\n\n\
            - README.md (4 lines)\n- LICENSE (1 lines)\n- src/main.rs (1 lines)\n\
            \nFILE: README.md\n````md\n# Read\n```sh\nrun\n```\n````\n\
            \nFILE: LICENSE\n```\nMIT\n```\n\
            \nFILE: src/main.rs\n```rs\nfn main() {}\n```\n";
        assert_eq!((packed.text.as_str(), packed.files), (expected, 3));
    }

    #[test]
    fn a_folder_without_a_repository_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", pack(folder.path()).unwrap_err());
        assert!(error.contains("git ls-files"), "{error}");
    }
}
