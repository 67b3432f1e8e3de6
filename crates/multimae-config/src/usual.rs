//! The usual modalities as a table: the published defaults of each, by its name and its use.

use multimae_data::{IMAGENET_MEAN, IMAGENET_STD, Interpolation, Quantity};

use super::modality_entry::{Kind, LossName, ModalityRecipe};

/// Classes of the COCO panoptic pseudo labels that the published models are pre-trained on.
pub const COCO_CLASSES: usize = 133;
/// The published divisor of 16-bit depth in pre-training.
const PRETRAINING_DEPTH: f32 = 65536.0;
/// Stored depth of fine-tuning is taken to be in millimetres where the recipe does not say.
const MILLIMETRES: f32 = 1000.0;
/// The published divisor of 16-bit targets of Taskonomy.
const SIXTEEN_BITS: f32 = 65535.0;
/// The stored depth of Taskonomy that becomes 1: 15.6 m. Published targets end there.
const FAR_DEPTH: f32 = 8000.0;
/// The share of the 16-bit range that becomes 1 in edges of texture. Published targets end there.
const STRONG_EDGES: f32 = 0.25;
/// Normalisation of RGB other than ImageNet's.
const INCEPTION: [f32; 3] = [0.5; 3];
/// The published label of pixels without a class.
const VOID: i64 = 255;

/// The use of a modality in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Input and target of masked pre-training.
    Pretraining,
    /// Input of fine-tuning.
    Input,
    /// Target of fine-tuning.
    Target,
}

/// The keys outside `modalities:` that concern them.
#[derive(Debug, Clone, Copy)]
pub struct ModalityDefaults {
    /// ImageNet's normalisation of RGB, not Inception's.
    pub imagenet_normalisation: bool,
    /// Robust standardisation of distances per sample.
    pub standardize_depth: bool,
}

impl ModalityDefaults {
    /// Those of the published scripts.
    pub const PUBLISHED: Self = Self { imagenet_normalisation: true, standardize_depth: true };
}

/// The kinds of dense tasks that published recipes train, as `multimae-tasks` registers them.
pub mod task_kind {
    /// Metric depth.
    pub const DEPTH: &str = "depth";
    /// A class per pixel.
    pub const LABELS: &str = "labels";
    /// Other real values.
    pub const VALUES: &str = "values";
}

/// A usual modality in some of its roles; what is `None` has no published value.
#[derive(Debug, Clone, Copy)]
struct Usual {
    name: &'static str,
    roles: &'static [Role],
    kind: Kind,
    /// The kind of task that predicts it.
    task: Option<&'static str>,
    channels: Option<usize>,
    classes: Option<usize>,
    ignore: Option<i64>,
    divisor: Option<f32>,
    quantity: Option<Quantity>,
    unit: Option<&'static str>,
    interpolation: Option<Interpolation>,
    loss: Option<LossName>,
    /// The channels of files that have more.
    select: &'static [usize],
    clamp: Option<[f32; 2]>,
    /// The input adapter that reads it, if it has not the modality's own name.
    adapter: Option<&'static str>,
}

const NUMBERS: Usual = Usual {
    name: "",
    roles: &[],
    kind: Kind::Continuous,
    task: None,
    channels: Some(1),
    classes: None,
    ignore: None,
    divisor: None,
    quantity: None,
    unit: None,
    interpolation: None,
    loss: None,
    select: &[],
    clamp: None,
    adapter: None,
};
const LABELS: Usual =
    Usual { kind: Kind::Labels, channels: None, task: Some(task_kind::LABELS), ..NUMBERS };
const DEPTH: Usual =
    Usual { task: Some(task_kind::DEPTH), quantity: Some(Quantity::Distance), ..NUMBERS };
const DIRECTIONS: Usual = Usual { channels: None, quantity: Some(Quantity::Direction), ..NUMBERS };
/// A target of the published dense regression (Taskonomy).
const TASKONOMY: Usual = Usual {
    roles: &[Role::Target],
    divisor: Some(SIXTEEN_BITS),
    interpolation: Some(Interpolation::Nearest),
    ..NUMBERS
};
const UNIT_RANGE: Option<[f32; 2]> = Some([0.0, 1.0]);
const TASKONOMY_DEPTH: Usual = Usual {
    divisor: Some(FAR_DEPTH),
    clamp: UNIT_RANGE,
    quantity: Some(Quantity::Distance),
    ..TASKONOMY
};

