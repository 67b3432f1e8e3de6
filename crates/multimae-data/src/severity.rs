//! The severity of a finding.

use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Likely a mistake, or it will hurt.
    Warning,
    /// Training would fail, or learn from wrong data.
    Error,
}
