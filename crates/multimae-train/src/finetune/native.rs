//! Evaluation samples: frames as a saved model sees them, and the annotations at their own size.

use multimae::modality::Size;
use multimae_data::{
    DataFacts, Encoding, Error, Map, Pipeline, RawMap, RawSample, Result, Sample, SampleSource,
    Values,
};
use multimae_infer::predict::{ModelView, PredictOptions};
use multimae_infer::saved_model::ModelCard;

/// The prefix of the names of maps at their own resolution.
pub const NATIVE: &str = "native/";

/// Whole frames at the size at which the model sees them, with the annotations of some modalities
/// at their own size under [`NATIVE`] and the modality's name.
pub(super) struct NativeSource {
    pub(super) pipeline: Pipeline,
    pub(super) card: ModelCard,
    pub(super) names: Vec<String>,
}

/// All inputs of a model, at the scale of its training.
pub(super) fn all_inputs(card: &ModelCard) -> PredictOptions {
    let inputs = card.inputs.iter().map(|input| input.data.name.clone()).collect();
    PredictOptions { inputs, canvas: None, flip: false }
}

impl SampleSource for NativeSource {
    fn len(&self) -> usize {
        SampleSource::len(&self.pipeline)
    }

    fn id(&self, epoch: u64, index: usize) -> String {
        SampleSource::id(&self.pipeline, epoch, index)
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        let raw = self.pipeline.dataset().decode(index)?;
        let size = Size::new(raw.height, raw.width);
        let view = ModelView::of(&self.card, size, &all_inputs(&self.card))
            .map_err(|error| Error::Config(format!("sample `{}`: {error}", raw.id)))?;
        let canvas = (view.canvas.height, view.canvas.width);
        let mut sample = self.pipeline.apply_at(&raw, view.placement(false), canvas, epoch)?;
        let modalities = self.pipeline.dataset().modalities();
        for modality in modalities.iter().filter(|m| self.names.contains(&m.name)) {
            if let Some(map) = native(&raw, &modality.name, &modality.encoding) {
                sample.maps.insert(format!("{NATIVE}{}", modality.name), map);
            }
        }
        Ok(sample)
    }

    fn facts(&self) -> Result<Option<DataFacts>> {
        SampleSource::facts(&self.pipeline)
    }
}

fn native(raw: &RawSample, name: &str, encoding: &Encoding) -> Option<Map> {
    let values = match raw.maps.get(name)? {
        RawMap::Labels(labels) => Values::Labels(labels.clone()),
        RawMap::Continuous { channels, data } => {
            let data = encoding.decoded_values(data, *channels);
            Values::Continuous { channels: *channels, data }
        }
        RawMap::Color(_) => return None,
    };
    Some(Map { height: raw.height, width: raw.width, values })
}
