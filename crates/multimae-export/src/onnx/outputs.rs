//! From the outputs of heads to values in the units of their tasks.

use multimae::burn::tensor::TensorData;
use multimae_tasks::DecodingStep;

use super::graph::{Attribute, Extent, Graph, Value};
use super::proto::data_type;
use crate::Result;

impl Graph<'_> {
    /// Values in the unit of a task; see [`multimae_tasks::Task::decode`].
    pub(super) fn decoded(&mut self, maps: Value, steps: &[DecodingStep]) -> Result<Value> {
        self.at("decode");
        steps.iter().try_fold(maps, |maps, step| self.decoding_step(maps, step))
    }

    fn decoding_step(&mut self, maps: Value, step: &DecodingStep) -> Result<Value> {
        match step {
            DecodingStep::Channels(count) => {
                let count = maps.extent(1).min(*count);
                self.slice(&maps, 1, 0, count)
            }
            DecodingStep::Affine { scale, shift } => self.affine(&maps, scale, shift),
            DecodingStep::Exp => Ok(self.unary("Exp", &maps)),
            DecodingStep::Clamp { min, max } => self.clip(&maps, *min as f32, *max as f32),
            DecodingStep::UnitLength { eps } => {
                let squares = self.reduced("ReduceSumSquare", &maps, 1);
                let eps = self.scalar(*eps as f32)?;
                let squares = self.add(&squares, &eps);
                let length = self.unary("Sqrt", &squares);
                Ok(self.div(&maps, &length))
            }
        }
    }

    /// `x * scale + shift` by channel of `(B, C, H, W)`.
    pub(super) fn affine(&mut self, maps: &Value, scale: &[f32], shift: &[f32]) -> Result<Value> {
        let mut by_channel = |hint: &str, values: &[f32]| {
            self.constant(hint, &TensorData::new(values.to_vec(), [1, values.len(), 1, 1]))
        };
        let (scale, shift) = (by_channel("scale", scale)?, by_channel("shift", shift)?);
        let scaled = self.mul(maps, &scale);
        Ok(self.add(&scaled, &shift))
    }

    /// The class of the largest logit, `(B, H, W)`, as bytes where they suffice.
    pub(super) fn arg_max(&mut self, logits: &Value) -> (Value, i32) {
        let shape: Vec<Extent> = logits
            .shape
            .iter()
            .enumerate()
            .filter(|(axis, _)| *axis != 1)
            .map(|(_, e)| *e)
            .collect();
        let attributes = vec![("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
        let classes = self.node("ArgMax", &[logits], attributes, shape.clone());
        if logits.extent(1) > 256 {
            return (classes, data_type::INT64);
        }
        let to = vec![("to", Attribute::Int(data_type::UINT8.into()))];
        (self.node("Cast", &[&classes], to, shape), data_type::UINT8)
    }
}
