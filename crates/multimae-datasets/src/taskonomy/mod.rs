//! Taskonomy: indoor scans of whole buildings, rendered into many tasks.
//!
//! The published files are `<task>/<building>/point_<p>_view_<v>_domain_<task>.png`, so the files of
//! one view have another name in every task. They are linked under names that pair up:
//!
//! ```text
//! rgb/hanson/point_0_view_1.png             and likewise every task that is there:
//! depth_zbuffer/ depth_euclidean/           16-bit, 1/512 m, 65535 where there is no surface
//! normal/ reshading/ principal_curvature/   8-bit; curvature is in the first two channels
//! edge_texture/ edge_occlusion/ keypoints2d/ keypoints3d/
//! segment_semantic/ segment_unsup2d/ segment_unsup25d/
//! mask_valid/                               255 where there is a surface; made of depth if absent
//! train.txt val.txt test.txt                the "tiny" split by building, or lists of your own
//! frames.csv manifest.json                  list and building of every view; source and statistics
//! ```

mod buildings;
mod dataset;
mod prepare;
mod views;

pub use dataset::Taskonomy;
pub use prepare::{TaskonomyOptions, prepare};
