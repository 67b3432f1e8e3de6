//! Values between Python and JSON.

use pyo3::prelude::*;
use serde_json::Value;

use crate::error::error;

/// Converts JSON to dictionaries, lists, strings and numbers.
///
/// # Errors
/// If the interpreter fails.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (value.to_string(),))
}

/// Converts dictionaries, lists, strings and numbers to JSON.
///
/// # Errors
/// If a value has no form in JSON.
pub(crate) fn of_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let text: String = value.py().import("json")?.call_method1("dumps", (value,))?.extract()?;
    serde_json::from_str(&text).map_err(|problem| error(problem.to_string()))
}
