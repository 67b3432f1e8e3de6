//! SUN RGB-D: 10,335 frames of four depth sensors, from the published folders and its toolbox.
//!
//! ```text
//! rgb/kv1/NYUdata/NYU0001.jpg   the published photograph, linked; names are the folders of the frames
//! depth/                        16-bit, millimetres; 0 where the sensor measured nothing
//! label37/                      37 classes, 0 is void; if the toolbox is there
//! mask_valid/                   255 where depth is known
//! train.txt test.txt            the official split
//! classes.txt frames.csv manifest.json
//! ```
//!
//! The published depth is rotated by three bits: the stored number is turned back, and is millimetres
//! then. All frames of NYU Depth V2 are among these, on both lists.

mod dataset;
mod frames;
mod labels;
mod mat;
mod prepare;

pub use dataset::SunRgbd;
pub use prepare::{DepthChoice, SunRgbdOptions, prepare};
