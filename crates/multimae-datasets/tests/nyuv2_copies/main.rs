//! The same frames of NYUv2 from every copy, see `fixtures/make_nyuv2_copies.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod damage;
mod lists;
mod precision;
mod recognition;
mod scratch;
