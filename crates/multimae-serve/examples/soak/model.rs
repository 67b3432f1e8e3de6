//! A small model with random weights, and adapters on it.

use std::path::Path;

use indexmap::IndexMap;
use multimae::burn::tensor::Device;
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::{HeadConfig, LightConfig, TaskHead};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::positions::NonSquareTables;
use multimae::state::state_dict;
use multimae::tuning::ParameterKind;
use multimae::weights::write_safetensors;
use multimae_data::{DataModality, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD, stream};
use multimae_infer::saved_model::{
    Adapter, Backbone, InputModality, ModelCard, Normalisation, SavedModel, TaskCard,
};
use multimae_kernels::precision::Precision;
use multimae_tasks::kinds::depth::{Depth, DepthScale};
use multimae_tasks::kinds::labels::Labels;

use crate::Result;

/// The name of the backbone's file.
pub(crate) const BACKBONE: &str = "backbone.safetensors";
/// Adapters that stay; two more, `coming` and `going`, are written beside them.
pub(crate) const ADAPTERS: [&str; 3] = ["prompts", "prefix", "heads"];

/// Writes the backbone and all adapters.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let deep = serde_json::json!({"prompts": {"kind": "deep", "count": 4}});
    let prefix = serde_json::json!({"prompts": {"kind": "prefix", "count": 3}});
    let plain = serde_json::json!({});
    let adapters = [
        ("prompts", &deep, "prompts"),
        ("prefix", &prefix, "prompts"),
        ("heads", &plain, "head"),
        ("coming", &deep, "prompts"),
        ("going", &plain, "norm"),
    ];
    for (own, (name, peft, tuning)) in (1..).zip(adapters) {
        let saved = saved(serde_json::from_value(peft.clone())?, own)?;
        let backbone = Backbone::of(&saved.model, &[]);
        let adapter = Adapter::of(&saved, &tuning.parse()?, backbone);
        adapter.save(&folder.join(format!("{name}.safetensors")))?;
    }
    let mut weights = state_dict(&saved(PeftConfig::default(), 0)?.model);
    weights.retain(|name, _| ParameterKind::of(name) == ParameterKind::Backbone);
    let bytes = write_safetensors(&weights, &IndexMap::new())?;
    fs_err::write(folder.join(BACKBONE), bytes)?;
    Ok(())
}

/// A model whose backbone is always the same; `own` draws everything else.
fn saved(peft: PeftConfig, own: u64) -> Result<SavedModel> {
    let card = card(peft);
    let model = PeftModel::new(&card.model, &card.peft, &Device::default())?;
    let model = multimae::init::initialise(model, |name| match ParameterKind::of(name) {
        ParameterKind::Backbone => stream(0, name, 0, 0),
        _ => stream(own, name, 0, 0),
    });
    Ok(SavedModel { model, card, notes: IndexMap::new(), precision: Precision::Fp32 })
}

fn card(peft: PeftConfig) -> ModelCard {
    let head = |name: &str, num_classes: usize| {
        let light = LightConfig { num_classes, hooks: vec![1, 3], width: 16, depth: 1 };
        TaskHead {
            name: name.to_owned(),
            main_tasks: vec!["rgb".to_owned()],
            head: HeadConfig::Light(light),
        }
    };
    let model = MultiVitConfig {
        encoder: EncoderConfig::new(96, 4, 3),
        patch_size: 16,
        image_size: Size::new(96, 128),
        num_global_tokens: 1,
        inputs: vec![Modality::continuous("rgb", 3)],
        heads: vec![head("depth", 1), head("semseg", 4)],
        tables: NonSquareTables::RowColumn,
    };
    let rgb = DataModality::new("rgb", Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
    let depth = Depth { scale: DepthScale::Linear { mean: 2.5, std: 1.5 }, min: 0.001, max: 10.0 };
    let class =
        |i: u8| multimae_tasks::ClassInfo { name: format!("class {i}"), color: [60 * i; 3] };
    let labels =
        Labels { classes: (0..4).map(class).collect(), ignore: 255, offset: 0, values: Vec::new() };
    let tasks = [
        ("depth".to_owned(), TaskCard::new(depth, None)),
        ("semseg".to_owned(), TaskCard::new(labels, None)),
    ];
    ModelCard {
        model,
        peft,
        inputs: vec![InputModality {
            data: rgb,
            adapter: "rgb".to_owned(),
            normalisation: Normalisation::None,
            unit: None,
        }],
        tasks: tasks.into_iter().collect(),
        geometry: Geometry::Inside { size: (96, 128) },
        valid_mask: None,
    }
}
