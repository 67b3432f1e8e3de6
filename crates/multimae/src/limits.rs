//! Bounds on the sizes that a description of a model may claim, checked before anything is built: a
//! damaged file could claim any.

use crate::{Error, Result};

/// The most blocks of an encoder, a decoder or a head.
const MAX_DEPTH: usize = 1024;
/// The largest embedding or hidden dimension.
const MAX_WIDTH: usize = 1 << 20;
/// The most values of a table of positions: 256 MiB.
const MAX_TABLE: usize = 1 << 26;

/// # Errors
/// If a stack has more blocks than any known model.
pub(crate) fn check_depth(part: &str, depth: usize) -> Result<()> {
    within(part, "blocks", Some(depth), MAX_DEPTH)
}

/// # Errors
/// If a dimension is larger than that of any known model.
pub(crate) fn check_width(part: &str, width: usize) -> Result<()> {
    within(part, "dimensions", Some(width), MAX_WIDTH)
}

/// # Errors
/// If a table of positions does not fit into memory.
pub(crate) fn check_table(dim: usize, rows: usize, columns: usize) -> Result<()> {
    let values = dim.checked_mul(rows).and_then(|values| values.checked_mul(columns));
    within("a table of positions", "values", values, MAX_TABLE)
}

fn within(part: &str, unit: &str, count: Option<usize>, most: usize) -> Result<()> {
    match count {
        Some(count) if count <= most => Ok(()),
        _ => {
            let count = count.map_or("far more".to_owned(), |count| count.to_string());
            Err(Error::Config(format!("{part}: {count} {unit}, and at most {most} are allowed")))
        }
    }
}
