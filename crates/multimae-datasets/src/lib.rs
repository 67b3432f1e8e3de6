//! Published data sets, prepared for training: a module per data set.
//!
//! The published files come in; folders of frames, lists of splits and a manifest go out, in the
//! layout that `multimae-data` reads.

pub mod nyuv2;
