//! Fast CPU operations of `multimae`. With `multimae-io` the only crate with `unsafe` code; it does
//! not depend on the model.
//!
//! * [`cpu`]: fused kernels over slices, forward and backward.
//! * [`ops`]: the kernels as operations on the engine's tensors, each with a plain twin.
//! * [`limits`]: what the processor can do at most.
//! * [`precision`]: the precision of GEMMs, a property of a call.
//! * [`int8`]: the layers that multiply in 8 bits.
//! * [`observe`]: a look at what linear layers multiply.
//! * [`prepared`]: weights that are packed once.
//! * [`task_parallel`]: independent tasks, one per processor.
//! * [`threads`]: the threads that compute.
//! * [`allocator`]: keeps the memory of one step for the next:
//!
//! ```
//! use multimae_kernels::allocator::{Allocator, keep_freed_memory};
//!
//! #[global_allocator]
//! static ALLOCATOR: Allocator = multimae_kernels::allocator::ALLOCATOR;
//!
//! assert!(keep_freed_memory());
//! ```

pub mod allocator;
pub mod cpu;
mod device_precision;
pub mod int8;
pub mod limits;
pub mod observe;
pub mod ops;
pub mod precision;
pub mod prepared;
mod switch;
pub mod task_parallel;
pub mod threads;

pub use device_precision::Unsupported;
