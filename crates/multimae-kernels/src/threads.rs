//! The threads that compute.

use rayon::ThreadPoolBuilder;

/// Makes the calling thread one of those that compute, where it otherwise waits for them: every
/// operation that is shared then has one thread less to wake. To be called once, at the start of the
/// thread from which models are run, before anything is computed. `false` if it came too late, or a
/// single thread is to compute, which must be there for all; then all works as before.
///
/// As many threads compute as there are processors, or as `RAYON_NUM_THREADS` says.
pub fn compute_here() -> bool {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = asked.filter(|threads| *threads > 0).unwrap_or_else(all);
    threads > 1
        && ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_computes_and_others_may_still_ask() {
        let first = compute_here();
        let sum = |count: u32| -> u32 {
            use rayon::prelude::*;
            (0..count).into_par_iter().sum()
        };
        // A test beside this one may have computed before.
        assert_eq!(rayon::current_thread_index().is_some(), first);
        assert_eq!(sum(1000), 499_500);
        assert_eq!(std::thread::spawn(move || sum(100)).join().unwrap(), 4_950);
        assert!(!compute_here());
    }
}
