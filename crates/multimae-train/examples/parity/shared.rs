//! The parts of the model that several kinds of cases share.

use multimae::burn::module::Module;
use multimae::burn::tensor::TensorData;
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, ModalityKind};
use multimae::state::StateDict;
use multimae_train::optim::GradientMap;

use crate::case::{Case, ParityError};

/// Label maps are stored at a quarter of the image's resolution.
const SEMSEG_STRIDE: usize = 4;

/// The encoder's sizes.
pub(crate) fn encoder(case: &Case) -> Result<EncoderConfig, ParityError> {
    Ok(EncoderConfig::new(case.count("dim")?, case.count("depth")?, case.count("heads")?))
}

/// The modality of that name.
pub(crate) fn modality(case: &Case, name: &str) -> Result<Modality, ParityError> {
    let classes = case.count_or("classes", 0)?;
    Ok(match name {
        "semseg" => Modality {
            kind: ModalityKind::Categorical {
                classes,
                dim_class_emb: case.count_or("dim_class_emb", 64)?,
                padding: case.number("padding_idx").is_some(),
            },
            ..Modality::categorical(name, classes, SEMSEG_STRIDE)
        },
        "depth" => Modality::continuous(name, 1),
        _ => Modality::continuous(name, case.count_or(&format!("channels_{name}"), 3)?),
    })
}

/// Gradients in the shapes of their parameters.
pub(crate) fn insert_gradients(out: &mut StateDict, gradients: &GradientMap, model: &impl Module) {
    for parameter in multimae::state::parameters(model) {
        if let Some(gradient) = gradients.get(&parameter.name) {
            let values: Vec<f32> = gradient.to_data().iter::<f32>().collect();
            out.insert(
                format!("grad.{}", parameter.name),
                TensorData::new(values, parameter.shape),
            );
        }
    }
}
