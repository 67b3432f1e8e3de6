//! Furnished rooms, rendered: frames of RGB, depth, labels and surface normals that fit each
//! other exactly.
//!
//! Bedrooms, living rooms, kitchens and offices are drawn at random, furnished with blocks,
//! cylinders and ellipsoids, and seen through a camera like that of NYUv2. A small ray caster
//! makes the maps: there is no file to download and no other program to run.
//!
//! * [`render()`] makes one [`Frame`];
//! * [`write_dataset`] writes many of them to a folder, and resumes after an interruption;
//! * [`LABEL_NAMES`] and [`intrinsics`] say what the numbers mean.
//!
//! A frame depends on its seed, its index and its size alone: never on threads, nor on the frames
//! before it.
//!
//! ```
//! let frame = multimae_synth::render(0, 7, (24, 32));
//! assert_eq!(frame.rgb.len(), 24 * 32 * 3);
//! assert!(frame.depth.iter().all(|&metres| metres > 0.0));
//! let seen = frame.labels[0] as usize;
//! assert_ne!(multimae_synth::LABEL_NAMES[seen], "void");
//! assert_eq!(frame, multimae_synth::render(0, 7, (24, 32)));
//! ```

mod camera;
mod dataset;
mod draw;
mod error;
mod frame;
mod furniture;
mod geometry;
mod labels;
mod material;
mod pose;
mod render;
mod scene;
mod sensor;
mod shading;
mod style;
mod vec3;
mod viewpoint;

pub use camera::{Intrinsics, intrinsics};
pub use dataset::{Summary, SynthOptions, write_dataset};
pub use error::{Error, Result};
pub use frame::{Frame, FrameMap};
pub use labels::LABEL_NAMES;
pub use png::EncodingError;
pub use render::render;
