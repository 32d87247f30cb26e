//! Whether this process may use AMX: the processor's tile registers and its product of bf16 tiles.
//!
//! Three have to agree. The processor must have them, which the standard library cannot tell on
//! stable Rust. The operating system must save them between threads. And Linux gives them only to a
//! process that asks, because a thread that has used them has 8 KiB more state to save. Permission is
//! the whole process's, threads to come included.
//!
//! Must never know what is computed with them.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amx {
    /// Processor, operating system and permission are there.
    Present,
    /// The processor has no bf16 tiles (CPUID leaf 7, EDX bits 22 and 24).
    Absent,
    /// The processor has them; the operating system does not save them (XCR0, bits 17 and 18), or is not Linux.
    NotEnabled,
    /// Linux did not give permission (`arch_prctl(ARCH_REQ_XCOMP_PERM)`); its error number.
    Refused(i32),
}

impl fmt::Display for Amx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("present"),
            Self::Absent => f.write_str("absent: the processor has no bf16 tiles"),
            Self::NotEnabled => {
                f.write_str("not enabled: the processor has bf16 tiles, the operating system does not save them")
            }
            Self::Refused(number) => {
                let error = std::io::Error::from_raw_os_error(*number);
                write!(
                    f,
                    "refused: the processor has bf16 tiles, Linux does not let this process use them ({error})"
                )
            }
        }
    }
}

/// Whether this process may use AMX. Asks Linux for permission the first time.
pub fn amx() -> Amx {
    static ANSWER: OnceLock<Amx> = OnceLock::new();
    *ANSWER.get_or_init(ask)
}

static EMULATED: AtomicBool = AtomicBool::new(false);

/// For tests alone: kernel level `amx` counts as supported from now on, because somebody
/// executes the tile instructions in software when they trap. It is never chosen by itself.
#[doc(hidden)]
pub fn emulate_amx() {
    EMULATED.store(true, Ordering::Relaxed);
}

/// Whether [`emulate_amx`] was called. This crate's own tests always emulate.
#[cfg(target_arch = "x86_64")]
pub(super) fn emulated() -> bool {
    #[cfg(all(test, target_os = "linux"))]
    if super::isa::Isa::Avx512Bf16.is_supported() && amx() != Amx::Present {
        super::emulator::install();
        return true;
    }
    EMULATED.load(Ordering::Relaxed)
}

#[cfg(not(target_arch = "x86_64"))]
fn ask() -> Amx {
    Amx::Absent
}

#[cfg(target_arch = "x86_64")]
fn ask() -> Amx {
    use std::arch::x86_64::{__cpuid, __cpuid_count, __get_cpuid_max};

    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    if __get_cpuid_max(0).0 < 7 || __cpuid_count(7, 0).edx & BF16_AND_TILES != BF16_AND_TILES {
        return Amx::Absent;
    }
    const OSXSAVE: u32 = 1 << 27;
    const CONFIG_AND_DATA: u64 = 1 << 17 | 1 << 18;
    // SAFETY: CPUID says that XGETBV exists.
    if __cpuid(1).ecx & OSXSAVE == 0 || unsafe { xcr0() } & CONFIG_AND_DATA != CONFIG_AND_DATA {
        return Amx::NotEnabled;
    }
    permission()
}

/// Which registers the operating system saves.
///
/// # Safety
/// The processor has XGETBV.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: the caller's promise.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn permission() -> Amx {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a system call that takes two numbers and touches no memory of ours.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if result == 0 {
        Amx::Present
    } else {
        Amx::Refused(-result as i32)
    }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn permission() -> Amx {
    Amx::NotEnabled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_stays_and_says_what_is_missing() {
        assert_eq!(amx(), amx());
        for (answer, word) in [
            (Amx::Present, "present"),
            (Amx::Absent, "no bf16 tiles"),
            (Amx::NotEnabled, "does not save"),
            (Amx::Refused(22), "Invalid argument"),
        ] {
            assert!(answer.to_string().contains(word), "{answer}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_processor_says_what_linux_says() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or("");
        let has = |name| flags.split_whitespace().any(|flag| flag == name);
        assert_eq!(
            has("amx_tile") && has("amx_bf16"),
            !matches!(amx(), Amx::Absent | Amx::NotEnabled)
        );
    }
}
