//! Ranks that are threads of one process.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::{Error, Link, Linked, Patience, Result};

/// The end of a link between threads. Messages are sent without waiting for the receiver.
#[derive(Debug)]
pub struct ThreadLink {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

/// The ends of a link between `size` threads, by rank.
#[must_use]
pub fn links(size: usize) -> Vec<ThreadLink> {
    let mut ends: Vec<ThreadLink> =
        (0..size).map(|rank| ThreadLink { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..size {
        for to in 0..size {
            let (sender, receiver) = unbounded();
            ends[from].to.push(sender);
            ends[to].from.push(receiver);
        }
    }
    ends
}

/// Runs a function as every rank of a group of threads, and returns the results by rank. A rank
/// whose function panics leaves the group; its panic is passed on at the end.
pub fn run<T: Send>(size: usize, rank: impl Fn(Linked<ThreadLink>) -> T + Sync) -> Vec<T> {
    let timeout = Duration::from_secs(300);
    std::thread::scope(|scope| {
        let rank = &rank;
        let threads: Vec<_> = links(size)
            .into_iter()
            .map(|link| scope.spawn(move || rank(Linked::new(link, timeout))))
            .collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect()
    })
}

impl Link for ThreadLink {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn transfer(
        &self,
        outgoing: &[(usize, &[u8])],
        incoming: &mut [(usize, &mut [u8])],
        patience: Patience,
    ) -> Result<()> {
        for (rank, bytes) in outgoing {
            self.to[*rank].send(bytes.to_vec()).map_err(|_| Error::Gone { rank: *rank })?;
        }
        for place in 0..incoming.len() {
            let rank = incoming[place].0;
            let received = match patience {
                Some(limit) => self.from[rank].recv_timeout(limit),
                None => self.from[rank].recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let bytes = received.map_err(|problem| match problem {
                RecvTimeoutError::Disconnected => Error::Gone { rank },
                RecvTimeoutError::Timeout => Error::Silent {
                    ranks: self.silent(&incoming[place..]),
                    waited: patience.unwrap_or_default(),
                },
            })?;
            let buffer = &mut incoming[place].1;
            if bytes.len() != buffer.len() {
                let problem = format!("{} bytes, not {}", bytes.len(), buffer.len());
                return Err(Error::Message { rank, problem });
            }
            buffer.copy_from_slice(&bytes);
        }
        Ok(())
    }
}

impl ThreadLink {
    /// The ranks that have sent nothing.
    fn silent(&self, expected: &[(usize, &mut [u8])]) -> Vec<usize> {
        let ranks = expected.iter().map(|(rank, _)| *rank);
        ranks.filter(|&rank| self.from[rank].is_empty()).collect()
    }
}
