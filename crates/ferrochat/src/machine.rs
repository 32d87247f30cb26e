//! The machine as people know it: processor, cores, memory. Linux says it in `/proc`; elsewhere the
//! answers are modest. Knows no model.

use serde::{Deserialize, Serialize};

/// What the report and `doctor` say about this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes of main memory.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This one.
    pub fn detect() -> Machine {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = file("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")
                    .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            })
            .unwrap_or_else(|| "unknown processor".to_owned());
        Machine {
            processor,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_line("MemTotal:"),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

/// Bytes that could be allocated now without pushing others out, where the system says.
pub fn available_memory() -> Option<u64> {
    let cgroup = || -> Option<u64> {
        let limit: u64 = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let used: u64 = std::fs::read_to_string("/sys/fs/cgroup/memory.current")
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(limit.saturating_sub(used))
    };
    let available = memory_line("MemAvailable:")?;
    Some(cgroup().map_or(available, |limit| limit.min(available)))
}

/// Most memory that this process has had resident.
pub fn peak_memory() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// NVIDIA's cards that this machine has, as its bus tells it, driver or not.
pub fn nvidia_cards_on_the_bus() -> usize {
    let devices = std::fs::read_dir("/sys/bus/pci/devices")
        .into_iter()
        .flatten()
        .flatten();
    let is_card = |folder: &std::path::Path| {
        let says = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        // Class 03 is what draws or computes; NVIDIA's sound and bridges are of others.
        says("vendor").trim() == "0x10de" && says("class").starts_with("0x03")
    };
    devices.filter(|entry| is_card(&entry.path())).count()
}

/// Version of NVIDIA's driver in the kernel, such as 580.65.06.
pub fn nvidia_kernel_module() -> Option<String> {
    module_version(&std::fs::read_to_string("/proc/driver/nvidia/version").ok()?)
}

/// The version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 …`.
fn module_version(text: &str) -> Option<String> {
    let words = text.lines().next()?.split_whitespace();
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    words.filter(is_version).map(str::to_owned).next()
}

fn memory_line(name: &str) -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(number * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_version_is_read_from_its_line() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x@y)  Sun Jul 27\n\
                    GCC version:  gcc version 13.2.0\n";
        assert_eq!(module_version(text).as_deref(), Some("580.65.06"));
        assert_eq!(module_version(""), None);
    }

    #[test]
    fn kilobytes_are_read_from_their_line() {
        let text = "MemTotal:       24576000 kB\nMemFree: 12 kB\n";
        assert_eq!(kilobytes(text, "MemFree:"), Some(12 * 1024));
        assert_eq!(kilobytes(text, "Swap:"), None);
    }
}
