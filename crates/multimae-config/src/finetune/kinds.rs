//! The kinds of tasks that a recipe is about, and the defaults of the published script of each.

use serde_json::{Map, Value, json};

use super::{CLASSES, FinetuneRecipe};
use crate::keys::{Keys as _, RecipeValue as _};
use crate::values::Names;
use crate::{Error, Result};

/// The kinds of tasks a recipe is about: the published scripts have defaults of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKinds {
    /// A class per image.
    Classification,
    /// A class per pixel.
    Segmentation,
    /// Depth.
    Depth,
    /// Several dense tasks.
    Joint,
    /// Other real values.
    Regression,
}

impl TaskKinds {
    fn of(tasks: &Names) -> Self {
        match tasks.0.as_slice() {
            [only] if only == CLASSES => Self::Classification,
            [only] if only == "semseg" => Self::Segmentation,
            [only] if only == "depth" => Self::Depth,
            [_] => Self::Regression,
            _ => Self::Joint,
        }
    }

    /// The tasks that the keys of a published file are about, and the key that tells.
    fn inferred_from(map: &Map<String, Value>) -> Option<(Self, &'static str, &'static str)> {
        let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
        let pixels = ["seg_reduce_zero_label", "seg_use_void_label"];
        let images = ["use_mean_pooling", "data_set", "mixup", "cutmix", "smoothing", "crop_pct"];
        let labels = pixels.into_iter().find(|key| has(key));
        let images = images.into_iter().find(|key| has(key));
        let depth = has("loss").then_some("loss");
        match (images, labels, depth) {
            (Some(key), ..) => Some((Self::Classification, key, CLASSES)),
            (None, Some(key), None) => Some((Self::Segmentation, key, "semseg")),
            (None, None, Some(key)) => Some((Self::Depth, key, "depth")),
            (None, Some(_), Some(key)) => Some((Self::Joint, key, "depth-semseg")),
            (None, None, None) if has("num_classes") => {
                Some((Self::Segmentation, "num_classes", "semseg"))
            }
            (None, None, None) => None,
        }
    }

    /// The defaults of the published scripts, where they differ from those of joint training.
    fn defaults(self) -> Value {
        match self {
            Self::Classification => json!({
                "input_size": 224, "batch_size": 128, "epochs": 100, "drop_path_encoder": 0.1,
                "layer_decay": 0.65, "lr": null, "blr": 5e-4, "min_lr": 1e-6, "warmup_epochs": 5,
                "smoothing": 0.1,
            }),
            Self::Segmentation => json!({
                "num_classes": 150, "input_size": 512, "batch_size": 4, "epochs": 64,
                "drop_path_encoder": 0.1,
            }),
            Self::Depth => json!({
                "batch_size": 64, "epochs": 2000, "weight_decay": 1e-4, "warmup_epochs": 100,
                "standardize_depth": false, "decoder_preds_per_patch": 64, "aug_name": "nyu-augs",
                "save_ckpt_freq": 200,
            }),
            Self::Joint => json!({}),
            Self::Regression => json!({
                "input_size": 384, "batch_size": 32, "epochs": 100, "drop_path_encoder": 0.1,
                "lr": 3e-4, "loss": "l1", "aug_name": "nyu-augs", "hflip": 0.0,
            }),
        }
    }
}

/// The defaults for the tasks that the keys name, and what is to be said about them.
pub(super) fn start(map: &Map<String, Value>) -> Result<(FinetuneRecipe, Vec<String>)> {
    let mut recipe = FinetuneRecipe::default();
    let mut notices = Vec::new();
    let given = map.get("out_domains").map(Names::read).transpose().map_err(Error::Recipe)?;
    let kinds = match given.filter(|names| !names.0.is_empty()) {
        Some(names) => TaskKinds::of(&names),
        None => {
            let (kinds, key, tasks) = TaskKinds::inferred_from(map).ok_or_else(|| {
                Error::Recipe(
                    "say what to learn: `out_domains: depth`, `semseg`, `depth-semseg` or `cls`"
                        .to_owned(),
                )
            })?;
            notices.push(format!("`out_domains` is taken to be {tasks}, as `{key}` is set"));
            recipe.tasks.out_domains = Names::joined(tasks);
            kinds
        }
    };
    if let Value::Object(defaults) = kinds.defaults() {
        for (key, value) in defaults {
            recipe.set(&key, &value).transpose().map_err(Error::Recipe)?;
        }
    }
    // One of the two rates is meant, the one that is named.
    match (map.contains_key("lr"), map.contains_key("blr")) {
        (true, false) => recipe.blr = None,
        (false, true) => recipe.lr = None,
        _ => {}
    }
    Ok((recipe, notices))
}
