//! The allocator of programs that compute.
//!
//! A training step frees hundreds of megabytes and the next one asks for the same sizes again. An
//! allocator that hands the pages back to the operating system in between pays for clearing them
//! each time: a quarter of a ViT-Tiny step was measured to go there.

use std::ffi::c_long;
use std::time::Duration;

/// The type of [`ALLOCATOR`].
pub type Allocator = mimalloc::MiMalloc;

/// To be named in a program's `#[global_allocator]`.
pub const ALLOCATOR: Allocator = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2 and 3: milliseconds before freed pages go back to the
/// operating system.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Never.
const KEEP: c_long = -1;

/// Keeps freed memory for later allocations. Says whether the allocator took the setting. Call it
/// at the start of a program whose global allocator is [`ALLOCATOR`]; its peak memory stays the
/// same.
pub fn keep_freed_memory() -> bool {
    set_purge_delay(KEEP)
}

/// Keeps freed memory for a while only, so that a program that waits for requests does not stay as
/// large as its busiest moment. Says whether the allocator took the setting.
pub fn keep_freed_memory_for(time: Duration) -> bool {
    set_purge_delay(c_long::try_from(time.as_millis()).unwrap_or(c_long::MAX))
}

fn set_purge_delay(milliseconds: c_long) -> bool {
    // SAFETY: both functions take an option's number and touch nothing but the allocator's own
    // table of options; numbers that it does not know are ignored.
    #[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds);
        libmimalloc_sys::mi_option_get(PURGE_DELAY) == milliseconds
    }
}

/// Lets the process use pages of the usual size alone. Says whether the system took the setting,
/// which only Linux has.
///
/// A huge page stays whole in memory while any of its 512 parts is in use: a server whose threads
/// keep a little each stays as large as in its busiest moment.
pub fn avoid_huge_pages() -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: this call changes how the kernel backs this process's memory from now on, and no
        // memory itself; the arguments that it does not use are 0, as it demands.
        #[allow(unsafe_code, reason = "prctl has no safe interface")]
        let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        result == 0
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Gives freed memory of the calling thread, of threads that have ended, and, as soon as they have
/// nothing to compute, of those of the pool back to the operating system. For programs that are idle:
/// the next computation pays for it.
pub fn release_freed_memory() {
    // Without waiting: a thread of the pool may be one that waits for requests.
    rayon::spawn_broadcast(|_| release_own());
    release_own();
}

fn release_own() {
    // SAFETY: it frees pages of the calling thread's heap that hold no live block, and may be called
    // at any time.
    #[allow(unsafe_code, reason = "mimalloc's collection has no safe interface")]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static TESTED: Allocator = ALLOCATOR;

    #[test]
    fn memory_is_kept() {
        assert!(keep_freed_memory());
        assert!(keep_freed_memory_for(Duration::from_millis(700)));
        // Allocations of many sizes still work.
        let sizes = (0..22).map(|power| vec![power as u8; 1 << power]);
        let blocks: Vec<Vec<u8>> = sizes.collect();
        assert!(blocks.iter().enumerate().all(|(i, b)| b.len() == 1 << i && b[0] == i as u8));
        drop(blocks);
        release_freed_memory();
        assert_eq!(avoid_huge_pages(), cfg!(target_os = "linux"));
        let again: Vec<u8> = (0..100).collect();
        assert_eq!(again.iter().map(|&byte| u32::from(byte)).sum::<u32>(), 4_950);
    }
}
