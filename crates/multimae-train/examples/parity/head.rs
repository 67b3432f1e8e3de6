//! Cases of downstream heads.

use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::losses::{RegressionLoss, SupervisedLoss, SupervisedTarget};
use multimae::modality::Size;
use multimae::model::Inputs;
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::output_adapters::{
    ConvNeXtConfig, DptConfig, DptOutput, HeadConfig, LinearConfig, Prediction, SegmenterConfig,
    TaskHead, merge_aliases,
};
use multimae::positions::NonSquareTables;
use multimae::state::{AllowedKeys, StateDict, load, take_gradients};

use crate::case::{Case, Files, ParityError, Tensors, encode};
use crate::shared::{encoder, insert_gradients, modality};

/// Pixels with this label do not count.
const IGNORE: i64 = 255;
/// Label smoothing of classification.
const SMOOTHING: f64 = 0.1;

/// Computes the forward and backward pass.
pub(crate) fn compute(case: &Case) -> Result<Files, ParityError> {
    let device = Device::default().autodiff();
    let task = case.required_text("task")?;
    let weights = merge_aliases(case.tensors("weights.safetensors")?.tensors)?;
    let model = MultiVit::new(&model_config(case, task)?, &device)?;
    let model = load(model, weights, &AllowedKeys::default())?;
    let batch = case.tensors("forward_backward.safetensors")?;
    let inputs = case
        .names("in_domains")?
        .into_iter()
        .map(|name| batch.input(&name, &device).map(|input| (name, input)))
        .collect::<Result<Inputs, _>>()?;

    let layers = model.forward(inputs, &mut Phase::Evaluation)?;
    let predictions = model.forward_heads(&layers, &mut Phase::Evaluation)?;
    let prediction = &predictions[task];
    let (loss, target) = objective(task, prediction, &batch, &device)?;
    let loss = loss.forward(task, prediction, &target)?.value;
    let mut gradients = loss.backward();

    let mut out = StateDict::new();
    let values = match prediction.clone() {
        Prediction::Maps(maps) => maps.inner().into_data(),
        Prediction::Classes(logits) => logits.inner().into_data(),
    };
    out.insert(format!("pred.{task}"), values);
    for (index, layer) in layers.layers.iter().enumerate() {
        out.insert(format!("encoder_layer.{index}"), layer.clone().inner().into_data());
    }
    out.insert("loss".to_owned(), loss.inner().into_data());
    insert_gradients(&mut out, &take_gradients(&model, &mut gradients), &model);
    Ok(vec![("forward_backward.safetensors", encode(&out)?)])
}

fn model_config(case: &Case, task: &str) -> Result<MultiVitConfig, ParityError> {
    let in_domains = case.names("in_domains")?;
    let inputs =
        in_domains.iter().map(|name| modality(case, name)).collect::<Result<Vec<_>, _>>()?;
    Ok(MultiVitConfig {
        encoder: encoder(case)?,
        patch_size: case.count("patch")?,
        image_size: Size::square(case.count("image")?),
        num_global_tokens: case.count_or("global_tokens", 1)?,
        inputs,
        heads: vec![TaskHead {
            name: task.to_owned(),
            main_tasks: in_domains,
            head: head_config(case)?,
        }],
        tables: NonSquareTables::default(),
    })
}

fn head_config(case: &Case) -> Result<HeadConfig, ParityError> {
    let num_classes = case.count("num_classes")?;
    let dpt = |head_type| {
        Ok::<_, ParityError>(HeadConfig::Dpt(DptConfig {
            num_classes,
            head_type,
            hooks: case.counts("hooks")?,
            layer_dims: case.counts("layer_dims")?,
            feature_dim: case.count("feature_dim")?,
        }))
    };
    match case.required_text("head")? {
        "linear" => Ok(HeadConfig::Linear(LinearConfig {
            num_classes,
            use_mean_pooling: case.flag("mean_pool"),
        })),
        "segmenter" => Ok(HeadConfig::Segmenter(SegmenterConfig {
            embed_dim: case.count("head_dim")?,
            depth: case.count("head_depth")?,
            heads: case.count("heads")?,
            ..SegmenterConfig::new(num_classes)
        })),
        "convnext" => Ok(HeadConfig::ConvNeXt(ConvNeXtConfig {
            embed_dim: case.count("head_dim")?,
            preds_per_patch: case.count("preds_per_patch")?,
            depth: case.count("head_depth")?,
            ..ConvNeXtConfig::new(num_classes)
        })),
        "dpt" => dpt(DptOutput::Regression),
        "dpt_semseg" => dpt(DptOutput::Semseg),
        other => Err(case.config_error("head", &format!("`{other}` is not known"))),
    }
}

/// The loss goes by what is predicted: classes of images, values of depth, labels of pixels.
fn objective(
    task: &str,
    prediction: &Prediction,
    batch: &Tensors,
    device: &Device,
) -> Result<(SupervisedLoss, SupervisedTarget), ParityError> {
    let target = batch.get("target")?.clone();
    let axes = target.shape().len();
    match (prediction, task, axes) {
        (Prediction::Classes(_), _, 1) => Ok((
            SupervisedLoss::CrossEntropy { label_smoothing: SMOOTHING, ignore: None },
            SupervisedTarget::Classes(Tensor::from_data(target, device)),
        )),
        (Prediction::Maps(_), "depth", 4) => {
            let valid =
                Tensor::<4>::from_data(batch.get("valid")?.clone().convert::<f32>(), device);
            Ok((
                SupervisedLoss::Regression(RegressionLoss::BerHu),
                SupervisedTarget::Values {
                    values: Tensor::from_data(target, device),
                    valid: Some(valid.greater_elem(0.5)),
                },
            ))
        }
        (Prediction::Maps(_), _, 3) => Ok((
            SupervisedLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(IGNORE) },
            SupervisedTarget::Labels(Tensor::from_data(target, device)),
        )),
        _ => Err(batch.error("target", &format!("has {axes} axes, which do not fit the head"))),
    }
}
