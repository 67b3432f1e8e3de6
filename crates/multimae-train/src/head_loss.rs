//! The loss of a task from the encoder's outputs, and the memory of its head.
//!
//! The gradients of a loss with respect to what its head reads and to the head's parameters do not depend on the other
//! tasks. They can be computed as soon as the loss is known, before the next head runs: then the activations of one head
//! are held at a time. Nothing is computed twice.

use multimae::burn::tensor::Tensor;
use multimae::encoder_output::EncoderOutput;
use multimae::losses::TaskLoss;
use multimae::peft::PeftModel;
use multimae::state::{product_with_gradients, take_gradients};

/// A task's loss whose gradients are known already; `loss` computes it from what the head reads. Its value is that of
/// the loss, and what remains of its graph is a product of inputs and parameters with their gradients.
///
/// # Errors
/// Those of `loss`.
pub fn settled<E>(
    model: &PeftModel,
    output: EncoderOutput,
    loss: impl FnOnce(EncoderOutput) -> Result<TaskLoss, E>,
) -> Result<TaskLoss, E> {
    let leaf = |layer: &Tensor<3>| match layer.is_tracked() {
        true => layer.clone().detach().require_grad(),
        false => layer.clone(),
    };
    let leaves: Vec<Tensor<3>> = output.layers.iter().map(leaf).collect();
    let found = loss(EncoderOutput { layers: leaves.clone(), ..output.clone() })?;
    if !found.value.is_tracked() {
        return Ok(found);
    }
    let mut gradients = found.value.backward();
    let of_layers = output.layers.iter().zip(&leaves).filter_map(|(layer, leaf)| {
        let gradient = leaf.grad_remove(&mut gradients).filter(|_| layer.is_tracked())?;
        Some((layer.clone() * Tensor::from_inner(gradient)).sum())
    });
    let of_layers = of_layers.reduce(|sum, more| sum + more);
    let of_parameters = product_with_gradients(model, take_gradients(model, &mut gradients));
    let TaskLoss { value, per_sample, .. } = found;
    let products = of_layers.into_iter().chain(of_parameters).reduce(|sum, more| sum + more);
    let value = match products {
        // The difference is zero, and its gradients are those of the loss.
        Some(products) => value.detach() + (products.clone() - products.detach()),
        None => value.detach(),
    };
    Ok(TaskLoss { value, per_sample: per_sample.detach(), ..found })
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use multimae::burn::tensor::{Device, TensorData};
    use multimae::encoder::{EncoderConfig, Phase};
    use multimae::input_adapters::ModalityTensor;
    use multimae::modality::{Modality, Size};
    use multimae::multivit::MultiVitConfig;
    use multimae::output_adapters::{HeadConfig, LightConfig, Prediction, TaskHead};
    use multimae::peft::PeftConfig;
    use multimae::positions::NonSquareTables;
    use multimae::state::parameters;
    use multimae::tuning::Tuning;
    use multimae_data::stream;

    use super::*;

    fn model(tuning: &str) -> PeftModel {
        let head = |name: &str, num_classes, hooks: &[usize]| TaskHead {
            name: name.to_owned(),
            main_tasks: vec!["rgb".to_owned()],
            head: HeadConfig::Light(LightConfig {
                num_classes,
                hooks: hooks.to_vec(),
                width: 8,
                depth: 1,
            }),
        };
        let config = MultiVitConfig {
            encoder: EncoderConfig::new(16, 3, 2),
            patch_size: 8,
            image_size: Size::new(16, 24),
            num_global_tokens: 1,
            inputs: vec![Modality::continuous("rgb", 3)],
            heads: vec![head("depth", 1, &[0, 2]), head("semseg", 4, &[1, 2])],
            tables: NonSquareTables::RowColumn,
        };
        let peft = PeftConfig { entry_norms: true, ..PeftConfig::default() };
        let model = PeftModel::new(&config, &peft, &Device::default().autodiff()).unwrap();
        let model = multimae::init::initialise(model, |name| stream(3, name, 0, 0));
        tuning.parse::<Tuning>().unwrap().apply(model, 3).unwrap()
    }

    /// The value of a weighted sum of the tasks' losses, and its gradients.
    fn pass(model: &PeftModel, one_by_one: bool) -> (Vec<f32>, IndexMap<String, Vec<f32>>) {
        let device = Device::default().autodiff();
        let values: Vec<f32> = (0..2 * 3 * 16 * 24).map(|i| (i as f32 * 1.7).sin()).collect();
        let rgb = Tensor::from_data(TensorData::new(values, [2, 3, 16, 24]), &device);
        let inputs = [("rgb".to_owned(), ModalityTensor::Continuous(rgb))].into_iter().collect();
        let phase = &mut Phase::Evaluation;
        let encoded = model.encode(inputs, None, phase).unwrap();
        let mut total = Vec::new();
        for ((task, output), weight) in encoded.outputs.into_iter().zip([0.37, 1.3]) {
            let mut loss = |output| {
                let Prediction::Maps(maps) = model.predict(&task, output, phase)? else {
                    panic!("classes of images")
                };
                let value = maps.square().mean();
                Ok::<_, multimae::Error>(TaskLoss {
                    per_sample: value.clone(),
                    value,
                    empty: false,
                    samples: 2,
                })
            };
            let loss = match one_by_one {
                true => settled(model, output, loss),
                false => loss(output),
            };
            total.push(loss.unwrap().value.mul_scalar(weight));
        }
        let values = total.iter().map(|loss| loss.clone().into_data().iter::<f32>().sum());
        let values: Vec<f32> = values.collect();
        let total = total.into_iter().reduce(|sum, loss| sum + loss).unwrap();
        let gradients = take_gradients(model, &mut total.backward());
        let gradients = gradients.into_iter();
        (values, gradients.map(|(name, g)| (name, g.into_data().iter().collect())).collect())
    }

    #[test]
    fn gradients_of_heads_one_by_one_are_those_of_all() {
        for tuning in ["full", "head", "last-1"] {
            let model = model(tuning);
            let (losses, expected) = pass(&model, false);
            let (settled, got) = pass(&model, true);
            assert_eq!(settled, losses, "{tuning}");
            let trained = parameters(&model).iter().filter(|p| p.trainable).count();
            assert!(trained > 0 && got.len() == expected.len(), "{tuning}");
            for (name, expected) in expected {
                let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for (a, b) in got[&name].iter().zip(&expected) {
                    assert!((a - b).abs() <= 1e-5 * largest, "{tuning} {name}: {a} {b}");
                }
            }
        }
    }
}
