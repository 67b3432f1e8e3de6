//! The weighted sum of the tasks' losses.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use indexmap::IndexMap;

use super::TaskLoss;
use crate::nn::parameter;

/// Uncertainty weighting (Kendall et al., 2018): a learned log-variance per task.
#[derive(Module, Debug)]
pub struct TaskBalancer {
    /// `(tasks)`, in the order of the tasks, zero at first.
    pub log_vars: Param<Tensor<1>>,
    #[module(skip)]
    tasks: Vec<String>,
}

impl TaskBalancer {
    /// A balancer for these tasks: every decoder, `norm_rgb` included.
    #[must_use]
    pub fn new(tasks: Vec<String>, device: &Device) -> Self {
        Self { log_vars: parameter([tasks.len()], device), tasks }
    }

    /// The tasks in the order of [`Self::log_vars`].
    #[must_use]
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// `exp(-v) L + v`; zero where the task was dropped from this step.
    fn weigh(&self, task: &str, loss: &TaskLoss) -> Tensor<1> {
        match self.tasks.iter().position(|name| name == task) {
            Some(index) if !loss.empty => {
                let v = self.log_vars.val().narrow(0, index, 1);
                v.clone().neg().exp() * loss.value.clone() + v
            }
            _ => loss.value.clone(),
        }
    }
}

/// The tasks' weighted losses, each `(1)`, in order.
#[must_use]
pub fn weighted_loss(
    balancer: Option<&TaskBalancer>,
    losses: &IndexMap<String, TaskLoss>,
) -> IndexMap<String, Tensor<1>> {
    losses
        .iter()
        .map(|(task, loss)| {
            let weighted = match balancer {
                Some(balancer) => balancer.weigh(task, loss),
                None => loss.value.clone(),
            };
            (task.clone(), weighted)
        })
        .collect()
}
