//! Machine code on disk: files that appear whole or not at all, and whose damage is seen. Any number of processes may
//! use a folder at once. Knows nothing of what the bytes mean.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the checksum at the end of a file.
const TAIL: usize = 8;

/// FNV-1a (Fowler, Noll, Vo): tells versions apart and damage from none; nobody is kept out by it.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Machine code kept by [`keep`], if it is there and whole: the driver believes what an image says of its own size.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut code = fs::read(path).ok()?;
    let end = code.len().checked_sub(TAIL)?;
    let whole = end > 0 && code[end..] == checksum(&code[..end]).to_le_bytes();
    code.truncate(end);
    whole.then_some(code)
}

/// Writes machine code and its checksum to a file that appears whole or not at all, in place of one that may be there.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn keep(folder: &Path, name: &str, code: &[u8]) -> io::Result<()> {
    // Several threads of several processes may keep the same file.
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    fs::create_dir_all(folder)?;
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}-{number}", std::process::id()));
    fs::write(&temporary, [code, &checksum(code).to_le_bytes()].concat())
        .and_then(|()| fs::rename(&temporary, folder.join(name)))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &[u8] = b"machine code of some length";

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn what_is_kept_is_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        keep(&folder, "x.cubin", CODE).unwrap();
        assert_eq!(read(&folder.join("x.cubin")).as_deref(), Some(CODE));
        keep(&folder, "x.cubin", b"other").unwrap();
        assert_eq!(read(&folder.join("x.cubin")).as_deref(), Some(&b"other"[..]));
        assert_eq!(names(&folder), ["x.cubin"]);
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.cubin");
        keep(place.path(), "x.cubin", CODE).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), None, "cut off after {length} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            assert_eq!(read(&path), None, "bit {bit} flipped");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(read(&path), None);
        // Nothing, with the checksum of nothing.
        fs::write(&path, checksum(b"").to_le_bytes()).unwrap();
        assert_eq!(read(&path), None);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("x.cubin")).unwrap();
        assert!(keep(place.path(), "x.cubin", CODE).is_err());
        assert_eq!(names(place.path()), ["x.cubin"]);
        assert_eq!(read(&place.path().join("x.cubin")), None);
        fs::write(place.path().join("file"), "").unwrap();
        assert!(keep(&place.path().join("file"), "x.cubin", CODE).is_err());
        assert!(keep(&place.path().join("file/below"), "x.cubin", CODE).is_err());
    }

    #[test]
    fn many_may_write_and_read_at_once() {
        let place = tempfile::tempdir().unwrap();
        let code: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        keep(place.path(), "x.cubin", &code).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        keep(place.path(), "x.cubin", &code).unwrap();
                        assert!(read(&place.path().join("x.cubin")).is_some_and(|read| read == code));
                    }
                });
            }
        });
        assert_eq!(names(place.path()), ["x.cubin"]);
    }
}
