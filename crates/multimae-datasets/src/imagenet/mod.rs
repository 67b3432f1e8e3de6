//! ImageNet with the pseudo labels that the published models were pre-trained on.
//!
//! The authors publish a tar per class, split and task; photographs come from ImageNet itself, in
//! folders of classes or a tar per class. [`prepare`] brings the three together, in the layout that
//! pre-training reads:
//!
//! ```text
//! train/rgb/n01440764/n01440764_10026.JPEG   linked, or unpacked
//! train/depth/n01440764/n01440764_10026.png  relative depth in 16 bits, read as value / 65536
//! train/semseg/n01440764/...                 133 COCO classes, from 0
//! val/...                                    likewise
//! manifest.json                              source and numbers of files
//! ```
//!
//! `train` is the folder to give to `multimae pretrain --data`.

mod archive;
mod classes;
mod dataset;
mod prepare;

pub use dataset::ImagenetMultitask;
pub use prepare::{ImagenetOptions, prepare};