/// The usual modalities. A modality whose name and role are not here has no defaults of its own.
const USUAL: &[Usual] = &[
    Usual {
        name: "rgb",
        roles: &[Role::Pretraining, Role::Input, Role::Target],
        kind: Kind::Color,
        channels: None,
        loss: Some(LossName::Mse),
        ..NUMBERS
    },
    Usual { name: "depth", roles: &[Role::Pretraining], divisor: Some(PRETRAINING_DEPTH), ..DEPTH },
    Usual {
        name: "depth",
        roles: &[Role::Input, Role::Target],
        divisor: Some(MILLIMETRES),
        interpolation: Some(Interpolation::Nearest),
        unit: Some("m"),
        ..DEPTH
    },
    Usual {
        name: "semseg",
        roles: &[Role::Pretraining, Role::Input],
        classes: Some(COCO_CLASSES),
        ..LABELS
    },
    Usual { name: "semseg", roles: &[Role::Target], ..LABELS },
    Usual {
        name: "pseudo_semseg",
        roles: &[Role::Input],
        classes: Some(COCO_CLASSES),
        ignore: Some(VOID),
        adapter: Some("semseg"),
        ..LABELS
    },
    Usual {
        name: "normal",
        channels: Some(3),
        divisor: Some(255.0),
        quantity: Some(Quantity::Direction),
        ..TASKONOMY
    },
    // Their storage is not known, but what mirroring does to them is.
    Usual { name: "normal", roles: &[Role::Pretraining, Role::Input], ..DIRECTIONS },
    Usual { name: "normals", roles: &[Role::Pretraining, Role::Input, Role::Target], ..DIRECTIONS },
    Usual {
        name: "principal_curvature",
        channels: Some(2),
        divisor: Some(255.0),
        select: &[0, 1],
        ..TASKONOMY
    },
    Usual { name: "reshading", divisor: Some(255.0), select: &[0], ..TASKONOMY },
    Usual { name: "depth_zbuffer", ..TASKONOMY_DEPTH },
    Usual { name: "depth_euclidean", ..TASKONOMY_DEPTH },
    Usual {
        name: "edge_texture",
        divisor: Some(SIXTEEN_BITS * STRONG_EDGES),
        clamp: UNIT_RANGE,
        ..TASKONOMY
    },
    Usual { name: "edge_occlusion", ..TASKONOMY },
    Usual { name: "keypoints2d", ..TASKONOMY },
    Usual { name: "keypoints3d", ..TASKONOMY },
];

fn row(name: &str, role: Role) -> Option<&'static Usual> {
    USUAL.iter().find(|usual| usual.name == name && usual.roles.contains(&role))
}

/// Returns the published properties of a modality in a role; none for other names.
#[must_use]
pub fn usual(name: &str, role: Role, defaults: ModalityDefaults) -> ModalityRecipe {
    row(name, role).map(|row| row.entry(role, defaults)).unwrap_or_default()
}

/// Returns the name of the input adapter that reads a modality.
#[must_use]
pub fn adapter_of(name: &str) -> &str {
    row(name, Role::Input).and_then(|row| row.adapter).unwrap_or(name)
}

/// Returns the published name of the task of a kind.
pub(crate) fn published_name(task_kind: &str) -> Option<&'static str> {
    let target = |row: &&Usual| row.roles.contains(&Role::Target) && row.task == Some(task_kind);
    USUAL.iter().find(target).map(|row| row.name)
}

impl Usual {
    fn entry(&self, role: Role, defaults: ModalityDefaults) -> ModalityRecipe {
        let (mean, std) = match (self.kind, defaults.imagenet_normalisation) {
            (Kind::Color, true) => (Some(IMAGENET_MEAN.to_vec()), Some(IMAGENET_STD.to_vec())),
            (Kind::Color, false) => (Some(INCEPTION.to_vec()), Some(INCEPTION.to_vec())),
            _ => (None, None),
        };
        let distance = self.quantity == Some(Quantity::Distance);
        ModalityRecipe {
            kind: Some(self.kind),
            channels: self.channels,
            classes: self.classes.map(Into::into),
            ignore: self.ignore,
            divisor: self.divisor,
            mean,
            std,
            interpolation: self.interpolation,
            standardize: (distance && role == Role::Pretraining)
                .then_some(defaults.standardize_depth),
            loss: self.loss,
            unit: self.unit.map(str::to_owned),
            quantity: self.quantity,
            select: (!self.select.is_empty()).then(|| self.select.to_vec()),
            clamp: self.clamp,
            task: self.task.map(str::to_owned),
            ..ModalityRecipe::default()
        }
    }
}

/// The defaults of any target of a kind of task, whatever its name.
#[must_use]
pub fn usual_target(kind: Kind) -> ModalityRecipe {
    match kind {
        Kind::Labels => ModalityRecipe { ignore: Some(VOID), ..ModalityRecipe::default() },
        Kind::Continuous => ModalityRecipe {
            interpolation: Some(Interpolation::Nearest),
            ..ModalityRecipe::default()
        },
        Kind::Color => ModalityRecipe::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modality_in_a_role_has_one_row() {
        for usual in USUAL {
            for role in usual.roles {
                let of_name = USUAL.iter().filter(|other| other.name == usual.name);
                let rows = of_name.filter(|other| other.roles.contains(role)).count();
                assert_eq!(rows, 1, "{} as {role:?}", usual.name);
            }
        }
    }

    #[test]
    fn adapters_are_read_from_the_table() {
        assert_eq!(adapter_of("pseudo_semseg"), "semseg");
        assert_eq!(adapter_of("semseg"), "semseg");
        assert_eq!(adapter_of("thermal"), "thermal");
    }

    #[test]
    fn kinds_have_their_published_names() {
        assert_eq!(published_name(task_kind::LABELS), Some("semseg"));
        assert_eq!(published_name(task_kind::DEPTH), Some("depth"));
        assert_eq!(published_name(task_kind::VALUES), None);
    }
}
