//! The agreement of predictions with those of another model.

use indexmap::IndexMap;
use multimae_infer::predict::{PredictOptions, Predictor};
use multimae_infer::quantize::{Agreement, AgreementOfTask};
use multimae_report::Table;
use serde::Serialize;

use crate::run::Evaluator;
use crate::{Error, Result};

/// The agreement with another model, over all frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelAgreement {
    /// The other model.
    pub with: String,
    /// By task.
    pub tasks: IndexMap<String, AgreementOfTask>,
}

impl ModelAgreement {
    /// A row per task.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(["task".to_owned(), format!("agreement with {}", self.with)]);
        for (task, agreement) in &self.tasks {
            table.row(vec![task.clone(), agreement.to_string()]);
        }
        table
    }
}

impl Evaluator<'_> {
    /// Compares the predictions for all frames with those of another model, at the frames' own size.
    /// `progress` is told how many of how many frames are done.
    ///
    /// # Errors
    /// If a frame is bad or does not fit a model, or the models have no task in common.
    pub fn compare(
        &self,
        (other, name): (&dyn Predictor, &str),
        inputs: &[String],
        flip: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<ModelAgreement> {
        let options = PredictOptions { inputs: inputs.to_vec(), canvas: None, flip };
        let mut agreement = Agreement::default();
        for index in 0..self.dataset.len() {
            let frame = self.dataset.decode(index)?;
            let prediction = self.predictor.predict(&frame, &options)?;
            agreement.add(&prediction, &other.predict(&frame, &options)?);
            progress(index + 1, self.dataset.len());
        }
        let tasks: IndexMap<String, AgreementOfTask> =
            agreement.tasks().map(|(task, of_task)| (task.to_owned(), of_task)).collect();
        if tasks.is_empty() {
            let text = format!("{name} predicts no task of {}", self.model);
            return Err(Error::Evaluation(text));
        }
        Ok(ModelAgreement { with: name.to_owned(), tasks })
    }
}
