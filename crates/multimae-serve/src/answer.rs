//! The prediction for one frame, whose files are encoded when they are asked for.

use std::sync::Arc;
use std::time::Instant;

use multimae_infer::predict::{FramePrediction, PredictionFile, files_of};
use multimae_infer::saved_model::ModelCard;

use crate::Metrics;
use crate::error::Problem;

/// The prediction for one frame.
pub(crate) struct FrameAnswer {
    card: Arc<ModelCard>,
    size: (usize, usize),
    prediction: FramePrediction,
}

impl FrameAnswer {
    /// `size` is height and width of the frame.
    pub(crate) fn new(
        card: Arc<ModelCard>,
        size: (usize, usize),
        prediction: FramePrediction,
    ) -> Self {
        Self { card, size, prediction }
    }

    /// Height and width of the frame.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Memory that the prediction takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.prediction.bytes()
    }

    /// The names of the files, such as `depth.png`. None is encoded.
    pub(crate) fn names(&self) -> Vec<String> {
        self.files().map(|(task, file)| format!("{task}.{}", file.extension())).collect()
    }

    /// Encodes one file; `None` if there is none of the name.
    ///
    /// # Errors
    /// If the values do not fit the format.
    pub(crate) fn encode(&self, name: &str, metrics: &Metrics) -> Option<Result<Vec<u8>, Problem>> {
        let (task, extension) = name.rsplit_once('.')?;
        let mut files = self.files();
        let (_, file) = files.find(|(of, file)| *of == task && file.extension() == extension)?;
        let begin = Instant::now();
        let bytes = file.encode().map_err(|error| Problem::unfit(error.to_string()));
        metrics.stage("encode", begin.elapsed());
        metrics.encoded(file.extension());
        Some(bytes)
    }

    fn files(&self) -> impl Iterator<Item = (&str, PredictionFile<'_>)> {
        self.prediction.tasks.iter().flat_map(|(task, predicted)| {
            let kind = self.card.tasks.get(task).map(|card| &*card.task);
            let files = kind.map(|kind| files_of(kind, predicted, self.size)).unwrap_or_default();
            files.into_iter().map(move |file| (task.as_str(), file))
        })
    }
}
