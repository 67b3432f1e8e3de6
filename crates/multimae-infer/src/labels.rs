//! The labels of a model or of a data set.

use multimae_report::palette::Palette;

/// The labels of a model or of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Names and colours; labels are in `0..palette.len()`.
    pub palette: Palette,
    /// A label that stands for "unknown", among the others or beyond them.
    pub ignore: Option<i64>,
    /// A label minus the value that files store for it.
    pub offset: i64,
}

impl Labels {
    /// The labels that are classes.
    pub fn classes(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.palette.len() as i64).filter(|label| self.ignore != Some(*label))
    }
}
