//! Landlock: which files a program may touch, and what for. Everything that is not named here is refused.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::python::Python;

/// The newest version of Landlock that is asked for. Older kernels do as much of it as they know.
const NEWEST: ABI = ABI::V6;

/// What a program may do in its folder: plain files and folders, no links, sockets, pipes or devices.
pub(super) fn in_folder() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
}

/// Rules that let Python read its own files and nothing else. A folder for the program comes in addition. `None` where
/// the kernel has no Landlock.
pub(super) fn rules(python: &Python, folder: Option<&Path>) -> Result<Option<OwnedFd>, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile.into();
    let list: BitFlags<AccessFs> = AccessFs::ReadDir.into();
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in &python.paths {
        if !path.is_dir() {
            rules = allow(rules, path, read)?;
            continue;
        }
        // Packages that were installed beside the standard library are somebody's, not Python's.
        rules = allow(rules, path, list)?;
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == "site-packages" || name == "dist-packages" {
                continue;
            }
            let folder = entry.path().is_dir();
            rules = allow(rules, &entry.path(), if folder { read | list } else { read })?;
        }
    }
    for library in &python.libraries {
        rules = allow(rules, library, read)?;
    }
    rules = allow(rules, Path::new("/etc/ld.so.cache"), read)?;
    rules = allow(rules, &python.program, read | AccessFs::Execute)?;
    if let Some(loader) = &python.loader {
        rules = allow(rules, loader, read | AccessFs::Execute)?;
    }
    if let Some(folder) = folder {
        rules = allow(rules, folder, in_folder())?;
    }
    Ok(rules.into())
}

/// The rules with one more. A path that is not there needs no rule.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(file) => rules.add_rule(PathBeneath::new(file, access)),
        Err(_) => Ok(rules),
    }
}
