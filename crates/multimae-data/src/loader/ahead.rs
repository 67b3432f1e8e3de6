//! Shards that are read into the cache of the system before their samples are asked for.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::{Loader, order};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// A thread that reads the shards of an order of shards from their beginning to their end, at most
/// one window ahead of the samples: slow disks and networks then see few long reads in place of many
/// short ones. Samples are read by themselves all the same; what was read ahead is in the cache of
/// the system, and nothing else is kept.
pub(super) struct ReadAhead {
    schedule: Schedule,
    wanted: Option<Sender<Turn>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// A shard to be read, by its number among those of all epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u64,
    block: usize,
}

/// The progress of the samples.
#[derive(Default)]
struct State {
    /// The first turn of the window that is used now: shards before it are not needed any more.
    first: AtomicU64,
    stop: AtomicBool,
}

impl ReadAhead {
    /// Starts the thread for a loader in an order of shards; `None` in any other order, or if there
    /// is no thread to be had.
    pub(super) fn start(loader: &Loader, end_epoch: u64) -> Option<Self> {
        let (window, blocks) = loader.shards.as_ref().filter(|_| loader.config.shuffle)?;
        let files = loader.source.block_files();
        if files.len() != blocks.len() {
            return None;
        }
        let schedule = Schedule {
            seed: loader.config.seed,
            reshuffle: loader.config.reshuffle,
            window: (*window).max(1),
            sizes: blocks.iter().map(Vec::len).collect(),
            end_epoch,
            next: 0,
            orders: BTreeMap::new(),
        };
        let (wanted, turns) = unbounded();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // Without the thread all samples are read as they are, only more slowly.
        let thread = std::thread::Builder::new()
            .name("loader-ahead".to_owned())
            .spawn(move || read_turns(&turns, &shared, &files))
            .ok()?;
        Some(Self { schedule, wanted: Some(wanted), state, thread: Some(thread) })
    }

