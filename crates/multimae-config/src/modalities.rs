//! The modalities of a recipe, over the defaults of the usual ones.

use indexmap::IndexMap;
use multimae::losses::ReconstructionLoss;
use multimae::modality::Modality;
use multimae_data::{DataModality, Naming, Valid, ValueRules};
use serde::Deserialize;
use serde_json::Value;

use super::keys::RecipeValue;
use super::modality_entry::{Kind, ModalityRecipe};
use super::usual::{ModalityDefaults, Role, task_kind, usual};
use super::values::json_schema as schema;
use crate::{Error, Result};

/// The entries under `modalities:`, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Modalities(pub IndexMap<String, ModalityRecipe>);

impl RecipeValue for Modalities {
    fn read(value: &Value) -> Result<Self, String> {
        let Value::Object(entries) = value else {
            return match value {
                Value::Null => Ok(Self::default()),
                _ => Err(format!("{value} is not {}", Self::kind())),
            };
        };
        let entry = |(name, value): (&String, &Value)| {
            ModalityRecipe::deserialize(value)
                .map(|entry| (name.clone(), entry))
                .map_err(|problem| format!("modality `{name}`: {problem}"))
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }

    fn kind() -> String {
        "a map from names to properties".to_owned()
    }

    fn schema() -> Value {
        schema::map_of(schema::of::<ModalityRecipe>())
    }
}

/// Everything that a run needs to know of a modality.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskModality {
    /// The storage of its files.
    pub data: DataModality,
    /// The model's view of it.
    pub model: Modality,
    /// The loss of its decoder.
    pub loss: ReconstructionLoss,
    /// Colours and names of its classes, if given.
    pub palette: Option<String>,
    /// Unit of its numbers, if given.
    pub unit: Option<String>,
    /// The kind of task that predicts it, if given.
    pub task: Option<String>,
}

impl Modalities {
    /// A modality with the recipe's properties over its usual ones.
    ///
    /// # Errors
    /// If the properties do not fit together, or too little is known.
    pub fn resolve(
        &self,
        name: &str,
        role: Role,
        defaults: ModalityDefaults,
    ) -> Result<TaskModality> {
        self.resolve_over(name, usual(name, role, defaults))
    }

    /// The kind of a modality's values in a role: as its entry says or implies, else the usual one.
    #[must_use]
    pub fn kind_in(&self, name: &str, role: Role) -> Kind {
        self.published_entry(name, role).kind_or_implied()
    }

    /// The kind of task that predicts a modality: the one that its entry names, else the usual
    /// one, else labels for class ids and values for numbers.
    #[must_use]
    pub fn task_kind(&self, name: &str) -> String {
        let entry = self.published_entry(name, Role::Target);
        let implied = match entry.kind_or_implied() {
            Kind::Labels => task_kind::LABELS,
            Kind::Continuous | Kind::Color => task_kind::VALUES,
        };
        entry.task.unwrap_or_else(|| implied.to_owned())
    }

    fn published_entry(&self, name: &str, role: Role) -> ModalityRecipe {
        self.entry_over(name, usual(name, role, ModalityDefaults::PUBLISHED))
    }

    /// A modality's entry over these properties, which do not count if the entry is of another
    /// kind.
    fn entry_over(&self, name: &str, usual: ModalityRecipe) -> ModalityRecipe {
        let entry = self.0.get(name).cloned().unwrap_or_default();
        match (entry.kind, usual.kind) {
            (Some(own), Some(other)) if own != other => entry,
            _ => entry.over(usual),
        }
    }

