//! Cells of the tables.

/// Of a value that is not known, or does not apply.
pub(crate) const NONE: &str = "–";

/// A share in whole percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
