//! The encoder as a folder that timm opens: `create_model("local-dir:DIR", pretrained=True)`.

use indexmap::IndexMap;
use multimae::burn::tensor::Tensor;
use multimae::modality::Size;
use multimae::state::{StateDict, state_dict};
use multimae::weights::write_safetensors;
use multimae_infer::saved_model::SavedModel;
use serde_json::{Value, json};

use crate::card::{Card, Library};
use crate::fit::{self, ColorInput, Format, take};
use crate::folder::ExportFolder;
use crate::{Error, Result, test_pair};

pub(crate) const FORMAT: Format = Format("timm");

/// The folder of a model's encoder, with LoRA and SSF merged; heads are left out.
///
/// # Errors
/// Of every part that a ViT of timm cannot express, with a format that can.
pub fn export(saved: &SavedModel, card: &Card) -> Result<ExportFolder> {
    let saved = saved.clone().merged();
    let mut folder = ExportFolder::default();
    add_encoder(&mut folder, &saved, "")?;
    add_features(&mut folder, &saved)?;
    let library =
        Library { name: "timm", pipeline: "image-feature-extraction", opening: OPENING.to_owned() };
    folder.add("README.md", card.text(&saved, library, &[])?);
    Ok(folder)
}

/// Adds the files of an encoder whose paths begin with `at`.
pub(crate) fn add_encoder(folder: &mut ExportFolder, saved: &SavedModel, at: &str) -> Result<()> {
    let color = fit::color_input(saved, FORMAT)?;
    fit::one_global_token(saved, FORMAT)?;
    fit::plain(&saved.card.peft, FORMAT)?;
    let size = saved.card.input_size();
    folder.add_json(&format!("{at}config.json"), &config(saved, color, size))?;
    let weights = write_safetensors(&weights(saved, size)?, &IndexMap::new())?;
    folder.add(&format!("{at}model.safetensors"), weights);
    Ok(())
}

/// Adds the example: features of the last block, the class token first, as `forward_features` gives them.
pub(crate) fn add_features(folder: &mut ExportFolder, saved: &SavedModel) -> Result<()> {
    let inputs = test_pair::inputs(&saved.card.model.inputs, saved.card.input_size());
    test_pair::add_inputs(folder, &inputs, |_| "x".to_owned())?;
    let layers = test_pair::layers(saved, inputs)?;
    let last = layers.into_iter().last();
    let last = last.ok_or_else(|| Error::Request("the encoder has no block".to_owned()))?;
    let [_, tokens, _] = last.dims();
    let (class, patches) = (last.clone().narrow(1, tokens - 1, 1), last.narrow(1, 0, tokens - 1));
    test_pair::add_output(folder, "features", &Tensor::cat(vec![class, patches], 1))
}

fn config(saved: &SavedModel, color: ColorInput, size: Size) -> Value {
    let (model, encoder) = (&saved.card.model, &saved.card.model.encoder);
    json!({
        "architecture": "vit_base_patch16_224",
        "num_classes": 0,
        "num_features": encoder.width,
        "global_pool": "token",
        "model_args": {
            "img_size": [size.height, size.width],
            "patch_size": model.patch_size,
            "embed_dim": encoder.width,
            "depth": encoder.depth,
            "num_heads": encoder.heads,
            "mlp_ratio": encoder.mlp_ratio,
            "no_embed_class": true,
            "final_norm": false,
            "fc_norm": false,
        },
        "pretrained_cfg": {
            "tag": "multimae",
            "custom_load": false,
            "input_size": [3, size.height, size.width],
            "fixed_input_size": true,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": color.mean,
            "std": color.std,
            "num_classes": 0,
            "pool_size": null,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "cc-by-nc-4.0",
        },
    })
}

fn weights(saved: &SavedModel, size: Size) -> Result<StateDict> {
    let own = state_dict(&saved.model);
    let mut theirs = StateDict::new();
    theirs.insert("cls_token".to_owned(), take(&own, "global_tokens")?);
    theirs.insert("pos_embed".to_owned(), fit::positions(saved, &own, size)?.into_data());
    for part in ["weight", "bias"] {
        let name = format!("input_adapters.{}.proj.{part}", fit::color_name(saved));
        theirs.insert(format!("patch_embed.proj.{part}"), take(&own, &name)?);
    }
    let blocks = own.into_iter().filter_map(|(name, data)| {
        Some((format!("blocks.{}", name.strip_prefix("encoder.")?), data))
    });
    theirs.extend(blocks);
    Ok(theirs)
}

const OPENING: &str = r#"import timm

model = timm.create_model("local-dir:PATH", pretrained=True).eval()
features = model.forward_intermediates(images, indices=4, intermediates_only=True)
"#;
