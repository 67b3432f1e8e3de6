//! What makes `multimae` fast on a CPU. The one crate with `unsafe` code; it knows nothing of the
//! model.
//!
//! * [`cpu`]: fused kernels over slices, forward and backward.
//! * [`ops`]: the kernels as operations on the engine's tensors, each with a plain twin.
//! * [`precision`]: the precision of products, a property of a call.
//! * [`task_parallel`]: independent pieces of work, each on a processor of its own.
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
pub mod ops;
pub mod precision;
pub mod task_parallel;
pub mod threads;
