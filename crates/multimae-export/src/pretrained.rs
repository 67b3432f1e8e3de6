//! Pre-trained models: their encoder on RGB, and the page's description of their graph.

use indexmap::IndexMap;
use multimae::encoder::Phase;
use multimae::masking::{SampleMask, TokenMasks};
use multimae::modality::{Modality, ModalityKind};
use multimae::model::MultiMae;
use multimae::multivit::MultiVitConfig;
use multimae::peft::{PeftConfig, PeftModel};
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae_data::encode::npy;
use multimae_data::{Encoding, Geometry};
use multimae_infer::saved_model::{InputModality, ModelCard, Normalisation, SavedModel};
use multimae_infer::visualize::Pretrained;
use multimae_kernels::precision::Precision;
use serde_json::{Value, json};

use crate::onnx::{
    GRAPH_FILE, ReconstructionOptions, WeightStorage, export_reconstruction,
    model_with_half_weights,
};
use crate::{Error, ExportFolder, Result, test_pair};

/// The description of a graph that reconstructs, beside it.
const DESCRIPTION_FILE: &str = "model.json";

/// The encoder of a pre-trained model with RGB as its only input, and without heads. The adapters of its other
/// inputs and its decoders are left out.
///
/// # Errors
/// If it has no RGB input.
pub fn encoder_of(pretrained: &Pretrained) -> Result<SavedModel> {
    let (spec, model) = (pretrained.spec(), pretrained.model());
    let is_color = |input: &&Modality| {
        let data = spec.modalities.get(&input.name).map(|modality| &modality.data.encoding);
        matches!(data, Some(Encoding::Color { .. }))
    };
    let own = model.config();
    let rgb = own.inputs.iter().find(is_color).ok_or_else(|| {
        Error::Request("the model has no RGB input, which a ViT of other tools reads".to_owned())
    })?;
    let config = MultiVitConfig {
        encoder: own.encoder.clone(),
        patch_size: own.patch_size,
        image_size: own.image_size,
        num_global_tokens: own.num_global_tokens,
        inputs: vec![rgb.clone()],
        heads: Vec::new(),
        tables: own.tables,
    };
    let adapter = format!("input_adapters.{}.", rgb.name);
    let kept = |name: &String| {
        name.starts_with("encoder.") || name.starts_with(&adapter) || name == "global_tokens"
    };
    let weights: StateDict = state_dict(model).into_iter().filter(|(name, _)| kept(name)).collect();
    let device = model.global_tokens.val().device();
    let peft = PeftConfig::default();
    let vit = load(PeftModel::new(&config, &peft, &device)?, weights, &AllowedKeys::default())?;
    let inputs = spec.modalities.get(&rgb.name).map(|modality| InputModality {
        data: modality.data.clone(),
        adapter: rgb.name.clone(),
        normalisation: Normalisation::None,
        unit: None,
    });
    let size = (own.image_size.height, own.image_size.width);
    let card = ModelCard {
        model: config,
        peft,
        inputs: inputs.into_iter().collect(),
        tasks: IndexMap::new(),
        geometry: Geometry::CenterFit { size },
        valid_mask: None,
    };
    Ok(SavedModel { model: vit, card, notes: IndexMap::new(), precision: Precision::Fp32 })
}

/// The folder of a pre-trained model as a graph that reconstructs.
///
/// # Errors
/// If an option does not fit the model.
pub fn export_folder(
    pretrained: &Pretrained,
    options: ReconstructionOptions,
) -> Result<ExportFolder> {
    let exported = export_reconstruction(pretrained.model(), options)?;
    let mut folder = ExportFolder::default();
    folder.add(GRAPH_FILE, exported.bytes());
    add_test_pair(&mut folder, pretrained.model(), options)?;
    folder.add_json(DESCRIPTION_FILE, &description(pretrained, options)?)?;
    folder.add("README.md", readme(pretrained, options));
    Ok(folder)
}

/// Every fourth token is visible.
fn add_test_pair(
    folder: &mut ExportFolder,
    model: &MultiMae,
    options: ReconstructionOptions,
) -> Result<()> {
    let config = model.config();
    let size = options.size.unwrap_or(config.image_size);
    let tokens = config.layout(size)?.num_tokens();
    let visible: Vec<i64> = (0..tokens as i64).step_by(4).collect();
    let inputs = test_pair::inputs(&config.inputs, size);
    test_pair::add_inputs(folder, &inputs, str::to_owned)?;
    folder.add("test/input.visible.npy", npy(&visible, &[visible.len()])?);
    let masked = SampleMask::new((0..tokens).map(|token| token % 4 != 0).collect());
    let masks = TokenMasks::new(vec![masked])?;
    let half = options.weights == WeightStorage::Half;
    let model = if half { model_with_half_weights(model)? } else { model.clone() };
    let output = model.forward(inputs, &masks, &mut Phase::Evaluation)?;
    for (task, maps) in output.predictions {
        test_pair::add_output(folder, &format!("{task}_reconstruction"), &maps)?;
    }
    Ok(())
}

fn description(pretrained: &Pretrained, options: ReconstructionOptions) -> Result<Value> {
    let (spec, config) = (pretrained.spec(), pretrained.model().config());
    let size = options.size.unwrap_or(config.image_size);
    let grid = size.grid(config.patch_size)?;
    let of = |name: &str, modality: &Modality| {
        let (kind, channels) = match &modality.kind {
            ModalityKind::Continuous { channels } => ("continuous", *channels),
            ModalityKind::Categorical { classes, .. } => ("categorical", *classes),
        };
        json!({
            "name": name,
            "modality": modality.name,
            "kind": kind,
            "channels": channels,
            "stride": modality.stride,
            "grid": [grid.height, grid.width],
        })
    };
    let inputs: Vec<Value> = config.inputs.iter().map(|input| of(&input.name, input)).collect();
    let outputs: Vec<Value> = config
        .outputs
        .iter()
        .map(|task| of(&format!("{}_reconstruction", task.name), &task.modality))
        .collect();
    let color = spec.modalities.values().find_map(|modality| match modality.data.encoding {
        Encoding::Color { mean, std } => Some((mean, std)),
        _ => None,
    });
    let (mean, std) = color.unwrap_or(([0.0; 3], [1.0; 3]));
    Ok(json!({
        "patch_size": config.patch_size,
        "height": size.height,
        "width": size.width,
        "inputs": inputs,
        "outputs": outputs,
        "mean": mean,
        "std": std,
    }))
}

fn readme(pretrained: &Pretrained, options: ReconstructionOptions) -> String {
    let config = pretrained.model().config();
    let inputs: Vec<String> =
        config.inputs.iter().map(|input| format!("`{}`", input.name)).collect();
    let half = match options.weights {
        WeightStorage::Half => "Weights are stored in 16 bits and computed with in 32.\n",
        WeightStorage::Inside | WeightStorage::Beside => "",
    };
    format!(
        "# A multi-modal masked autoencoder as a graph\n\n`{GRAPH_FILE}` takes {} and `visible`: the indices of the \
         visible tokens, counted over the modalities in this order, each modality's patches in row-major order. It gives \
         `TASK_reconstruction` for every task, in the units of the inputs; logits for classes. `{DESCRIPTION_FILE}` has \
         sizes, kinds and normalisation for programs.\n{half}",
        inputs.join(", ")
    )
}
