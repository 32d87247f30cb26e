//! AMX in software, so that the tile kernels are tested on machines without it.
//!
//! A processor without tiles raises an invalid-opcode exception at each tile instruction, which Linux
//! delivers as SIGILL. The handler decodes the instruction (`decode`), executes it on tile registers
//! that each thread has in memory (`tiles`), and goes on behind it. So the very bytes that a processor
//! with AMX would run are tested: encodings, addresses, configurations and arithmetic.
//!
//! What it cannot show: speed, how a real processor treats what Intel leaves open, and
//! the cost of permission and context switches.
//!
//! An instruction that no processor would execute (an unknown one, a tile that is not configured, shapes that do not
//! fit) ends the process with a sentence: inside a signal handler nothing else is safe.
// Each test binary uses a part of this.
#![allow(dead_code)]

pub mod decode;
pub mod tiles;

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use self::decode::Registers;

static EXECUTED: AtomicU64 = AtomicU64::new(0);

/// Catches tile instructions from now on, in all threads.
///
/// The processor must have AVX-512F, in which the arithmetic is written.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(
            is_x86_feature_detected!("avx512f"),
            "the emulator is written in AVX-512"
        );
        // SAFETY: all zero is a valid `sigaction`, and the handler has the type that SA_SIGINFO asks for.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &raw const action, std::ptr::null_mut())
        };
        assert_eq!(result, 0, "SIGILL cannot be handled");
    });
}

/// Instructions executed so far, by all threads.
pub fn executed() -> u64 {
    EXECUTED.load(Ordering::Relaxed)
}

/// Executes the instruction that trapped.
///
/// No allocation, no lock, no unwinding: it may interrupt anything, though in fact it interrupts tile kernels.
extern "C" fn handler(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands every SA_SIGINFO handler a valid context, which is ours until we return.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let rip = registers[libc::REG_RIP as usize] as u64;
    let general = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ]
    .map(|register| registers[register as usize] as u64);
    // SAFETY: code lies at the instruction pointer; a page of it has more than one instruction
    // left, because tile kernels are not the last thing in a program.
    let code = unsafe { std::slice::from_raw_parts(rip as *const u8, decode::LONGEST) };
    let registers_before = Registers { rip, general };
    let Some((instruction, length)) = decode::decode(code, &registers_before) else {
        give_up("an instruction that is neither the processor's nor AMX's");
    };
    // SAFETY: the addresses are those of the code that trapped, which answers for them.
    if let Err(reason) = unsafe { tiles::execute(instruction) } {
        give_up(reason);
    }
    EXECUTED.fetch_add(1, Ordering::Relaxed);
    registers[libc::REG_RIP as usize] = (rip + length as u64) as i64;
}

/// Ends the process with a sentence.
fn give_up(reason: &str) -> ! {
    for part in ["tile emulator: ", reason, "\n"] {
        // SAFETY: writing bytes and aborting are allowed in signal handlers.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: as above.
    unsafe { libc::abort() }
}
