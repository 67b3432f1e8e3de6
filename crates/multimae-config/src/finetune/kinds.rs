//! The kinds of tasks that a recipe is about, and the defaults of the published script of each.

use serde_json::{Map, Value, json};

use super::{CLASSES, FinetuneRecipe};
use crate::keys::{Keys as _, RecipeValue as _};
use crate::modalities::Modalities;
use crate::usual::{published_name, task_kind};
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
    /// The GPUs that the published instructions launch a script on.
    pub(super) fn published_processes(self) -> usize {
        match self {
            Self::Classification => 8,
            Self::Segmentation => 4,
            Self::Depth => 2,
            Self::Joint | Self::Regression => 1,
        }
    }

    pub(super) fn of(tasks: &Names, modalities: &Modalities) -> Self {
        match tasks.0.as_slice() {
            [only] if only == CLASSES => Self::Classification,
            [only] => match modalities.task_kind(only).as_str() {
                task_kind::LABELS => Self::Segmentation,
                task_kind::DEPTH => Self::Depth,
                _ => Self::Regression,
            },
            _ => Self::Joint,
        }
    }

    /// The tasks that the keys of a published file are about, and the key that tells.
    fn inferred_from(map: &Map<String, Value>) -> Option<(Self, &'static str, String)> {
        let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
        let pixels = ["seg_reduce_zero_label", "seg_use_void_label"];
        let images = ["use_mean_pooling", "data_set", "mixup", "cutmix", "smoothing", "crop_pct"];
        let labels = pixels.into_iter().find(|key| has(key));
        let images = images.into_iter().find(|key| has(key));
        let depth = has("loss").then_some("loss");
        let named = |kinds: &[&str]| {
            let names: Vec<&str> = kinds.iter().filter_map(|kind| published_name(kind)).collect();
            names.join("-")
        };
        let segmentation = |key| Some((Self::Segmentation, key, named(&[task_kind::LABELS])));
        match (images, labels, depth) {
            (Some(key), ..) => Some((Self::Classification, key, CLASSES.to_owned())),
            (None, Some(key), None) => segmentation(key),
            (None, None, Some(key)) => Some((Self::Depth, key, named(&[task_kind::DEPTH]))),
            (None, Some(_), Some(key)) => {
                Some((Self::Joint, key, named(&[task_kind::DEPTH, task_kind::LABELS])))
            }
            (None, None, None) if has("num_classes") => segmentation("num_classes"),
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
    // A problem of the entries is reported with those of all keys.
    let modalities = map.get("modalities").and_then(|entries| Modalities::read(entries).ok());
    let modalities = modalities.unwrap_or_default();
    let states_classes =
        |name: &String| modalities.0.get(name).is_some_and(|entry| entry.classes.is_some());
    let kinds = match given.filter(|names| !names.0.is_empty()) {
        Some(names) => {
            recipe.tasks.out_domains = names;
            TaskKinds::of(&recipe.tasks.out_domains, &modalities)
        }
        None => {
            let (kinds, key, tasks) = TaskKinds::inferred_from(map).ok_or_else(|| {
                Error::Recipe(
                    "say what to learn: `out_domains: depth`, `semseg`, `depth-semseg` or `cls`"
                        .to_owned(),
                )
            })?;
            notices.push(format!("`out_domains` is taken to be {tasks}, as `{key}` is set"));
            recipe.tasks.out_domains = Names::joined(&tasks);
            kinds
        }
    };
    if let Value::Object(defaults) = kinds.defaults() {
        for (key, value) in defaults {
            recipe.set(&key, &value).transpose().map_err(Error::Recipe)?;
        }
    }
    // The number of classes that a task's entry states is no contradiction of the default.
    if recipe.tasks.out_domains.0.iter().any(states_classes) {
        recipe.num_classes = None;
    }
    // One of the two rates is meant, the one that is named.
    match (map.contains_key("lr"), map.contains_key("blr")) {
        (true, false) => recipe.blr = None,
        (false, true) => recipe.lr = None,
        _ => {}
    }
    Ok((recipe, notices))
}
