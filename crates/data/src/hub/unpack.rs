//! Archives: unpacked beside their place and moved there whole. Knows paths, never what is in the files.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::error::HubError;
use super::receipt::HIDDEN;

/// No archive of ours is longer when it is unpacked.
const MOST_BYTES: u64 = 4 << 30;

/// Unpacks `archive` into `root`. Its files lie in one folder, which appears whole.
pub(super) fn unpack(archive: &Path, root: &Path, witness: &str) -> Result<(), HubError> {
    let damaged = |reason: String| HubError::File {
        file: archive.display().to_string(),
        reason: format!("it cannot be unpacked: {reason}; remove it and fetch it again"),
    };
    let fail = |error| HubError::io(root, error);
    let folder = witness.split('/').next().unwrap_or(witness);
    let file = File::open(archive).map_err(|error| HubError::io(archive, error))?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
    let hidden = root.join(HIDDEN);
    let place = tempfile::Builder::new()
        .prefix(".unpacked-")
        .tempdir_in(&hidden)
        .map_err(|error| HubError::io(&hidden, error))?;
    let mut bytes = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|error| damaged(error.to_string()))?;
        let Some(name) = entry.enclosed_name() else {
            return Err(damaged(format!("{:?} leads out of it", entry.name())));
        };
        // What some systems put beside every file.
        if entry.is_dir() || name.starts_with("__MACOSX") || name.ends_with(".DS_Store") {
            continue;
        }
        if entry.is_symlink() || !name.starts_with(folder) {
            return Err(damaged(format!("{} is no file of {folder}/", name.display())));
        }
        bytes += entry.size();
        if bytes > MOST_BYTES {
            return Err(damaged(format!("it holds more than {} GiB", MOST_BYTES >> 30)));
        }
        let path = place.path().join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| HubError::io(parent, error))?;
        }
        let mut out = File::create(&path).map_err(|error| HubError::io(&path, error))?;
        // Reading checks the checksum that the archive has of each file.
        io::copy(&mut entry, &mut out).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                damaged(format!("{}: {error}", name.display()))
            }
            _ => HubError::io(&path, error),
        })?;
        out.sync_all().map_err(|error| HubError::io(&path, error))?;
    }
    if !place.path().join(witness).is_file() {
        return Err(damaged(format!("{witness} is not in it")));
    }
    let target = root.join(folder);
    if target.exists() {
        fs::rename(&target, place.path().join("before")).map_err(fail)?;
    }
    fs::rename(place.path().join(folder), &target).map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn archive(path: &Path, files: &[(&str, &[u8])]) {
        // Stored as it is, so that a test can find a byte to spoil.
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, contents) in files {
            zip.start_file(*name, options).unwrap();
            zip.write_all(contents).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn an_archive_appears_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        fs::create_dir(root.join(HIDDEN)).unwrap();
        let zip = root.join("b.zip");
        let core: (&str, &[u8]) = ("bundle/core.yaml", b"tasks");
        let big = vec![b'x'; 100_000];

        archive(&zip, &[core, ("bundle/a/b.jsonl", &big), ("__MACOSX/._x", b"")]);
        unpack(&zip, root, "bundle/core.yaml").unwrap();
        assert_eq!(fs::read(root.join("bundle/a/b.jsonl")).unwrap(), big);
        unpack(&zip, root, "bundle/core.yaml").unwrap();

        for (files, word) in [
            (vec![core, ("bundle/../../out", &b"x"[..])], "out"),
            (vec![core, ("elsewhere/x", b"x")], "elsewhere"),
            (vec![("bundle/other", &b"x"[..])], "core.yaml"),
        ] {
            archive(&zip, &files);
            let error = unpack(&zip, root, "bundle/core.yaml").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        archive(&zip, &[core, ("bundle/z", b"stored here")]);
        let mut bytes = fs::read(&zip).unwrap();
        let at = bytes.windows(5).position(|window| window == b"tasks").unwrap();
        bytes[at] ^= 1;
        fs::write(&zip, bytes).unwrap();
        assert!(unpack(&zip, root, "bundle/core.yaml").is_err());
        assert_eq!(fs::read(root.join("bundle/core.yaml")).unwrap(), b"tasks");
        assert!(!root.join("../out").exists());
        assert_eq!(fs::read_dir(root.join(HIDDEN)).unwrap().count(), 0);
    }
}
