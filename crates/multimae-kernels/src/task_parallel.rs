//! Independent tasks, one per processor.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::precision::Precision;

/// One pool of a single thread per processor: work inside one does not share itself out again, and
/// its thread's freed memory is at hand for the next piece.
fn pools() -> &'static [ThreadPool] {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    POOLS.get_or_init(|| {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().ok();
        (0..count).map_while(pool).collect()
    })
}

/// `work` of every item; as many at one time as there are processors, each on one thread and in the
/// caller's [precision](crate::precision). Results are in the order of the items.
///
/// # Panics
/// If `work` does.
pub fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let pools = pools();
    if pools.len() < 2 || items.len() < 2 {
        return items.into_iter().map(work).collect();
    }
    let precision = Precision::current();
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    loop {
        let group: Vec<T> = items.by_ref().take(pools.len()).collect();
        if group.is_empty() {
            return results;
        }
        let work = &work;
        results.extend(thread::scope(|scope| {
            let run = |(item, pool): (T, &'static ThreadPool)| {
                scope.spawn(move || pool.install(|| precision.scope(|| work(item))))
            };
            let threads: Vec<_> = group.into_iter().zip(pools).map(run).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, R>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<R>>()
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_work_stays_on_one_thread() {
        let results = map((0..7).collect(), |item| (item, rayon::current_num_threads()));
        let items: Vec<i32> = results.iter().map(|(item, _)| *item).collect();
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6]);
        if pools().len() > 1 {
            assert!(results.iter().all(|(_, threads)| *threads == 1));
        }
        assert!(map(Vec::<i32>::new(), |item| item).is_empty());
    }

    #[test]
    fn threads_are_in_the_scope_of_the_caller_and_leave_it() {
        for precision in [Precision::Bf16, Precision::Fp32] {
            let seen = precision.scope(|| map((0..5).collect(), |_: i32| Precision::current()));
            assert_eq!(seen, [precision; 5]);
        }
        Precision::Bf16.scope(|| map(vec![(); 5], |()| ()));
        for pool in pools() {
            assert_eq!(pool.install(Precision::current), Precision::Fp32);
        }
    }
}
