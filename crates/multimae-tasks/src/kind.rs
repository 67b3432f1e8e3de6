//! A line of the registry, and what a task is built from.

use std::sync::Arc;

use multimae::losses::SupervisedLoss;
use multimae_config::{FinetuneRecipe, TaskModality};
use multimae_data::Quantity;
use serde_json::Value;

use crate::{Constant, Error, Protocol, Result, Task};

/// A kind of task.
#[derive(Debug)]
pub struct TaskKind {
    /// Its name: the value of `task:` in a modality's entry, and the tag in saved models.
    pub name: &'static str,
    /// A line on it.
    pub about: &'static str,
    /// Reads a task from the fields in a saved model.
    pub read: fn(Value) -> Result<Arc<dyn Task>, String>,
    /// Builds a task from a recipe and the statistics of its training annotations.
    pub build: fn(&BuildContext<'_>) -> Result<Built>,
    /// The range of annotated values that are valid by a recipe.
    pub valid_range: fn(&FinetuneRecipe) -> (f64, f64),
    /// The quantity that its annotations measure, unless their entry says another.
    pub quantity: Quantity,
    /// Its named protocols, each with a line on it.
    pub protocols: fn() -> Vec<(Protocol, &'static str)>,
    /// Its scores; the first one stands for the task in comparisons.
    pub scores: &'static [Score],
}

/// A score of a kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// Its name; in results, `<task>_<name>`.
    pub name: &'static str,
    /// Whether higher is better.
    pub higher_is_better: bool,
}

impl Score {
    /// A score of which higher is better.
    #[must_use]
    pub const fn higher(name: &'static str) -> Self {
        Self { name, higher_is_better: true }
    }

    /// A score of which lower is better.
    #[must_use]
    pub const fn lower(name: &'static str) -> Self {
        Self { name, higher_is_better: false }
    }
}

/// Everything that a task of a run follows from.
#[derive(Debug)]
pub struct BuildContext<'a> {
    /// The recipe.
    pub recipe: &'a FinetuneRecipe,
    /// The task's name.
    pub name: &'a str,
    /// The storage of its annotations; none for classes of images.
    pub modality: Option<&'a TaskModality>,
    /// The statistics of the training annotations.
    pub constant: Option<&'a Constant>,
    /// The classes of images, by folder.
    pub classes: &'a [String],
}

impl BuildContext<'_> {
    /// The modality of the annotations.
    ///
    /// # Errors
    /// If there is none.
    pub fn modality(&self) -> Result<&TaskModality> {
        self.modality.ok_or_else(|| Error::task(self.name, "its annotations are not stored"))
    }

    /// An error of this task.
    #[must_use]
    pub fn problem(&self, problem: impl Into<String>) -> Error {
        Error::task(self.name, problem)
    }
}

/// A task of a run.
#[derive(Debug)]
pub struct Built {
    /// The task.
    pub task: Arc<dyn Task>,
    /// The loss that its head minimises.
    pub loss: SupervisedLoss,
    /// The number of outputs of its head.
    pub outputs: usize,
}
