//! Sending and receiving between ranks.

use std::fmt;
use std::time::Duration;

use crate::Result;

/// The longest time to wait for another rank; without a limit if there is none.
pub type Patience = Option<Duration>;

/// Messages between two ranks arrive in the order in which they are sent.
pub trait Link: fmt::Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Sends bytes to ranks and receives bytes from ranks, all at the same time. A buffer to
    /// receive into has the length of the message.
    ///
    /// # Errors
    /// [`Error::Silent`](crate::Error::Silent) with the ranks that neither took nor sent a message
    /// in time, [`Error::Gone`](crate::Error::Gone) if one has ended. Links that cannot give a
    /// transfer up end the whole group instead.
    fn transfer(
        &self,
        outgoing: &[(usize, &[u8])],
        incoming: &mut [(usize, &mut [u8])],
        patience: Patience,
    ) -> Result<()>;
}
