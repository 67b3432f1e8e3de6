//! Ranks that an MPI launcher started.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::{self, Request, Scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination as _, Source as _};

use crate::{Error, Link, Patience, Result};

/// Kept until [`finish`]: dropping it waits for all ranks, so a process that fails must not.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// Exit codes of a group that was given up.
const PANICKED: i32 = 101;
const SILENT: i32 = 102;

/// The time that MPI has to end all processes.
const GRACE: Duration = Duration::from_secs(5);

/// Waiting gives other processes of this processor their turn for so long, then sleeps.
const BUSY: Duration = Duration::from_millis(20);
const NAP: Duration = Duration::from_micros(200);

/// A link between the processes of an MPI launcher.
#[derive(Debug)]
pub(crate) struct MpiLink {
    rank: usize,
    size: usize,
    notify: fn(&str),
}

impl MpiLink {
    /// Joins the group. From here on, a panic of any thread ends all processes.
    pub(crate) fn start(notify: fn(&str)) -> Result<Self> {
        let universe = mpi::initialize_with_threading(Threading::Multiple);
        let (universe, threading) = universe
            .ok_or_else(|| Error::Launch("MPI was started before in this process".to_owned()))?;
        let world = universe.world();
        let number = |value: i32| usize::try_from(value).unwrap_or_default();
        let link = Self { rank: number(world.rank()), size: number(world.size()), notify };
        *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
        if threading != Threading::Multiple {
            return Err(Error::Launch(format!(
                "this MPI library offers {threading:?} of threads only; Multiple is needed"
            )));
        }
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            abort(PANICKED);
        }));
        Ok(link)
    }
}

/// Leaves MPI, which waits for all ranks.
pub(crate) fn finish() {
    drop(UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Ends all processes, unless MPI was never started. Where MPI itself waits, for a host that it cannot
/// reach, this process ends by itself.
pub(crate) fn abort(code: i32) {
    if mpi::environment::is_initialized() && !mpi::environment::is_finalized() {
        thread::spawn(|| {
            thread::sleep(GRACE);
            std::process::abort();
        });
        SimpleCommunicator::world().abort(code);
    }
}

impl Link for MpiLink {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn transfer(
        &self,
        outgoing: &[(usize, &[u8])],
        incoming: &mut [(usize, &mut [u8])],
        patience: Patience,
    ) -> Result<()> {
        // A communicator belongs to a thread.
        let world = SimpleCommunicator::world();
        request::scope(|scope| {
            let mut open = Vec::with_capacity(outgoing.len() + incoming.len());
            for (rank, buffer) in incoming.iter_mut() {
                let peer = world.process_at_rank(number(*rank));
                open.push((*rank, peer.immediate_receive_into(scope, &mut **buffer)));
            }
            for (rank, bytes) in outgoing {
                let peer = world.process_at_rank(number(*rank));
                open.push((*rank, peer.immediate_send(scope, *bytes)));
            }
            self.complete(open, patience);
        });
        Ok(())
    }
}

impl MpiLink {
    /// Waits for requests. MPI cannot give up a message that was begun: if a rank stays silent, all
    /// processes end.
    fn complete<'a, S: Scope<'a>>(
        &self,
        mut open: Vec<(usize, Request<'a, [u8], S>)>,
        patience: Patience,
    ) {
        let begun = Instant::now();
        loop {
            // MPI moves bytes only while it is asked.
            let tested = open.into_iter().filter_map(|(rank, request)| {
                request.test().err().map(|unfinished| (rank, unfinished))
            });
            open = tested.collect();
            if open.is_empty() {
                return;
            }
            let waited = begun.elapsed();
            if patience.is_some_and(|limit| waited > limit) {
                let mut ranks: Vec<usize> = open.iter().map(|(rank, _)| *rank).collect();
                ranks.dedup();
                (self.notify)(&Error::Silent { ranks, waited }.to_string());
                abort(SILENT);
            }
            if waited < BUSY { thread::yield_now() } else { thread::sleep(NAP) }
        }
    }
}

/// Ranks that MPI gave fit its type.
fn number(rank: usize) -> i32 {
    i32::try_from(rank).unwrap_or(i32::MAX)
}