    /// Notes that the sample at a position in the order of an epoch is to be made.
    pub(super) fn reached(&mut self, epoch: u64, position: usize) {
        let (first, turns) = self.schedule.reached(epoch, position);
        self.state.first.store(first, Ordering::Relaxed);
        if let Some(wanted) = &self.wanted {
            // Fails only without the thread, and then nothing is read ahead.
            for turn in turns {
                let _ = wanted.send(turn);
            }
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// The shards to be read by the time that a sample is asked for.
struct Schedule {
    seed: u64,
    reshuffle: bool,
    window: usize,
    /// Samples by shard.
    sizes: Vec<usize>,
    end_epoch: u64,
    /// The next turn.
    next: u64,
    /// The orders of this epoch and the next one.
    orders: BTreeMap<u64, ShardOrder>,
}

/// The shards of an epoch.
struct ShardOrder {
    blocks: Vec<usize>,
    /// The position behind the last sample of each shard, as if they were not mixed.
    ends: Vec<usize>,
}

impl Schedule {
    /// The first turn of the window of a sample, and the turns that are new. Those of the window
    /// behind it come bit by bit, as the samples of this one are used.
    fn reached(&mut self, epoch: u64, position: usize) -> (u64, Vec<Turn>) {
        let (count, window) = (self.sizes.len(), self.window);
        if count == 0 {
            return (0, Vec::new());
        }
        self.orders.retain(|&known, _| known >= epoch);
        let ends = &self.order(epoch).ends;
        let shard = ends.partition_point(|&end| end <= position).min(count - 1);
        let start = shard - shard % window;
        let end = (start + window).min(count);
        let before = start.checked_sub(1).map_or(0, |last| ends[last]);
        let samples = (ends[end - 1] - before).max(1);
        let ahead = ((position - before) * window).div_ceil(samples).min(window);
        let base = epoch * count as u64;
        let first = base + start as u64;
        let last = base + (end + ahead) as u64;
        let new = self.next.max(first)..last;
        self.next = self.next.max(last);
        (first, new.filter_map(|number| self.turn(number)).collect())
    }

    fn turn(&mut self, number: u64) -> Option<Turn> {
        let count = self.sizes.len() as u64;
        let (epoch, place) = (number / count, (number % count) as usize);
        if epoch >= self.end_epoch {
            return None;
        }
        let block = *self.order(epoch).blocks.get(place)?;
        Some(Turn { number, block })
    }

    fn order(&mut self, epoch: u64) -> &ShardOrder {
        let (seed, sizes) = (self.seed, &self.sizes);
        let own = if self.reshuffle { epoch } else { 0 };
        self.orders.entry(epoch).or_insert_with(|| {
            let blocks = order::shard_order(sizes.len(), seed, own);
            let mut end = 0;
            let ends = blocks.iter().map(|&block| {
                end += sizes[block];
                end
            });
            let ends = ends.collect();
            ShardOrder { blocks, ends }
        })
    }
}

fn read_turns(turns: &Receiver<Turn>, state: &State, files: &[Vec<PathBuf>]) {
    let mut buffer = vec![0; CHUNK];
    for Turn { number, block } in turns {
        let is_wanted =
            || !state.stop.load(Ordering::Relaxed) && number >= state.first.load(Ordering::Relaxed);
        for path in files.get(block).into_iter().flatten() {
            read_through(path, &mut buffer, &is_wanted);
        }
    }
}

/// Reads a file to its end, while that is wanted.
fn read_through(path: &Path, buffer: &mut [u8], is_wanted: &dyn Fn() -> bool) {
    // A file that cannot be read is the error of its samples, which names them.
    let Ok(mut file) = fs_err::File::open(path) else { return };
    while is_wanted() {
        match file.read(buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(sizes: &[usize], window: usize) -> Schedule {
        Schedule {
            seed: 7,
            reshuffle: true,
            window,
            sizes: sizes.to_vec(),
            end_epoch: 3,
            next: 0,
            orders: BTreeMap::new(),
        }
    }

    /// All turns from an epoch on, and the most shards that are read but not used.
    fn turns(schedule: &mut Schedule, from: u64) -> (Vec<Turn>, u64) {
        let samples: usize = schedule.sizes.iter().sum();
        let (mut all, mut most) = (Vec::new(), 0);
        for epoch in from..schedule.end_epoch {
            for position in 0..samples {
                let (first, new) = schedule.reached(epoch, position);
                all.extend(new);
                most = most.max(schedule.next - first);
            }
        }
        (all, most)
    }

    #[test]
    fn every_shard_has_its_turn_once_and_in_order() {
        let sizes = [4, 1, 5, 3, 2, 6, 4];
        let (all, most) = turns(&mut schedule(&sizes, 3), 0);
        let numbers: Vec<u64> = all.iter().map(|turn| turn.number).collect();
        assert_eq!(numbers, (0..21).collect::<Vec<_>>());
        for epoch in 0..3 {
            let blocks: Vec<usize> = all[7 * epoch..][..7].iter().map(|turn| turn.block).collect();
            assert_eq!(blocks, order::shard_order(7, 7, epoch as u64));
        }
        assert!(most <= 6, "two windows are in memory, not {most} shards");
    }

    #[test]
    fn shards_are_there_before_their_window() {
        let mut schedule = schedule(&[10; 8], 2);
        let number = |turns: Vec<Turn>| turns.iter().map(|turn| turn.number).collect::<Vec<_>>();
        assert_eq!(number(schedule.reached(0, 0).1), [0, 1]);
        assert_eq!(number(schedule.reached(0, 1).1), [2]);
        assert_eq!(number(schedule.reached(0, 10).1), [0; 0]);
        assert_eq!(number(schedule.reached(0, 11).1), [3]);
        assert_eq!(schedule.reached(0, 20), (2, Vec::new()));
        // The last window reads into the next epoch.
        let (first, new) = schedule.reached(0, 79);
        assert_eq!((first, new.last().unwrap().number), (6, 9));
    }

    #[test]
    fn a_resumed_run_begins_at_its_window() {
        let mut resumed = schedule(&[10; 8], 2);
        let (first, new) = resumed.reached(1, 45);
        assert_eq!(first, 8 + 4);
        assert_eq!(new.first().unwrap().number, 12);
        // Behind the last epoch there is nothing to read.
        let (_, new) = schedule(&[10; 8], 2).reached(2, 79);
        assert!(new.iter().all(|turn| turn.number < 24), "{new:?}");
    }

    #[test]
    fn whole_files_are_read_unless_they_are_not_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shard");
        fs_err::write(&path, vec![1; 10]).unwrap();
        let reads = std::cell::Cell::new(0);
        let wanted = |most: usize| {
            reads.set(0);
            let is_wanted = || {
                reads.set(reads.get() + 1);
                reads.get() <= most
            };
            read_through(&path, &mut [0; 4], &is_wanted);
            reads.get()
        };
        // Three reads of at most 4 bytes, and one at the end.
        assert_eq!((wanted(9), wanted(2)), (4, 3));
        read_through(&dir.path().join("gone"), &mut [0; 4], &|| true);
    }
}
