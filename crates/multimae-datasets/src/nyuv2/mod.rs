//! NYU Depth V2: from the published MATLAB files, or any copy of it, to a folder that is trained on.
//!
//! The labelled set is 1449 frames of indoor scenes with 640 x 480 pixels: RGB, depth in metres and
//! label ids, in one file of 3 GB. [`prepare`] writes
//!
//! ```text
//! rgb/0001.png         8-bit RGB                       names are the official ids, from 1
//! depth/0001.png       16-bit, millimetres             in-painted: no holes
//! label40/0001.png     8-bit, classes 1 to 40, 0 void  or label13/
//! mask_valid/0001.png  8-bit, 255 where depth counts, 0 elsewhere
//! train.txt test.txt   the official split, built in
//! train_fit.txt val.txt   train once more, in two: to fit, and to choose models by
//! classes.txt frames.csv  names of the labels; list and scene of every frame
//! manifest.json        source, units, options and statistics
//! ```
//!
//! and checks every value on the way. The files of MATLAB are turned upright: their axes are stored
//! in the opposite order.
//!
//! [`prepare_copy`] does the same for the copies that people have besides: it recognises which one
//! it is given, and says so.

mod classes;
mod copies;
mod crop;
mod dataset;
mod frame;
pub(crate) mod mat5;
mod prepare;
mod source;
mod splits;

pub use classes::Classes;
pub use copies::{CopyOptions, prepare_copy};
pub use crop::Crop;
pub use dataset::Nyuv2;
pub use prepare::{Nyuv2Options, prepare};

#[cfg(fuzzing)]
pub use {mat5::read_all as read_mat5, source::read_all as read_mat73};

use crate::{Error, Result};