    /// A modality with the recipe's properties over these.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_over(&self, name: &str, usual: ModalityRecipe) -> Result<TaskModality> {
        let problem = |problem: String| Error::Recipe(format!("modality `{name}`: {problem}"));
        let usual = match self.0.get(name) {
            Some(own) => own.usual_of_stored(usual).map_err(problem)?,
            None => usual,
        };
        let entry = self.entry_over(name, usual);
        let kind = entry.kind_or_implied();
        let stride = entry.stride.unwrap_or(if kind == Kind::Labels { 4 } else { 1 });
        let (encoding, model_kind, loss) = match kind {
            Kind::Labels => entry.labels(),
            Kind::Color => entry.color(),
            Kind::Continuous => entry.continuous(),
        }
        .map_err(problem)?;
        // Labels and colours have no invalid numbers.
        let usual = if kind == Kind::Continuous { Valid::Quantity } else { Valid::All };
        let valid = entry.valid.clone().unwrap_or(usual);
        let stored = entry.stored();
        let flip = entry.flip.clone().unwrap_or_default();
        let naming = entry.naming(&Naming::default());
        let select = entry.select.clone().unwrap_or_default();
        let clamp = entry.clamp;
        let data = DataModality {
            name: name.to_owned(),
            folder: entry.folder.unwrap_or_else(|| name.to_owned()),
            encoding,
            stride,
            orientation: entry.orientation.unwrap_or_default(),
            rules: ValueRules { valid, stored, flip, select, clamp },
            naming,
        };
        data.check()?;
        let model = Modality { name: name.to_owned(), stride, kind: model_kind };
        Ok(TaskModality {
            data,
            model,
            loss,
            palette: entry.palette,
            unit: entry.unit,
            task: entry.task,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Override, PretrainRecipe, Resolved};
    use multimae::losses::ReconstructionLoss;
    use multimae::modality::ModalityKind;
    use multimae_data::{Encoding, Flip, IMAGENET_MEAN, IMAGENET_STD, Quantity, Stored};
    use serde_json::json;

    const DEFAULTS: ModalityDefaults =
        ModalityDefaults { imagenet_normalisation: true, standardize_depth: true };

    fn resolve(modalities: &Value, name: &str) -> Result<TaskModality> {
        Modalities::read(modalities).unwrap().resolve(name, Role::Pretraining, DEFAULTS)
    }

    #[test]
    fn usual_modalities_are_the_published_ones() {
        let rgb = resolve(&json!(null), "rgb").unwrap();
        assert_eq!(rgb.loss, ReconstructionLoss::Mse { norm_pix: false });
        assert_eq!(rgb.data.encoding, Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD });
        let depth = resolve(&json!(null), "depth").unwrap();
        assert_eq!(depth.loss, ReconstructionLoss::L1 { norm_pix: false });
        assert!(matches!(
            depth.data.encoding,
            Encoding::Continuous { divisor: 65536.0, standardize: true, channels: 1, .. }
        ));
        let semseg = resolve(&json!(null), "semseg").unwrap();
        assert_eq!(semseg.model, Modality::categorical("semseg", 133, 4));
    }

    #[test]
    fn targets_of_taskonomy_are_converted_as_published() {
        let target = |name: &str, entries: &Value| {
            Modalities::read(entries).unwrap().resolve(name, Role::Target, DEFAULTS).unwrap().data
        };
        let divisor = |data: &DataModality| match data.encoding {
            Encoding::Continuous { divisor, .. } => divisor,
            _ => panic!("{data:?}"),
        };
        // 8000 / 65535 becomes 1, and what is farther, too.
        let depth = target("depth_zbuffer", &json!(null));
        assert_eq!((divisor(&depth), depth.rules.clamp), (8000.0, Some([0.0, 1.0])));
        let edges = target("edge_texture", &json!(null));
        assert_eq!((divisor(&edges), edges.rules.clamp), (0.25 * 65535.0, Some([0.0, 1.0])));
        // Pictures of three channels hold two values, or one.
        let curvature = target("principal_curvature", &json!(null));
        assert_eq!((divisor(&curvature), curvature.rules.select), (255.0, vec![0, 1]));
        assert_eq!(target("reshading", &json!(null)).rules.select, [0]);
        let own = json!({ "reshading": { "select": [2], "clamp": [0.1, 0.9] } });
        let own = target("reshading", &own).rules;
        assert_eq!((own.select, own.clamp), (vec![2], Some([0.1, 0.9])));
        let metres = target("depth_zbuffer", &json!({ "depth_zbuffer": { "divisor": 512 } }));
        assert_eq!(metres.rules.clamp, None, "the range is that of the divisor");
        let whole = json!({ "reshading": { "channels": 3 } });
        assert!(target("reshading", &whole).rules.select.is_empty());
        let keypoints = target("keypoints2d", &json!(null));
        assert_eq!((divisor(&keypoints), keypoints.rules.clamp), (65535.0, None));
    }

    #[test]
    fn a_new_modality_is_an_entry() {
        let entry = json!({ "normal": { "channels": 3, "divisor": 255, "loss": "l1" } });
        let normal = resolve(&entry, "normal").unwrap();
        assert_eq!(normal.model, Modality::continuous("normal", 3));
        assert_eq!(normal.data.folder, "normal");
        let error = resolve(&json!({}), "normal").unwrap_err().to_string();
        assert!(error.contains("channels"), "{error}");
    }

    #[test]
    fn an_entry_of_another_kind_has_no_defaults() {
        let entry = json!({ "depth": { "kind": "labels", "classes": 7 } });
        let depth = resolve(&entry, "depth").unwrap();
        assert_eq!(depth.model, Modality::categorical("depth", 7, 4));
        assert_eq!(depth.task, None);
    }

