//! Fine-tuned models as ONNX graphs (opset 17, IR 8).
//!
//! The graph is written from the configuration and the state dict, not traced: LayerNorm is one node, GELU
//! has its error function, attention is two MatMuls around a softmax. Positions are interpolated here, as
//! runtimes differ in bicubic resizing. The number of samples is free, the size of the image is fixed.

mod encoder;
mod folder;
mod graph;
mod heads;
mod inputs;
mod layers;
mod ops;
mod outputs;
mod prompts;
pub mod proto;
mod reconstruct;
mod side;
mod tensors;

use indexmap::IndexMap;
use multimae::burn::module::Module;
use multimae::modality::Size;
use multimae::output_adapters::TaskHead;
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae_infer::saved_model::{ModelCard, SavedModel};
use multimae_tasks::Task;
use prost::Message;

pub use folder::{GRAPH_FILE, export_folder};
pub use inputs::PixelInput;
pub use reconstruct::{ReconstructionOptions, export_reconstruction};

use graph::{Graph, Value};
use heads::HeadInput;
use inputs::{InputContext, InputValues};
use proto::{
    GraphProto, IR_VERSION, ModelProto, OPSET, OperatorSetIdProto, StringStringEntryProto,
};
use tensors::{FLOAT, Storage};

use crate::{Error, Result};

/// The choices of a graph.
#[derive(Debug, Clone, Default)]
pub struct OnnxOptions {
    /// Height and width of the image; those of the training if absent.
    pub size: Option<Size>,
    /// The number of samples; any if absent.
    pub batch: Option<usize>,
    /// The input modalities; all of the model's if empty.
    pub inputs: Vec<String>,
    /// The pixels of colour images.
    pub pixels: PixelInput,
    /// The outputs of the graph.
    pub outputs: OutputForm,
    /// The storage of the weights.
    pub weights: WeightStorage,
    /// Other names of inputs and outputs, by their names.
    pub names: IndexMap<String, String>,
}

impl OnnxOptions {
    /// The name of an input or output in the graph.
    fn renamed(&self, own: &str) -> String {
        self.names.get(own).cloned().unwrap_or_else(|| own.to_owned())
    }

    /// The name of a task's output.
    fn output_name(&self, card: &ModelCard, task: &str) -> String {
        self.renamed(&default_output(card, task))
    }
}

/// The name of a task's output unless it is renamed: the task's, or another one where an input has that.
fn default_output(card: &ModelCard, task: &str) -> String {
    match card.model.inputs.iter().any(|input| input.name == task) {
        true => format!("{task}_prediction"),
        false => task.to_owned(),
    }
}

/// The form of a graph's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputForm {
    /// Values in the unit of their task, logits of classes.
    #[default]
    Decoded,
    /// As [`Self::Decoded`], and the index of the most probable class in the place of logits of pixels.
    ArgMax,
    /// The outputs of the heads as they are.
    Raw,
}

/// The storage of a graph's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// In the graph's file, 32 bits each.
    #[default]
    Inside,
    /// In the graph's file, 16 bits each; computed with in 32 bits.
    Half,
    /// In a safetensors file beside the graph.
    Beside,
}

/// The name of the weights' file beside a graph.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// An exported graph.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    /// The graph.
    pub proto: ModelProto,
    /// The content of [`WEIGHTS_FILE`] beside it, if weights are there.
    pub weights: Option<Vec<u8>>,
}

impl OnnxModel {
    /// The content of the graph's file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }
}

/// The graph of a fine-tuned model.
///
/// # Errors
/// If an option does not fit the model.
pub fn export(saved: &SavedModel, options: &OnnxOptions) -> Result<OnnxModel> {
    let saved = match options.weights {
        WeightStorage::Half => with_half_weights(saved)?,
        WeightStorage::Inside | WeightStorage::Beside => saved.clone().merged(),
    };
    match options.weights {
        WeightStorage::Inside => of_merged(&saved, options, Storage::Inside),
        WeightStorage::Half => of_merged(&saved, options, Storage::Half),
        WeightStorage::Beside => {
            let bytes = saved.to_bytes()?;
            let exported = export_beside(&saved, options, (WEIGHTS_FILE, &bytes))?;
            Ok(OnnxModel { weights: Some(bytes), ..exported })
        }
    }
}

