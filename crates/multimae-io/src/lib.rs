//! Files that last: written whole or not at all, and mapped into memory; the memory of the process.
//!
//! * [`atomic`]: a file appears under its name when it is complete, or not at all.
//! * [`placed`]: a file at a second place, by a link where that is possible.
//! * [`mapping`]: the bytes of a file without reading it.
//! * [`memory`]: the memory use of this process.
//! * [`positioned`]: reading and writing at a place of a file.
//! * [`npy`]: whether the header of a NumPy file is safe to parse.
//!
//! Every crate that writes a lasting file or opens a large one goes through here. Paths come in,
//! bytes go out; nothing is known of what they mean.
//!
//! ```
//! use multimae_io::{atomic::write_atomically, mapping};
//!
//! # let dir = tempfile::tempdir()?;
//! let path = dir.path().join("weights.bin");
//! write_atomically(&path, &[1, 2, 3])?;
//! assert_eq!(mapping::contents(&path)?, [1, 2, 3].as_slice());
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod atomic;
pub mod mapping;
pub mod memory;
pub mod npy;
pub mod placed;
pub mod positioned;
