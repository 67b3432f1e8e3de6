//! Medians of what was predicted, and of inputs in the same unit.

use indexmap::IndexMap;
use multimae_data::{Encoding, RawMap, RawSample};
use multimae_tasks::{ImageMedians, far_apart};

use super::{FramePrediction, TaskPrediction};
use crate::saved_model::ModelCard;

/// The medians of the predictions of tasks with a unit, and of inputs with a unit.
#[derive(Debug, Default)]
pub struct Medians {
    tasks: IndexMap<String, ImageMedians>,
    inputs: IndexMap<String, ImageMedians>,
}

impl Medians {
    /// Adds a frame and what was predicted for it.
    pub fn add(&mut self, card: &ModelCard, frame: &RawSample, prediction: &FramePrediction) {
        for (name, task) in &card.tasks {
            if task.task.unit().is_some()
                && let Some(TaskPrediction::Values(values)) = prediction.tasks.get(name)
            {
                self.tasks.entry(name.clone()).or_default().add(values.iter().copied());
            }
        }
        for input in card.inputs.iter().filter(|input| input.unit.is_some()) {
            let encoding = &input.data.encoding;
            if let Some(RawMap::Continuous { channels, data }) = frame.maps.get(&input.data.name) {
                let medians = self.inputs.entry(input.data.name.clone()).or_default();
                medians.add(encoding.decoded_values(data, *channels));
            }
        }
    }

    /// The medians in words, and a warning where an input and a prediction in the same unit are
    /// far apart.
    #[must_use]
    pub fn lines(&self, card: &ModelCard) -> Vec<String> {
        let mut lines = Vec::new();
        for (task, predicted) in &self.tasks {
            let Some(unit) = card.tasks.get(task).and_then(|card| card.task.unit()) else {
                continue;
            };
            let Some(median) = predicted.median() else { continue };
            lines.push(format!("{task}: the median of the predictions is {median:.2} {unit}"));
            for (name, given) in &self.inputs {
                let input = card.input(name).filter(|input| input.unit.as_deref() == Some(unit));
                let (Some(input), Some(given)) = (input, given.median()) else { continue };
                let read = match &input.data.encoding {
                    Encoding::Continuous { divisor, .. } => {
                        format!("stored values divided by {divisor}")
                    }
                    _ => "stored values".to_owned(),
                };
                lines.push(format!("{name}: the median of the input is {given:.2} {unit}, {read}"));
                if let Some(ratio) = far_apart(median, given) {
                    lines.push(format!(
                        "warning: input {name} and predicted {task} differ by a factor of \
                         {ratio:.1}: the unit of the files is likely another; set it with `--set \
                         modalities.{name}.divisor=NUMBER`"
                    ));
                }
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use multimae_data::{DataModality, Interpolation, Quantity, ValueRules};

    use super::*;
    use crate::saved_model::tests::card;
    use crate::saved_model::{InputModality, Normalisation};

    #[test]
    fn an_input_of_another_unit_than_the_prediction_is_a_warning() {
        let mut card = card();
        let depth = |divisor| InputModality {
            data: DataModality {
                name: "range".to_owned(),
                folder: "range".to_owned(),
                encoding: Encoding::Continuous {
                    channels: 1,
                    divisor,
                    mean: Vec::new(),
                    std: Vec::new(),
                    interpolation: Interpolation::Nearest,
                    standardize: false,
                    quantity: Quantity::Distance,
                },
                stride: 1,
                orientation: multimae_data::Orientation::Apply,
                naming: multimae_data::Naming::default(),
                rules: ValueRules::default(),
            },
            adapter: "range".to_owned(),
            normalisation: Normalisation::None,
            unit: Some("m".to_owned()),
        };
        let data = vec![0.0, 16000.0, 20000.0, 24000.0];
        let maps = [("range".to_owned(), RawMap::Continuous { channels: 1, data })];
        let frame =
            RawSample { id: "a".to_owned(), index: 0, height: 2, width: 2, maps: maps.into() };
        let tasks = [("depth".to_owned(), TaskPrediction::Values(vec![2.0, 2.5, 3.0, 2.5]))];
        let prediction = FramePrediction { tasks: tasks.into() };
        for (divisor, warned) in [(8000.0, false), (1000.0, true)] {
            card.inputs = vec![depth(divisor)];
            let mut medians = Medians::default();
            medians.add(&card, &frame, &prediction);
            let lines = medians.lines(&card).join("\n");
            assert!(lines.contains("the median of the predictions is 2.50 m"), "{lines}");
            assert!(lines.contains(&format!("divided by {divisor}")), "{lines}");
            assert_eq!(lines.contains("factor of 8.0"), warned, "{lines}");
        }
    }
}
