//! A DPT model as a folder that `from_pretrained` of Hugging Face's transformers opens.
//!
//! RGB to depth is `DPTForDepthEstimation`, RGB to classes `DPTForSemanticSegmentation`. Neither has prompts,
//! further inputs or several global tokens; those need ONNX.

mod names;

use indexmap::IndexMap;
use multimae::burn::tensor::{Tensor, TensorData};
use multimae::modality::Size;
use multimae::output_adapters::{DptConfig, DptOutput, HeadConfig, Prediction, TaskHead};
use multimae::state::{StateDict, state_dict};
use multimae::weights::write_safetensors;
use multimae_infer::saved_model::SavedModel;
use multimae_tasks::DecodingStep;
use serde_json::{Map, Value, json};

use crate::card::{Card, Library};
use crate::fit::{self, ColorInput, Format, ONNX};
use crate::folder::ExportFolder;
use crate::{Error, Result, test_pair};

const FORMAT: Format = Format("transformers");
/// Patches of these models; their pyramids end at this multiple of the grid.
const PATCH: usize = 16;

/// The folder of one task of a model.
///
/// The task may be left out if the model has one that can be expressed, the size of the image if it is square.
///
/// # Errors
/// Of every part that transformers cannot express, with a format that can.
pub fn export(
    saved: &SavedModel,
    (task, size): (Option<&str>, Option<Size>),
    card: &Card,
) -> Result<ExportFolder> {
    let saved = saved.clone().merged();
    let export = DptExport::of(&saved, (task, size))?;
    let mut folder = ExportFolder::default();
    folder.add_json("config.json", &export.config())?;
    folder.add_json("preprocessor_config.json", &export.preprocessor())?;
    let weights = export.weights()?;
    folder.add("model.safetensors", write_safetensors(&weights, &IndexMap::new())?);
    folder.add("README.md", card.text(&saved, export.library(), &[export.head.name.as_str()])?);
    export.add_test_pair(&mut folder)?;
    Ok(folder)
}

/// A model of one input, with one head.
struct DptExport<'a> {
    saved: &'a SavedModel,
    head: &'a TaskHead,
    config: &'a DptConfig,
    color: ColorInput,
    size: Size,
}

impl<'a> DptExport<'a> {
    fn of(saved: &'a SavedModel, (task, size): (Option<&str>, Option<Size>)) -> Result<Self> {
        let color = fit::color_input(saved, FORMAT)?;
        fit::one_global_token(saved, FORMAT)?;
        fit::plain(&saved.card.peft, FORMAT)?;
        let head = chosen_head(saved, task)?;
        let HeadConfig::Dpt(config) = &head.head else {
            return Err(
                FORMAT.lacks(format!("the head of `{}`, which is not DPT", head.name), ONNX)
            );
        };
        let model = &saved.card.model;
        if model.patch_size != PATCH {
            return Err(
                FORMAT.lacks(format!("patches of {} pixels with DPT", model.patch_size), ONNX)
            );
        }
        let size = square(size.unwrap_or_else(|| saved.card.input_size()))?;
        Ok(Self { saved, head, config, color, size })
    }

    fn is_depth(&self) -> bool {
        self.config.head_type == DptOutput::Regression
    }

    fn steps(&self) -> Vec<DecodingStep> {
        self.saved.card.tasks.get(&self.head.name).map(|t| t.task.decoding()).unwrap_or_default()
    }

    fn library(&self) -> Library {
        let tag = if self.is_depth() { "depth-estimation" } else { "image-segmentation" };
        Library { name: "transformers", pipeline: tag, opening: OPENING.replace("TASK", tag) }
    }

    fn config(&self) -> Value {
        let (model, dpt) = (&self.saved.card.model, self.config);
        let block = &model.encoder;
        let architecture = match self.is_depth() {
            true => "DPTForDepthEstimation",
            false => "DPTForSemanticSegmentation",
        };
        let mut config = json!({
            "architectures": [architecture],
            "model_type": "dpt",
            "is_hybrid": false,
            "readout_type": "ignore",
            "hidden_size": block.width,
            "num_hidden_layers": block.depth,
            "num_attention_heads": block.heads,
            "intermediate_size": (block.width as f64 * block.mlp_ratio) as usize,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "qkv_bias": true,
            "image_size": self.size.height,
            "patch_size": model.patch_size,
            "num_channels": 3,
            "backbone_out_indices": dpt.hooks,
            "reassemble_factors": [4, 2, 1, 0.5],
            "neck_hidden_sizes": dpt.layer_dims,
            "fusion_hidden_size": dpt.feature_dim,
            "use_batch_norm_in_fusion_residual": false,
            "add_projection": false,
            "head_in_index": -1,
            "use_auxiliary_head": false,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "semantic_classifier_dropout": 0.0,
            "torch_dtype": "float32",
        });
        if let (Value::Object(config), false) = (&mut config, self.is_depth()) {
            config.extend(self.labels());
        }
        config
    }

