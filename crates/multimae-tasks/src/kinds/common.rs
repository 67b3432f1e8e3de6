//! Helpers that several kinds share.

use multimae::losses::RegressionLoss;
use multimae_config::{DownstreamLoss, FinetuneRecipe};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Constant, Error, Result, TaskPrediction};

/// Shares of classes are at least this where their logarithm is taken.
const LEAST_SHARE: f64 = 1e-9;

/// The regression loss of a recipe.
pub(super) fn regression(recipe: &FinetuneRecipe) -> RegressionLoss {
    match recipe.loss {
        DownstreamLoss::BerHu => RegressionLoss::BerHu,
        DownstreamLoss::L1 => RegressionLoss::L1,
        DownstreamLoss::Silog => RegressionLoss::Silog { variance_focus: recipe.silog_focus },
    }
}

/// The fields of a task in a saved model.
pub(super) fn fields<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Returns the logits of the classes' shares; `None` for statistics of another kind.
pub(super) fn log_shares(constant: &Constant) -> Option<Vec<f32>> {
    let Constant::Frequencies(shares) = constant else { return None };
    Some(shares.iter().map(|share| share.max(LEAST_SHARE).ln() as f32).collect())
}

/// A prediction that is not of the task's kind.
pub(super) fn not_fitting(kind: &str, extension: &str, prediction: &TaskPrediction) -> Error {
    let found = match prediction {
        TaskPrediction::Values(_) => "values",
        TaskPrediction::Labels(_) => "labels",
        TaskPrediction::Classes(_) => "classes of images",
    };
    Error::Prediction(format!("{kind}: no `.{extension}` file is made of {found}"))
}
