//! Piecewise-constant schedules of a recipe.

use serde_json::{Value, json};

use super::json_schema::all_of;
use super::scalars::{expected, number};
use crate::keys::RecipeValue;

/// The beginning of a stage and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage<T> {
    /// The share of the run's steps that come before the stage, in `[0, 1)`.
    pub from: f64,
    /// The value until the next stage begins.
    pub value: T,
}

/// A piecewise-constant schedule: stages in their order, the first from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct PiecewiseConstant<T>(Vec<Stage<T>>);

impl<T: Copy> PiecewiseConstant<T> {
    /// The stages in their order.
    #[must_use]
    pub fn stages(&self) -> &[Stage<T>] {
        &self.0
    }

    /// Returns the value after this share of the steps.
    #[must_use]
    pub fn at(&self, share: f64) -> Option<T> {
        self.0.iter().rev().find(|stage| stage.from <= share).map(|stage| stage.value)
    }
}

/// Reads `[from, value]`.
fn stage<T: RecipeValue>(value: &Value) -> Result<Stage<T>, String> {
    let Some([from, value]) = value.as_array().map(Vec::as_slice) else {
        return Err(format!("the stage {value} is not [share of the steps, {}]", T::kind()));
    };
    let share = number(from).filter(|share| (0.0..1.0).contains(share));
    let share = share.ok_or_else(|| {
        format!("a stage begins at {from}; write the share of the steps before it, in [0, 1)")
    })?;
    Ok(Stage { from: share, value: T::read(value)? })
}

/// Checks that the stages cover the run and are in order.
fn check_order<T>(stages: &[Stage<T>]) -> Result<(), String> {
    match stages.first() {
        None => return Err("there is no stage; use null for no schedule".to_owned()),
        Some(first) if first.from > 0.0 => {
            return Err(format!("the first stage begins at {}; let it begin at 0", first.from));
        }
        Some(_) => {}
    }
    match stages.windows(2).find(|pair| pair[0].from >= pair[1].from) {
        Some(pair) => Err(format!(
            "a stage from {} comes after one from {}; list every beginning once, in increasing order",
            pair[1].from, pair[0].from
        )),
        None => Ok(()),
    }
}

impl<T: RecipeValue> RecipeValue for PiecewiseConstant<T> {
    fn read(value: &Value) -> Result<Self, String> {
        let list = value.as_array().ok_or_else(|| expected::<Self>(value))?;
        let stages = list.iter().map(stage).collect::<Result<Vec<Stage<T>>, String>>()?;
        check_order(&stages)?;
        Ok(Self(stages))
    }

    fn write(&self) -> Value {
        self.0.iter().map(|stage| json!([stage.from, stage.value.write()])).collect()
    }

    fn kind() -> String {
        format!("a list of [share of the steps, {}]", T::kind())
    }

    fn schema() -> Value {
        let from = all_of([f64::schema(), json!({ "minimum": 0, "exclusiveMaximum": 1 })]);
        let stage = json!({
            "type": "array", "items": [from, T::schema()], "minItems": 2, "maxItems": 2,
        });
        json!({ "type": "array", "items": stage, "minItems": 1 })
    }
}

#[cfg(test)]
mod tests {
    use multimae::modality::Size;

    use super::*;

    fn problem(value: &Value) -> String {
        PiecewiseConstant::<Size>::read(value).unwrap_err()
    }

    #[test]
    fn a_schedule_is_read_and_read_again_as_it_is_written() {
        let text = json!([[0, 128], [0.6, [96, 128]], ["0.8", 224]]);
        let schedule = PiecewiseConstant::<Size>::read(&text).unwrap();
        assert_eq!(PiecewiseConstant::read(&schedule.write()).unwrap(), schedule);
        let at = |share| schedule.at(share).unwrap();
        assert_eq!((at(0.0), at(0.59)), (Size::square(128), Size::square(128)));
        assert_eq!((at(0.6), at(0.79)), (Size::new(96, 128), Size::new(96, 128)));
        assert_eq!((at(0.8), at(1.0)), (Size::square(224), Size::square(224)));
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        for (value, words) in [
            (json!([]), "use null for no schedule"),
            (json!(128), "128 is not a list of [share of the steps, a side in pixels"),
            (json!([128, 224]), "the stage 128 is not [share of the steps"),
            (json!([[0.1, 128]]), "begins at 0.1; let it begin at 0"),
            (json!([[0, 64], [0.5, 96], [0.5, 128]]), "a stage from 0.5 comes after one from 0.5"),
            (json!([[0, 64], [1, 128]]), "begins at 1; write the share of the steps before it"),
            (json!([[0, 64], [-0.5, 128]]), "in [0, 1)"),
            (json!([[0, 0]]), "0 is not a side in pixels"),
        ] {
            let problem = problem(&value);
            assert!(problem.contains(words), "{value}: {problem}");
        }
    }
}