    /// The names of the classes by their index.
    fn labels(&self) -> Map<String, Value> {
        let task = self.saved.card.tasks.get(&self.head.name);
        let classes = task.map(|task| task.task.classes()).unwrap_or_default();
        let names = classes.iter().map(|class| class.name.as_str()).enumerate();
        let by_id: Map<String, Value> =
            names.clone().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let by_name: Map<String, Value> =
            names.map(|(id, name)| (name.to_owned(), json!(id))).collect();
        [("id2label", by_id), ("label2id", by_name)]
            .into_iter()
            .map(|(key, map)| (key.to_owned(), Value::Object(map)))
            .collect()
    }

    fn preprocessor(&self) -> Value {
        json!({
            "image_processor_type": "DPTImageProcessor",
            "do_resize": true,
            "size": {"height": self.size.height, "width": self.size.width},
            "keep_aspect_ratio": false,
            "ensure_multiple_of": 1,
            "resample": 3,
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.color.mean,
            "image_std": self.color.std,
            "do_pad": false,
            "size_divisor": null,
        })
    }

    fn weights(&self) -> Result<StateDict> {
        let own = state_dict(&self.saved.model);
        let mut theirs = names::backbone(self.saved, &own, self.size)?;
        let head = format!("output_adapters.{}", self.head.name);
        names::neck(&own, &head, &mut theirs)?;
        let last = (
            fit::take(&own, &format!("{head}.head.4.weight"))?,
            fit::take(&own, &format!("{head}.head.4.bias"))?,
        );
        let (weight, bias) = fit::fold_decoding(last, &self.steps(), FORMAT)?;
        theirs.insert("head.head.4.weight".to_owned(), weight);
        theirs.insert("head.head.4.bias".to_owned(), bias);
        match self.is_depth() {
            true => names::depth_head(&own, &head, &mut theirs)?,
            false => names::semseg_head(&own, &head, &mut theirs, self.config.feature_dim)?,
        }
        Ok(theirs)
    }

    /// Without the limits of values; depth is not below zero there.
    fn add_test_pair(&self, folder: &mut ExportFolder) -> Result<()> {
        let inputs = test_pair::inputs(&self.saved.card.model.inputs, self.size);
        test_pair::add_inputs(folder, &inputs, |_| "pixel_values".to_owned())?;
        let mut outputs = self.saved.forward(inputs)?;
        let Some(Prediction::Maps(maps)) = outputs.swap_remove(&self.head.name) else {
            return Err(Error::Request(format!("head `{}` gives no maps", self.head.name)));
        };
        let unlimited =
            self.steps().into_iter().filter(|s| !matches!(s, DecodingStep::Clamp { .. }));
        let maps = unlimited.fold(maps, |maps, step| step.apply(maps));
        match self.is_depth() {
            true => {
                let metres: Tensor<3> = maps.clamp_min(0.0).squeeze_dim(1);
                test_pair::add_output(folder, "predicted_depth", &metres)
            }
            false => test_pair::add_output(folder, "logits", &maps),
        }
    }
}

/// The size, if it is square: DPT of transformers puts tokens together as a square, whatever image they are of.
fn square(size: Size) -> Result<Size> {
    let even = 2 * PATCH;
    if size.height == size.width {
        return Ok(size);
    }
    let side = size.height.max(size.width).next_multiple_of(even);
    Err(FORMAT.lacks(
        format!("images of {} x {} pixels, which are not square", size.height, size.width),
        &format!("give --size {side}x{side}, for which positions are interpolated, or {ONNX}"),
    ))
}

/// The head of the task, or the only DPT head.
fn chosen_head<'a>(saved: &'a SavedModel, task: Option<&str>) -> Result<&'a TaskHead> {
    let heads = &saved.card.model.heads;
    let names = || heads.iter().map(|head| head.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(task) = task {
        return heads.iter().find(|head| head.name == task).ok_or_else(|| {
            Error::Request(format!("the model has no task `{task}`; it has {}", names()))
        });
    }
    let is_dpt = |head: &&TaskHead| matches!(head.head, HeadConfig::Dpt(_));
    let mut expressible = heads.iter().filter(is_dpt);
    match (expressible.next(), expressible.next()) {
        (Some(head), None) => Ok(head),
        (Some(_), Some(_)) => Err(Error::Request(format!(
            "a folder of transformers has one task; choose one of {} with --task",
            names()
        ))),
        (None, _) => {
            Err(FORMAT.lacks(format!("the heads of {}, none of which is DPT", names()), ONNX))
        }
    }
}

const OPENING: &str = r#"from transformers import pipeline

print(pipeline("TASK", model="PATH")("photo.jpg"))
"#;

/// A tensor of one value in every place.
fn full(value: f32, count: usize) -> TensorData {
    TensorData::new(vec![value; count], [count])
}
