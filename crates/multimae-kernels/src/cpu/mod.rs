//! The kernels themselves: functions over slices of `f32` that know nothing of the engine.
//!
//! Sums run over a fixed number of lanes in a fixed order, with fused multiply-add everywhere, so
//! that outside GEMMs the bits depend neither on the processor's vector width nor on the number of
//! threads. Those of GEMMs do not depend on the number of threads.

pub mod adamw;
pub mod attention;
pub mod conv;
pub mod cross_entropy;
pub mod depthwise;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod mlp;
pub mod resize;
pub mod scale_shift;
pub mod swap_axes;
pub(crate) mod winograd;

pub(crate) mod bf16;
mod epilogue;
mod grid;
pub(crate) mod int8;
mod lanes;
pub(crate) mod matrix;
pub(crate) mod parallel;
mod prefetch;
pub(crate) mod product;
mod tile;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_tiles.rs"]
pub(crate) mod tiles;
mod vectors;

#[cfg(test)]
pub(crate) mod testing;