    #[test]
    fn entries_change_what_they_name() {
        let entry = json!({ "semseg": { "folder": "label40", "classes": 41, "ignore": 0 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert_eq!((semseg.data.folder.as_str(), semseg.data.stride), ("label40", 4));
        assert!(matches!(semseg.model.kind, ModalityKind::Categorical { padding: false, .. }));
        let entry = json!({ "semseg": { "classes": 40, "ignore": 255 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert!(matches!(semseg.model.kind, ModalityKind::Categorical { padding: true, .. }));
    }

    #[test]
    fn any_label_can_be_void_and_any_values_classes() {
        let entry = json!({ "semseg": { "classes": 3, "ignore": -1 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert!(matches!(semseg.model.kind, ModalityKind::Categorical { padding: true, .. }));
        let void = ReconstructionLoss::CrossEntropy { label_smoothing: 0.0, ignore: Some(-1) };
        assert_eq!(semseg.loss, void);
        // The list says how many classes there are; what is ignored is no class.
        let entry = json!({ "semseg": { "values": [7, 255], "ignore": 0 } });
        let semseg = resolve(&entry, "semseg").unwrap();
        assert!(matches!(
            semseg.model.kind,
            ModalityKind::Categorical { classes: 2, padding: true, .. }
        ));
        assert_eq!(semseg.loss, void);
        for entry in [
            json!({ "values": [0, 255], "classes": 3 }),
            json!({ "values": [0, 0] }),
            json!({ "values": [0, 255], "offset": -1 }),
            json!({ "values": [0, 255], "ignore": 255 }),
        ] {
            let error = resolve(&json!({ "semseg": entry }), "semseg").unwrap_err().to_string();
            assert!(error.contains("`semseg`") && error.contains("`values`"), "{error}");
        }
    }

    #[test]
    fn names_of_files_may_differ_between_modalities() {
        let entry = json!({ "depth": {
            "folder": ".", "strip_prefix": "sync_depth_", "strip_suffix": ".png", "column": 2,
        } });
        let depth = resolve(&entry, "depth").unwrap().data;
        assert_eq!(depth.source(), "sync_depth_*.png");
        assert_eq!(depth.naming.column, Some(2));
        assert!(resolve(&json!({}), "depth").unwrap().data.naming.is_default());
        for entry in [json!({ "strip_prefix": "a/b" }), json!({ "column": 0 })] {
            let error = resolve(&json!({ "depth": entry }), "depth").unwrap_err().to_string();
            let key = entry.as_object().and_then(|keys| keys.keys().next()).unwrap();
            assert!(error.contains("`depth`") && error.contains(&format!("`{key}")), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let misspelt = Modalities::read(&json!({ "depth": { "divider": 1000 } })).unwrap_err();
        assert!(misspelt.contains("divider") && misspelt.contains("divisor"), "{misspelt}");
        assert!(resolve(&json!({ "depth": { "loss": "cross_entropy" } }), "depth").is_err());
        assert!(resolve(&json!({ "semseg": { "loss": "l1" } }), "semseg").is_err());
        assert!(resolve(&json!({ "rgb": { "mean": [0.5] } }), "rgb").is_err());
    }

    #[test]
    fn stored_unit_vectors_are_directions_and_mirrored_as_such() {
        let entry = json!({ "normal": { "channels": 3, "stored": "unit_vectors" } });
        let normal = resolve(&entry, "normal").unwrap().data;
        assert_eq!((normal.rules.stored, normal.rules.flip), (Stored::UnitVectors, Flip::Quantity));
        assert!(matches!(
            normal.encoding,
            Encoding::Continuous { divisor: 1.0, quantity: Quantity::Direction, .. }
        ));
        let entry =
            json!({ "normal": { "channels": 3, "stored": "unit_vectors", "divisor": 255 } });
        let error = resolve(&entry, "normal").unwrap_err().to_string();
        assert!(error.contains("leave out `divisor`"), "{error}");
        let entry = json!({
            "flow": { "channels": 2, "zero": 32768, "divisor": 64, "flip": { "negate": [0] } }
        });
        let flow = resolve(&entry, "flow").unwrap().data;
        assert_eq!(flow.rules.stored, Stored::ZeroAt(32768.0));
        let entry = json!({ "flow": { "channels": 2, "flip": { "negates": [0] } } });
        let error = Modalities::read(&entry).unwrap_err();
        assert!(error.contains("`flow`: `flip`: expected"), "{error}");
    }

    #[test]
    fn valid_numbers_follow_from_the_quantity_unless_the_recipe_says_otherwise() {
        let valid = |overrides: &[&str], name: &str| {
            let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
            let recipe = Resolved::<PretrainRecipe>::load(None, &overrides).unwrap().recipe;
            recipe.modality(name).unwrap().data.rules.valid
        };
        assert_eq!(valid(&[], "depth"), Valid::Quantity);
        assert_eq!(valid(&[], "rgb"), Valid::All);
        assert_eq!(valid(&["valid_values=all"], "depth"), Valid::All);
        let own = "modalities={depth: {valid: {except: [0, saturated], max: 10}}}";
        assert!(matches!(valid(&["valid_values=all", own], "depth"), Valid::Own(_)));
        for wrong in ["none", "{except: [most]}", "{min: 3, max: 1}", "{least: 1}"] {
            let entry = format!("modalities={{depth: {{valid: {wrong}}}}}");
            let error = Resolved::<PretrainRecipe>::load(None, &[entry.parse().unwrap()]);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("`depth`") && error.contains("`valid`"), "{error}");
        }
    }
}
