//! Processes that train together.
//!
//! A [`Group`] says who is who and moves bytes and sums between its ranks:
//!
//! * [`Alone`]: one process, no communication.
//! * [`Linked`]: any number of ranks over a [`Link`], which only sends and receives. The order
//!   of sums, and the end of a group in which a rank falls silent, are here, in one place.
//! * [`threads`]: a link between threads of one process, for tests.
//! * [`launch`]: the group that the launcher of this process meant, by MPI if the feature `mpi` is
//!   compiled in.
//!
//! Nothing is known of models here: values are `f32`, everything else is bytes.
//!
//! ```
//! use multimae_group::{Group, Wire, threads};
//!
//! let sums = threads::run(3, |group| {
//!     let mut values = vec![group.rank() as f32, 1.0];
//!     group.sum(&mut values, Wire::F32)?;
//!     Ok::<_, multimae_group::Error>(values)
//! });
//! for sum in sums {
//!     assert_eq!(sum?, [3.0, 3.0]);
//! }
//! # Ok::<(), multimae_group::Error>(())
//! ```

mod agree;
mod alone;
mod error;
mod group;
mod halves;
pub mod launch;
mod link;
mod linked;
#[cfg(feature = "mpi")]
mod mpi_link;
mod segments;
pub mod threads;

pub use agree::{Elsewhere, agree, all_agree};
pub use alone::Alone;
pub use error::{Error, Result};
pub use group::{Group, Wire};
pub use halves::in_halves;
pub use link::{Link, Patience};
pub use linked::Linked;
