//! The names of labels, of a model or of a data set.

use multimae_report::palette::Palette;

use crate::{ClassInfo, Task};

/// The labels of a model or of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelNames {
    /// Names and colours; labels are in `0..palette.len()`.
    pub palette: Palette,
    /// A label that stands for "unknown", among the others or beyond them.
    pub ignore: Option<i64>,
    /// A label minus the value that files store for it.
    pub offset: i64,
}

impl LabelNames {
    /// The labels of a task.
    #[must_use]
    pub fn of(task: &dyn Task) -> Self {
        let class = |class: &ClassInfo| (class.name.clone(), class.color);
        let palette = Palette::new(task.classes().iter().map(class).collect());
        Self { palette, ignore: task.ignored_label(), offset: task.label_offset() }
    }

    /// The labels that are classes.
    pub fn classes(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.palette.len() as i64).filter(|label| self.ignore != Some(*label))
    }
}
