//! Packed data sets: one file with every frame of a folder, decoded once, or with its files as they
//! are.
//!
//! Without a pack, every epoch decodes the same files again. [`create`](fn@create) decodes them
//! once and writes the stored values (8-bit RGB, depth and labels in the type of their files) into
//! one file, together with the ids, the lists of samples and their source. In place of a data
//! folder, [`Dataset::open`](crate::Dataset::open) takes the pack, and makes exactly the same
//! samples from it: it applies a modality's encoding (divisor, classes, offset, mean) to the same
//! stored values. A shrunk pack holds smaller frames and makes other samples. A folder that is packed
//! [encoded](PackFolder::encoded) keeps the bytes of its files, which are decoded as those of folders
//! are: the pack is as small as the files, and reading it costs their decoding.
//!
//! # The file
//!
//! Little-endian throughout.
//!
//! | bytes | what |
//! |---|---|
//! | 0..64 | the header: signature, format version, where the index is, checksums of both |
//! | frames | one after the other, each at a multiple of 64 bytes; RGB as `(H, W, 3)`, others as `(C, H, W)`; encoded files without gaps |
//! | index | folders, ids, place, shape or extension, and checksum of every frame, lists, facts about the source ([postcard](https://postcard.jamesmunns.com)) |
//!
//! Format 1 holds decoded frames alone, format 2 encoded files too. Packs without encoded files are
//! written in format 1, which older versions read.
//!
//! Frames and index carry CRC-32 checksums. The index is checked when the pack is opened, a frame
//! when a process reads it for the first time; [`Pack::verify`] checks all of them.
//!
//! # Why the file is read and not mapped
//!
//! Frames are fetched with positioned reads (`pread`), only the rows of the crop. The operating
//! system's page cache is what keeps a pack in memory in either case, shared by all processes. A
//! read copies from it at memory speed, some hundredths of a millisecond for a frame of 320 x 240
//! beside the milliseconds of making a sample. In return a file that is cut off or lies on a failing
//! disk is an error with a path instead of a signal that kills the run, another program that writes
//! to the file cannot cause undefined behaviour, and the pages do not count as memory of the run,
//! which `multimae compare` measures.

mod content;
mod create;
mod files;
mod folders;
mod format;
mod frames;
mod index;
mod index_v1;
mod lists;
mod notices;
mod reader;
mod shrink;
mod slot;
mod source;
mod storage;
mod stored;
mod writer;

use std::path::Path;

pub use content::Content;
pub use create::{Options, Outcome, Summary, create};
pub(crate) use create::{check_options, create_from};
pub(crate) use files::PackFiles;
pub use folders::{PackFolder, find_folders, folders_of};
pub(crate) use reader::PackedPart;
pub use reader::{Damaged, Pack};
pub use shrink::Shrink;
pub(crate) use slot::PackedFrame;

/// The usual ending of the names of packs. Any other is fine too.
pub const EXTENSION: &str = "pack";

/// Whether a place of data is a file, and so should be a pack; otherwise it is a folder, or nothing.
#[must_use]
pub fn is_pack(root: &Path) -> bool {
    root.is_file()
}
