//! The kernels themselves: functions over slices of `f32` that know nothing of the engine.
//!
//! Sums run over a fixed number of lanes in a fixed order and products are fused everywhere, so
//! that outside the matrix products the bits depend neither on the processor's vector width nor on
//! the number of threads.

pub mod adamw;
pub mod attention;
pub mod conv;
pub mod cross_entropy;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod precision;
pub mod resize;
pub mod scale_shift;

mod bf16;
mod lanes;
mod matrix;
mod parallel;

#[cfg(test)]
pub(crate) mod testing;
