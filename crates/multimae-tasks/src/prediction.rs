//! Predictions at a frame's own size.

use indexmap::IndexMap;

/// The prediction of a model for a frame, by task, at the frame's own size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FramePrediction {
    /// By the name of the task.
    pub tasks: IndexMap<String, TaskPrediction>,
}

impl FramePrediction {
    /// The memory that the values take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_task = |task: &TaskPrediction| match task {
            TaskPrediction::Values(values) | TaskPrediction::Classes(values) => {
                size_of_val(values.as_slice())
            }
            TaskPrediction::Labels(labels) => size_of_val(labels.as_slice()),
        };
        self.tasks.values().map(of_task).sum()
    }
}

/// The prediction for one task. Its [`Task`](crate::Task) knows what the numbers mean.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskPrediction {
    /// `(C, H, W)`, in the task's unit.
    Values(Vec<f32>),
    /// `(H, W)`, indices of classes.
    Labels(Vec<i64>),
    /// Logits of the classes of the whole frame.
    Classes(Vec<f32>),
}

impl TaskPrediction {
    /// The values, if there are some.
    #[must_use]
    pub fn values(&self) -> Option<&[f32]> {
        if let Self::Values(values) = self { Some(values) } else { None }
    }

    /// The labels, if there are some.
    #[must_use]
    pub fn labels(&self) -> Option<&[i64]> {
        if let Self::Labels(labels) = self { Some(labels) } else { None }
    }

    /// The logits of classes, if there are some.
    #[must_use]
    pub fn logits(&self) -> Option<&[f32]> {
        if let Self::Classes(logits) = self { Some(logits) } else { None }
    }
}
