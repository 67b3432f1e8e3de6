//! x
pub mod atomic;
pub mod colormap;
mod error;
pub mod events;
pub mod metrics_log;
pub mod palette;
pub mod picture;
pub use error::{Error, Result};
