//! ADE20K for scene parsing: 150 classes, from `ADEChallengeData2016`.
//!
//! The published release holds 20,210 photographs to train on and 2,000 to validate with, and an
//! annotation of the same name for each: an 8-bit picture of class ids from 1 to 150, 0 for everything
//! else, which is never scored. The files are readable as they are, and are linked:
//!
//! ```text
//! rgb/ADE_train_00000001.jpg      the photograph
//! semseg/ADE_train_00000001.png   class ids, 0 is void
//! train.txt val.txt               the official split
//! classes.txt frames.csv          names of the classes; list of every frame
//! manifest.json                   source, options and statistics
//! ```
//!
//! The full ADE20K (25,574 photographs to train on, annotations whose colours encode classes) is
//! another release. It is recognised and refused.

mod dataset;
mod layout;
mod prepare;

pub use dataset::Ade20k;
pub use prepare::prepare;