/// The graph of a model without LoRA and SSF, with its weights in a safetensors file of this name and content
/// beside it.
///
/// # Errors
/// If an option does not fit the model, or the file lacks one of its weights.
pub fn export_beside(
    saved: &SavedModel,
    options: &OnnxOptions,
    (file, bytes): (&str, &[u8]),
) -> Result<OnnxModel> {
    let spans = tensors::spans(bytes)?;
    let mut exported = of_merged(saved, options, Storage::Beside { file, spans: &spans })?;
    exported.proto.metadata_props.push(StringStringEntryProto {
        key: "multimae.weights_crc32".to_owned(),
        value: format!("{:08x}", crc32fast::hash(bytes)),
    });
    Ok(exported)
}

fn of_merged(saved: &SavedModel, options: &OnnxOptions, storage: Storage<'_>) -> Result<OnnxModel> {
    let weights = state_dict(&saved.model);
    let graph = Graph::new(&weights, storage, options.batch);
    let graph = GraphExport { saved, options, graph }.write()?;
    let about = "A multi-modal masked autoencoder, fine-tuned";
    Ok(model_of(graph, about, metadata(saved, options)?))
}

/// A file with this graph.
fn model_of(graph: GraphProto, about: &str, metadata: Vec<(&str, String)>) -> OnnxModel {
    let entry =
        |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    let proto = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "multimae".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: about.to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    };
    OnnxModel { proto, weights: None }
}

/// A graph under construction, of one model.
struct GraphExport<'a> {
    saved: &'a SavedModel,
    options: &'a OnnxOptions,
    graph: Graph<'a>,
}

impl GraphExport<'_> {
    fn write(mut self) -> Result<GraphProto> {
        self.check()?;
        let inputs = self.inputs()?;
        let grid = self.size().grid(self.saved.card.model.patch_size)?;
        let passes = self.graph.encoder(&self.saved.model, (&inputs, grid))?;
        let modalities: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        for head in &self.saved.card.model.heads {
            let pass =
                passes.iter().find(|pass| pass.task.as_ref().is_none_or(|t| *t == head.name));
            let layers = pass.map(|pass| pass.layers.clone()).unwrap_or_default();
            let layers = self.entered(head, layers)?;
            let image = self.size();
            let input = HeadInput { head, layers: &layers, modalities: &modalities, grid, image };
            let output = self.graph.head(&input)?;
            self.output(head, output)?;
        }
        Ok(self.graph.finish("multimae"))
    }

    fn size(&self) -> Size {
        self.options.size.unwrap_or_else(|| self.saved.card.input_size())
    }

    /// Names that the options speak of must be the model's.
    fn check(&self) -> Result<()> {
        let card = &self.saved.card;
        let modalities: Vec<&str> = card.model.inputs.iter().map(|m| m.name.as_str()).collect();
        if let Some(name) = self.options.inputs.iter().find(|n| !modalities.contains(&n.as_str())) {
            return Err(Error::Request(format!(
                "`{name}` is no input of the model; it has {}",
                modalities.join(", ")
            )));
        }
        let tasks = card.tasks.keys().map(|task| default_output(&self.saved.card, task));
        let known: Vec<String> = modalities.into_iter().map(str::to_owned).chain(tasks).collect();
        if let Some(name) = self.options.names.keys().find(|name| !known.contains(name)) {
            return Err(Error::Request(format!(
                "`{name}` is no input and no output of the graph; it has {}",
                known.join(", ")
            )));
        }
        Ok(())
    }

    fn inputs(&mut self) -> Result<Vec<InputValues>> {
        let card = &self.saved.card;
        let chosen = &self.options.inputs;
        let mut inputs = Vec::new();
        for (place, modality) in card.model.inputs.iter().enumerate() {
            if !chosen.is_empty() && !chosen.contains(&modality.name) {
                continue;
            }
            let context = InputContext {
                patch_size: card.model.patch_size,
                size: self.size(),
                pixels: self.options.pixels,
                card: card.inputs.get(place),
            };
            let name = self.options.renamed(&modality.name);
            inputs.push(self.graph.modality(modality, &name, context)?);
        }
        Ok(inputs)
    }

    /// The layers of a head behind its entry norms.
    fn entered(&mut self, head: &TaskHead, layers: Vec<Value>) -> Result<Vec<Value>> {
        let Some(norms) = self.saved.model.entry_norms.get(&head.name) else { return Ok(layers) };
        let mut entered = Vec::new();
        for (index, layer) in layers.into_iter().enumerate() {
            entered.push(match norms.get(&index.to_string()) {
                Some(_) => {
                    let name = format!("entry_norms.{}.{index}", head.name);
                    self.graph.layer_norm(&name, &layer)?
                }
                None => layer,
            });
        }
        Ok(entered)
    }

    fn output(&mut self, head: &TaskHead, output: Value) -> Result<()> {
        let name = self.options.output_name(&self.saved.card, &head.name);
        let task = self.saved.card.tasks.get(&head.name);
        let Some(task) = task.filter(|_| self.options.outputs != OutputForm::Raw) else {
            return self.graph.output(&name, &output, FLOAT, "the output of the head");
        };
        let decoded = if output.shape.len() == 4 {
            self.graph.decoded(output, &task.task.decoding())?
        } else {
            output
        };
        let about = task.task.summary();
        let has_classes = !task.task.classes().is_empty() && decoded.shape.len() == 4;
        if self.options.outputs == OutputForm::ArgMax && has_classes {
            let (classes, elem_type) = self.graph.arg_max(&decoded);
            return self.graph.output(&name, &classes, elem_type, &about);
        }
        self.graph.output(&name, &decoded, FLOAT, &about)
    }
}

