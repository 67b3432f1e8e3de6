//! A task inside a saved model.

use std::sync::Arc;

use multimae_data::DataModality;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Task, from_json, to_json};

/// A task of a saved model, and how its annotations are stored.
///
/// As JSON: `{"kind": {"kind": "depth", ...}, "target": ...}`.
#[derive(Debug, Clone)]
pub struct TaskCard {
    /// The task.
    pub task: Arc<dyn Task>,
    /// The storage of its annotations; none for classes, which are folders.
    pub target: Option<DataModality>,
}

impl TaskCard {
    /// A task whose annotations are stored in a known way, or not stored.
    pub fn new(task: impl Task + 'static, target: Option<DataModality>) -> Self {
        Self { task: Arc::new(task), target }
    }

    /// Corrects the decoded values of a mirrored frame, after its maps were mirrored back, by the
    /// rule of its annotations.
    ///
    /// # Shapes
    /// `maps`: planes of `area` values each.
    pub fn unmirror(&self, maps: &mut [f32], area: usize) {
        if let Some(target) = &self.target {
            target.mirror_planes(maps, area);
        }
    }
}

impl PartialEq for TaskCard {
    fn eq(&self, other: &Self) -> bool {
        to_json(&*self.task) == to_json(&*other.task) && self.target == other.target
    }
}

impl Serialize for TaskCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let target = serde_json::to_value(&self.target).map_err(S::Error::custom)?;
        json!({"kind": to_json(&*self.task), "target": target}).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TaskCard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            kind: Value,
            target: Option<DataModality>,
        }
        let Fields { kind, target } = Fields::deserialize(deserializer)?;
        let task = from_json(kind).map_err(D::Error::custom)?;
        Ok(Self { task, target })
    }
}

#[cfg(test)]
mod tests {
    use multimae_data::{Encoding, Flip, FlipRule, Interpolation, Quantity, Stored, ValueRules};

    use super::*;
    use crate::kinds::normals::Normals;

    fn card(encoding: Encoding, rules: ValueRules) -> TaskCard {
        let (name, folder) = ("a".to_owned(), "a".to_owned());
        TaskCard::new(
            Normals {},
            Some(DataModality {
                name,
                folder,
                encoding,
                stride: 1,
                orientation: multimae_data::Orientation::Apply,
                naming: multimae_data::Naming::default(),
                rules,
            }),
        )
    }

    fn numbers(channels: usize, quantity: Quantity) -> Encoding {
        Encoding::Continuous {
            channels,
            divisor: 1.0,
            mean: vec![1.0; channels],
            std: vec![2.0; channels],
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity,
        }
    }

    #[test]
    fn mirrored_predictions_are_corrected_by_the_rule_of_the_annotations() {
        let planes = [0.6, -0.6, 0.1, 0.2, 0.8, 0.8];
        let unmirrored = |encoding: Encoding, rules: ValueRules| {
            let card = card(encoding, rules);
            card.target.as_ref().unwrap().check().unwrap();
            let mut twice = planes.to_vec();
            card.unmirror(&mut twice, 2);
            let once = twice.clone();
            card.unmirror(&mut twice, 2);
            assert!(twice.iter().zip(planes).all(|(a, b)| (a - b).abs() < 1e-6), "{twice:?}");
            once
        };
        let direction = unmirrored(numbers(3, Quantity::Direction), ValueRules::default());
        // 0 is -0.5 after mean and deviation.
        let expected = [-1.6, -0.4, 0.1, 0.2, 0.8, 0.8];
        assert!(direction.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{direction:?}");
        assert_eq!(unmirrored(numbers(3, Quantity::Plain), ValueRules::default()), planes);
        let own = |rule: FlipRule, stored: Stored| ValueRules {
            flip: Flip::Own(rule),
            stored,
            ..ValueRules::default()
        };
        let negated = FlipRule { negate: vec![1], swap: Vec::new() };
        let flow = unmirrored(numbers(3, Quantity::Plain), own(negated, Stored::ZeroAt(7.0)));
        assert_eq!(flow, [0.6, -0.6, -1.1, -1.2, 0.8, 0.8]);
        // Labels 1 and 3 as stored are classes 0 and 2.
        let labels = |offset: i64, values: Vec<i64>| Encoding::Labels {
            classes: 3,
            ignore: Some(255),
            offset,
            values,
            map: None,
        };
        let swapped = FlipRule { negate: Vec::new(), swap: vec![[3, 1]] };
        let shifted = unmirrored(labels(-1, Vec::new()), own(swapped.clone(), Stored::Plain));
        assert_eq!(shifted, [0.8, 0.8, 0.1, 0.2, 0.6, -0.6]);
        // Listed values are classes in their order.
        let listed = unmirrored(labels(0, vec![1, 3, 7]), own(swapped, Stored::Plain));
        assert_eq!(listed, [0.1, 0.2, 0.6, -0.6, 0.8, 0.8]);
    }
}
