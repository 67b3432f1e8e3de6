//! LoRA as a folder of Hugging Face's PEFT, for the encoder that `timm` opens.

use indexmap::IndexMap;
use multimae::nn::{LoraConfig, LoraTarget};
use multimae::peft::{PeftConfig, PeftModel};
use multimae::state::{AllowedKeys, StateDict, load, state_dict};
use multimae::weights::write_safetensors;
use multimae_infer::saved_model::SavedModel;
use serde_json::{Value, json};

use crate::card::{Card, Library};
use crate::fit::{Format, ONNX};
use crate::folder::ExportFolder;
use crate::{Result, timm};

const FORMAT: Format = Format("PEFT");
/// The folder of the frozen encoder beside the adapter.
const BASE: &str = "base/";

/// The folder of a model that was tuned with LoRA: the adapter, and the frozen encoder in `base`.
///
/// # Errors
/// If the model has no LoRA, or a part that PEFT or timm cannot express.
pub fn export(saved: &SavedModel, card: &Card) -> Result<ExportFolder> {
    let Some(lora) = &saved.card.peft.lora else {
        return Err(FORMAT.lacks(
            "a model without LoRA; prompts, SSF and whole backbones are not of its kinds",
            ONNX,
        ));
    };
    if saved.card.peft.ssf || saved.card.peft.prompts.is_some() || saved.card.peft.entry_norms {
        return Err(FORMAT.lacks("LoRA together with prompts, SSF or entry norms", ONNX));
    }
    let own = state_dict(&saved.model);
    let mut folder = ExportFolder::default();
    folder.add_json("adapter_config.json", &config(lora))?;
    let adapter = write_safetensors(&adapter(&own), &IndexMap::new())?;
    folder.add("adapter_model.safetensors", adapter);
    timm::add_encoder(&mut folder, &without_lora(saved, own)?, BASE)?;
    // The pair is of the encoder with the adapter.
    timm::add_features(&mut folder, &saved.clone().merged())?;
    let library =
        Library { name: "peft", pipeline: "image-feature-extraction", opening: OPENING.to_owned() };
    folder.add("README.md", card.text(saved, library, &[])?);
    Ok(folder)
}

fn config(lora: &LoraConfig) -> Value {
    let alpha = lora.alpha.unwrap_or(lora.rank as f64);
    json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": "local-dir:base",
        "revision": null,
        "inference_mode": true,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": lora.targets.iter().map(|target| module(*target)).collect::<Vec<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "modules_to_save": null,
        "rank_pattern": {},
        "alpha_pattern": {},
        "layers_to_transform": null,
        "layers_pattern": null,
    })
}

/// The end of a module's name in timm; `proj` alone would be the patch embedding too.
fn module(target: LoraTarget) -> &'static str {
    match target {
        LoraTarget::Qkv => "attn.qkv",
        LoraTarget::Proj => "attn.proj",
        LoraTarget::Fc1 => "mlp.fc1",
        LoraTarget::Fc2 => "mlp.fc2",
    }
}

/// The low-rank matrices under PEFT's names.
fn adapter(own: &StateDict) -> StateDict {
    let named = own.iter().filter_map(|(name, data)| {
        let (module, part) = name.strip_prefix("encoder.")?.split_once(".lora.")?;
        let part = match part {
            "a" | "down" => "lora_A",
            "b" | "up" => "lora_B",
            _ => return None,
        };
        Some((format!("base_model.model.blocks.{module}.{part}.weight"), data.clone()))
    });
    named.collect()
}

/// The model without its low-rank matrices.
fn without_lora(saved: &SavedModel, own: StateDict) -> Result<SavedModel> {
    let mut card = saved.card.clone();
    card.peft = PeftConfig { lora: None, ..card.peft };
    let device = saved.model.vit.global_tokens.val().device();
    let model = PeftModel::new(&card.model, &card.peft, &device)?;
    let kept: StateDict = own.into_iter().filter(|(name, _)| !name.contains(".lora.")).collect();
    let model = load(model, kept, &AllowedKeys::default())?;
    Ok(SavedModel { model, card, notes: saved.notes.clone(), precision: saved.precision })
}

const OPENING: &str = r#"import timm
from peft import PeftModel

base = timm.create_model("local-dir:PATH/base", pretrained=True)
model = PeftModel.from_pretrained(base, "PATH").eval()
"#;