/// The entries of a graph's metadata.
fn metadata(saved: &SavedModel, options: &OnnxOptions) -> Result<Vec<(&'static str, String)>> {
    let card = serde_json::to_string(&saved.card)
        .map_err(|error| Error::Request(format!("the model's card cannot be written: {error}")))?;
    let form = match options.outputs {
        OutputForm::Decoded => "values in the unit of each task, logits of classes",
        OutputForm::ArgMax => "values in the unit of each task, class indices",
        OutputForm::Raw => "outputs of the heads",
    };
    let names = |task: &dyn Task| -> Vec<String> {
        task.classes().iter().map(|class| class.name.clone()).collect()
    };
    let classes: serde_json::Map<String, serde_json::Value> = saved
        .card
        .tasks
        .iter()
        .map(|(name, card)| (name.clone(), names(card.task.as_ref()).into()))
        .filter(|(_, names): &(String, serde_json::Value)| {
            names.as_array().is_some_and(|n| !n.is_empty())
        })
        .collect();
    Ok(vec![
        ("multimae.card", card),
        ("multimae.outputs", form.to_owned()),
        ("multimae.classes", serde_json::Value::Object(classes).to_string()),
    ])
}

/// The model whose weights are those that a graph of 16-bit constants computes with.
///
/// # Errors
/// If the weights do not fit the model, which they do.
pub fn with_half_weights(saved: &SavedModel) -> Result<SavedModel> {
    let SavedModel { model, card, notes, precision } = saved.clone().merged();
    Ok(SavedModel { model: model_with_half_weights(&model)?, card, notes, precision })
}

/// [`with_half_weights`] of the model itself.
///
/// # Errors
/// If the weights do not fit the model, which they do.
pub fn model_with_half_weights<M: Module>(model: &M) -> Result<M> {
    let rounded = |(name, data)| (name, tensors::halved(&data));
    let weights: StateDict = state_dict(model).into_iter().map(rounded).collect();
    Ok(load(model.clone(), weights, &AllowedKeys::default())?)
}
