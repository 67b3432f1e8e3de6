//! The Python module `multimae._multimae`: models, data sets and metrics over NumPy arrays.
//!
//! The interpreter is released while anything is read or computed. Importing the module starts no
//! thread, installs no signal handler and leaves the allocator of the process alone.

mod arrays;
mod dataset;
mod error;
mod features;
mod json;
mod metrics;
mod model;
mod process;

use pyo3::prelude::*;

/// Models, data sets and metrics of multimae over NumPy arrays.
#[pymodule]
mod _multimae {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::dataset::Dataset;
    #[pymodule_export]
    use super::error::Error;
    #[pymodule_export]
    use super::metrics::{Scorer, depth, labels, normals, protocols, values};
    #[pymodule_export]
    use super::model::{Model, load};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
