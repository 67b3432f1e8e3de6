//! Hypersim: rendered indoor scenes, from the HDF5 files of its frames.
//!
//! A frame is a handful of files below `ai_VVV_NNN/images`, each with one array `dataset`: radiance,
//! distance along the ray, class ids, normals. [`prepare`] converts them to
//!
//! ```text
//! rgb/ai_001_001_cam_00_0000.png   tone-mapped radiance, or the published preview (.jpg, linked)
//! depth/                           16-bit, millimetres along the optical axis; 0 is background or
//!                                  beyond 65.535 m
//! semseg/                          NYUv2's 40 classes, 0 is unlabelled
//! mask_valid/                      255 where depth is known
//! normal/                          if asked for: (n + 1) / 2 * 255, x right, y down, z forward
//! train.txt val.txt test.txt       the official split, public release only
//! classes.txt frames.csv manifest.json
//! ```
//!
//! `depth_meters` is the distance from the optical centre. Depth along the axis needs the camera of
//! the scene, which is shifted or tilted in more than half of them: see [`Camera`].

mod arrays;
mod camera;
mod dataset;
mod frame;
mod prepare;
mod scenes;
mod tone;

pub use camera::Camera;
pub use dataset::Hypersim;
pub use prepare::{CameraChoice, ColorChoice, HypersimOptions, prepare};
