//! Errors as Python exceptions, with their texts.

use pyo3::exceptions::{PyFileNotFoundError, PyValueError};
use pyo3::prelude::*;

// The macro documents the type for Python and makes the unsafe code of a type object.
#[allow(missing_docs, unsafe_code)]
mod exception {
    use pyo3::exceptions::PyValueError;

    pyo3::create_exception!(
        multimae,
        Error,
        PyValueError,
        "A model, a data set or an array cannot be used; the message says why and what to do."
    );
}
pub(crate) use exception::Error;

/// Creates an [`Error`] with this text.
pub(crate) fn error(text: impl Into<String>) -> PyErr {
    Error::new_err(text.into())
}

/// An error of the crates below as a Python exception: `OSError` of files that cannot be read, else
/// [`Error`].
pub(crate) trait IntoPyError {
    /// Converts the error.
    fn into_py_error(self) -> PyErr;
}

/// The same for results.
pub(crate) trait PyContext<T> {
    /// Converts the error of a result.
    fn py(self) -> PyResult<T>;
}

impl<T, E: IntoPyError> PyContext<T> for Result<T, E> {
    fn py(self) -> PyResult<T> {
        self.map_err(IntoPyError::into_py_error)
    }
}

impl IntoPyError for std::io::Error {
    fn into_py_error(self) -> PyErr {
        self.into()
    }
}

impl IntoPyError for String {
    fn into_py_error(self) -> PyErr {
        error(self)
    }
}

impl IntoPyError for multimae::Error {
    fn into_py_error(self) -> PyErr {
        match self {
            Self::Io(file) => file.into(),
            other => error(other.to_string()),
        }
    }
}

impl IntoPyError for multimae_data::Error {
    fn into_py_error(self) -> PyErr {
        match self {
            Self::Io(file) => file.into(),
            Self::MissingFolder { .. } => PyFileNotFoundError::new_err(self.to_string()),
            other => error(other.to_string()),
        }
    }
}

impl IntoPyError for multimae_config::Error {
    fn into_py_error(self) -> PyErr {
        match self {
            Self::Io(file) => file.into(),
            Self::Data(data) => data.into_py_error(),
            other => error(other.to_string()),
        }
    }
}

impl IntoPyError for multimae_tasks::Error {
    fn into_py_error(self) -> PyErr {
        error(self.to_string())
    }
}

impl IntoPyError for multimae_infer::Error {
    fn into_py_error(self) -> PyErr {
        match self {
            Self::Io(file) => file.into(),
            Self::Model(model) => model.into_py_error(),
            Self::Data(data) => data.into_py_error(),
            Self::Config(config) => config.into_py_error(),
            other => error(other.to_string()),
        }
    }
}

/// Creates the exception of an argument whose value is none of those that are allowed.
pub(crate) fn argument(text: impl Into<String>) -> PyErr {
    PyValueError::new_err(text.into())
}
