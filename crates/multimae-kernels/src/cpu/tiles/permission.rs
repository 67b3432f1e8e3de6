//! Whether the processor has tile registers and the system lets this process use them.

use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use crate::switch::Switch;

/// Whether GEMMs can be computed on tiles. The first call asks the system for their use, which
/// holds for all threads of the process.
#[must_use]
pub(crate) fn supported() -> bool {
    static SUPPORTED: OnceLock<bool> = OnceLock::new();
    *SUPPORTED.get_or_init(|| !cfg!(miri) && has_tiles() && packs() && permitted())
}

/// Whether GEMMs are to be computed on tiles: unless the environment leaves them to the processor's
/// vectors.
#[must_use]
pub(crate) fn usable() -> bool {
    Switch::current() > Switch::Vectors && supported()
}

/// Tiles, and bfloat16 GEMMs on them.
fn has_tiles() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    let features = __cpuid_count(7, 0).edx;
    features & BF16 != 0 && features & TILES != 0
}

/// The instruction sets of packing, as its `target_feature`.
fn packs() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Linux gives processes the tiles' 8 KiB of state only if they ask for it.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this request takes a number and touches no memory of the process.
    #[allow(unsafe_code)]
    let refused =
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) };
    refused == 0
}

/// Not tried: other systems, which grant tiles to processes in other ways.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Whether a test has nothing to run on; it says so.
#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
pub(super) fn skip() -> bool {
    if !supported() {
        eprintln!("SKIPPED: this processor has no tiles of bfloat16");
    }
    !supported()
}
