//! LoRA and tuned norms as a folder of Hugging Face's PEFT, for the encoder that `timm` opens.

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
/// The norms of a block, in our names and in timm's.
const NORMS: [&str; 2] = ["norm1", "norm2"];

/// The folder of a model that was tuned with LoRA, with its norms, or with both: the adapter, and the
/// frozen encoder in `base`. Heads are no modules of that encoder and are left out.
///
/// `backbone` has the weights of the encoder before tuning under our names, where they are known;
/// without them, norms are those of the base.
///
/// # Errors
/// If the model has neither, or a part that PEFT or timm cannot express.
pub fn export(
    saved: &SavedModel,
    backbone: Option<&StateDict>,
    card: &Card,
) -> Result<ExportFolder> {
    let peft = &saved.card.peft;
    if peft.ssf || peft.prompts.is_some() || peft.side.is_some() || peft.entry_norms {
        return Err(FORMAT.lacks("prompts, SSF, side networks or entry norms", ONNX));
    }
    let own = state_dict(&saved.model);
    let norms = changed_norms(&own, backbone)?;
    let kind = match (&peft.lora, norms.is_empty()) {
        (Some(lora), _) => Kind::Lora(lora),
        (None, false) => Kind::Norms,
        (None, true) => {
            return Err(FORMAT.lacks(
                "a model without LoRA whose norms are those of its backbone (give the backbone as \
                 --model and the tuned part as --adapter); prompts, SSF and whole backbones are not \
                 of its kinds",
                ONNX,
            ));
        }
    };
    let mut folder = ExportFolder::default();
    folder.add_json("adapter_config.json", &kind.config(!norms.is_empty()))?;
    let mut tensors = low_rank(&own);
    tensors.extend(norms.iter().map(|name| (kind.norm(name), own[name].clone())));
    folder.add("adapter_model.safetensors", write_safetensors(&tensors, &IndexMap::new())?);
    timm::add_encoder(&mut folder, &base(saved, own, backbone)?, BASE)?;
    // The pair is of the encoder with the adapter.
    timm::add_features(&mut folder, &saved.clone().merged())?;
    let library =
        Library { name: "peft", pipeline: "image-feature-extraction", opening: OPENING.to_owned() };
    folder.add("README.md", card.text(saved, library, &[])?);
    Ok(folder)
}

/// The names of the parameters of block norms that tuning changed.
///
/// # Errors
/// If it changed something else of the encoder.
fn changed_norms(own: &StateDict, backbone: Option<&StateDict>) -> Result<Vec<String>> {
    let Some(before) = backbone else { return Ok(Vec::new()) };
    let changed = own.iter().filter(|(name, now)| {
        before.get(*name).is_some_and(|before| before.as_bytes() != now.as_bytes())
    });
    let names: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
    let is_norm = |name: &String| NORMS.iter().any(|norm| name.contains(&format!(".{norm}.")));
    match names.iter().find(|name| !is_norm(name)) {
        Some(name) => Err(FORMAT
            .lacks(format!("an encoder that was tuned beside LoRA and norms (`{name}`)"), ONNX)),
        None => Ok(names),
    }
}

/// The kind of an adapter.
enum Kind<'a> {
    /// LoRA; norms are modules that are saved whole.
    Lora(&'a LoraConfig),
    /// Norms alone.
    Norms,
}

impl Kind<'_> {
    fn config(&self, with_norms: bool) -> Value {
        let Self::Lora(lora) = self else {
            return json!({
                "peft_type": "LN_TUNING",
                "task_type": null,
                "base_model_name_or_path": "local-dir:base",
                "revision": null,
                "inference_mode": true,
                "target_modules": NORMS,
                "exclude_modules": null,
                "modules_to_save": null,
            });
        };
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
            "modules_to_save": with_norms.then_some(NORMS),
            "rank_pattern": {},
            "alpha_pattern": {},
            "layers_to_transform": null,
            "layers_pattern": null,
        })
    }

    /// The name of a norm's parameter in PEFT.
    fn norm(&self, own: &str) -> String {
        let block = own.strip_prefix("encoder.").unwrap_or(own);
        let name = format!("base_model.model.blocks.{block}");
        match (self, name.rsplit_once('.')) {
            (Self::Norms, Some((module, part))) => format!("{module}.ln_tuning_layers.{part}"),
            _ => name,
        }
    }
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
fn low_rank(own: &StateDict) -> StateDict {
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

/// The model before tuning: without its low-rank matrices, with the norms of its backbone.
fn base(saved: &SavedModel, own: StateDict, backbone: Option<&StateDict>) -> Result<SavedModel> {
    let mut card = saved.card.clone();
    card.peft = PeftConfig { lora: None, ..card.peft };
    let device = saved.model.vit.global_tokens.val().device();
    let model = PeftModel::new(&card.model, &card.peft, &device)?;
    let before = |(name, now): (String, _)| {
        let of_backbone = backbone.and_then(|backbone| backbone.get(&name)).cloned();
        (name, of_backbone.unwrap_or(now))
    };
    let kept = own.into_iter().filter(|(name, _)| !name.contains(".lora."));
    let model = load(model, kept.map(before).collect(), &AllowedKeys::default())?;
    Ok(SavedModel { model, card, notes: saved.notes.clone(), precision: saved.precision })
}

const OPENING: &str = r#"import timm
from peft import PeftModel

base = timm.create_model("local-dir:PATH/base", pretrained=True)
model = PeftModel.from_pretrained(base, "PATH").eval()
"#;
