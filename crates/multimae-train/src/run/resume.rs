//! Resuming a run: the recipe and the data must be those that it was begun with.

use multimae_config::{Recipe, check_same, differing};
use multimae_data::{DataDifference, DataFacts, Loader};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Position;
use crate::schedule::CosineSchedule;
use crate::{Error, Result};

/// The key of the facts about the data in a fingerprint.
const DATA: &str = "data";
/// The key of the recipe that a run can be extended by.
const EPOCHS: &str = "epochs";

/// The beginning of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStart {
    /// In an empty folder.
    New,
    /// From the newest checkpoint in its folder.
    Resume(ResumeOptions),
}

impl RunStart {
    /// A new run, or one that is resumed with these options.
    #[must_use]
    pub fn new(resumes: bool, options: ResumeOptions) -> Self {
        if resumes { Self::Resume(options) } else { Self::New }
    }

    /// The changes that are allowed.
    pub(crate) fn options(self) -> ResumeOptions {
        match self {
            Self::New => ResumeOptions::default(),
            Self::Resume(options) => options,
        }
    }
}

/// Changes that a run may be resumed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResumeOptions {
    /// More epochs than it was begun with.
    pub extend: bool,
    /// The same samples in files of other sizes.
    pub accept_changed_files: bool,
}

/// The result of comparing a run with the recipe and the data that resume it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Continuation {
    /// Notices for the user.
    pub notices: Vec<String>,
    /// The epochs of the run so far, if it is extended.
    pub extended_from: Option<u64>,
}

impl Continuation {
    /// The notices, with one about the schedules of an extended run.
    ///
    /// The arguments are the epochs, the steps in each and the learning rates of the run now.
    pub(crate) fn into_notices(
        self,
        (epochs, steps_per_epoch): (u64, u64),
        lr: CosineSchedule,
        position: &Position,
    ) -> Vec<String> {
        let Self { mut notices, extended_from } = self;
        notices.extend(extended_from.map(|was| {
            let before = lr.with_total(was * steps_per_epoch);
            format!(
                "the run is extended from {was} to {epochs} epochs: from here on, learning rate and \
                 weight decay follow the schedules of a run of {epochs} epochs; the learning rate of \
                 the last step was {:.2e}, that of the next is {:.2e}, and it falls to {:.2e} at the \
                 end",
                before.at(position.step.saturating_sub(1)),
                lr.at(position.step),
                lr.at(epochs * steps_per_epoch)
            )
        }));
        notices
    }
}

/// The facts about the sets of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RunData {
    training: Option<DataFacts>,
    evaluation: Option<DataFacts>,
}

/// Returns the fingerprint of a recipe with that of its data.
///
/// # Errors
/// If a file of the data is gone.
pub fn fingerprint(recipe: &str, training: &Loader, evaluation: Option<&Loader>) -> Result<String> {
    let evaluation = evaluation.map(Loader::facts).transpose()?.flatten();
    let data = RunData { training: training.facts()?, evaluation };
    let mut keys = parsed(recipe);
    keys.insert(DATA.to_owned(), serde_json::to_value(data).unwrap_or_default());
    Ok(Value::Object(keys).to_string())
}

/// Compares the fingerprint that a run was begun with to the one now. The keys `of_data` hold
/// statistics of the training data.
///
/// # Errors
/// Names the difference of the data, or the keys of the recipe that differ, in one line.
pub fn check_continues<R: Recipe>(
    begun: &str,
    now: &str,
    of_data: &[&str],
    options: ResumeOptions,
) -> Result<Continuation> {
    let (mut begun, mut now) = (parsed(begun), parsed(now));
    // Other data changes what follows from it in the rest of the fingerprint.
    let data = (begun.shift_remove(DATA), now.shift_remove(DATA));
    let mut notices = check_data(data, options.accept_changed_files)?;
    let extended_from = extension(&mut begun, &now, options)?;
    if options.accept_changed_files {
        for change in differing::<R>(&begun, &now) {
            if of_data.contains(&change.key.as_str()) && begun.contains_key(&change.key) {
                notices.push(format!("statistics of the changed files: {change}"));
                begun.insert(change.key, change.now);
            }
        }
    }
    notices.extend(check_same::<R>(&begun, &now)?);
    Ok(Continuation { notices, extended_from })
}

fn parsed(fingerprint: &str) -> Map<String, Value> {
    serde_json::from_str(fingerprint).unwrap_or_default()
}

fn check_data(
    (begun, now): (Option<Value>, Option<Value>),
    accept_changed_files: bool,
) -> Result<Vec<String>> {
    let read = |value: Option<Value>| serde_json::from_value::<RunData>(value?).ok();
    let (Some(begun), Some(now)) = (read(begun), read(now)) else {
        return Ok(vec![
            "the run recorded no names and sizes of its data, so changes of the data since it was \
             begun cannot be noticed; from here on they are recorded"
                .to_owned(),
        ]);
    };
    let sets = [
        ("training", begun.training, now.training),
        ("evaluation", begun.evaluation, now.evaluation),
    ];
    let mut notices = Vec::new();
    for (set, begun, now) in sets {
        let (Some(begun), Some(now)) = (begun, now) else { continue };
        match begun.difference(&now) {
            None => {}
            Some(DataDifference::Sizes(text)) if accept_changed_files => {
                notices.push(format!("the {set} data has changed: {text}"));
            }
            Some(difference) => return Err(changed(set, difference)),
        }
    }
    Ok(notices)
}

fn changed(set: &str, difference: DataDifference) -> Error {
    let (text, remedy) = match difference {
        DataDifference::Samples(text) => (text, "restore it"),
        DataDifference::Sizes(text) => {
            (text, "restore it, accept the new files with --accept-changed-files")
        }
    };
    Error::Recipe(format!(
        "the {set} data is not the one that the run was begun with: {text}. To resume, {remedy}, or \
         start a new run in another folder"
    ))
}

/// Returns the epochs that the run had, if it gets more now and may.
fn extension(
    begun: &mut Map<String, Value>,
    now: &Map<String, Value>,
    options: ResumeOptions,
) -> Result<Option<u64>> {
    let epochs = |keys: &Map<String, Value>| keys.get(EPOCHS).and_then(Value::as_u64);
    let (Some(was), Some(wanted)) = (epochs(begun), epochs(now)) else { return Ok(None) };
    if wanted <= was {
        return Ok(None);
    }
    if !options.extend {
        return Err(Error::Recipe(format!(
            "the run was begun with {was} epochs, and `epochs` is {wanted} now. To train longer, \
             resume with --extend-to {wanted}"
        )));
    }
    begun.insert(EPOCHS.to_owned(), wanted.into());
    Ok(Some(was))
}

/// Checks that a position is one of a run with this number of steps in an epoch.
///
/// # Errors
/// If the number has changed since the run was begun.
pub(crate) fn check_position(position: &Position, steps_per_epoch: u64) -> Result<()> {
    let Position { step, epoch, batch, .. } = position;
    if *step == epoch * steps_per_epoch + batch {
        return Ok(());
    }
    Err(Error::Recipe(format!(
        "the checkpoint is at step {step}, batch {batch} of epoch {epoch}, and the data now has \
         {steps_per_epoch} batches in an epoch: samples were added or removed since the run was \
         begun. Restore the data, or start a new run in another folder"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae_config::{PretrainRecipe, Resolved};
    use serde_json::json;

    fn fingerprint(overrides: &[&str], data: Option<Value>) -> String {
        let overrides: Vec<_> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        let recipe = Resolved::<PretrainRecipe>::load(None, &overrides).unwrap().recipe;
        let mut keys = parsed(&recipe.fingerprint());
        if let Some(data) = data {
            keys.insert(DATA.to_owned(), json!({"training": data, "evaluation": null}));
        }
        Value::Object(keys).to_string()
    }

    fn data(samples: u64, names: &str, bytes: u64) -> Option<Value> {
        let sizes = json!({"rgb": {"bytes": bytes, "digest": bytes.to_string()}});
        Some(json!({"samples": samples, "names": names, "packed": false, "sizes": sizes}))
    }

    fn check(begun: &str, now: &str, options: ResumeOptions) -> Result<Continuation> {
        check_continues::<PretrainRecipe>(begun, now, &["statistics"], options)
    }

    const PLAIN: ResumeOptions = ResumeOptions { extend: false, accept_changed_files: false };
    const EXTEND: ResumeOptions = ResumeOptions { extend: true, ..PLAIN };
    const ACCEPT: ResumeOptions = ResumeOptions { accept_changed_files: true, ..PLAIN };

    #[test]
    fn changed_data_is_named_in_one_line() {
        let begun = fingerprint(&[], data(12, "a", 100));
        assert_eq!(check(&begun, &begun, PLAIN).unwrap(), Continuation::default());
        for (now, words) in [
            (data(13, "b", 110), "it has 13 samples, and had 12"),
            (data(12, "b", 100), "names of its samples"),
            (data(12, "a", 101), "`rgb` have 101 bytes, and had 100"),
        ] {
            let now = fingerprint(&[], now);
            let message = check(&begun, &now, PLAIN).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("training data"), "{message}");
            assert!(!message.contains('\n') && message.len() < 300, "{message}");
        }
        // Only sizes can be accepted: another number of samples would shift the epochs.
        let larger = fingerprint(&[], data(12, "a", 101));
        let accepted = check(&begun, &larger, ACCEPT).unwrap();
        assert!(accepted.notices[0].contains("101 bytes"), "{accepted:?}");
        assert!(check(&begun, &fingerprint(&[], data(13, "b", 101)), ACCEPT).is_err());
        let with = |fingerprint: &str, mean: f64| {
            let mut keys = parsed(fingerprint);
            keys.insert("statistics".to_owned(), json!({"depth": mean}));
            Value::Object(keys).to_string()
        };
        let (begun, larger) = (with(&begun, 2.0), with(&larger, 2.5));
        let notices = check(&begun, &larger, ACCEPT).unwrap().notices;
        assert!(notices[1].contains("`statistics.depth` was 2.0, now 2.5"), "{notices:?}");
    }

    #[test]
    fn a_run_without_facts_about_its_data_is_resumed_with_a_notice() {
        let now = fingerprint(&[], data(12, "a", 100));
        let notices = check(&fingerprint(&[], None), &now, PLAIN).unwrap().notices;
        assert!(notices.len() == 1 && notices[0].contains("recorded no names"), "{notices:?}");
    }

    #[test]
    fn epochs_grow_by_the_option_alone() {
        let begun = fingerprint(&["epochs=10"], data(12, "a", 100));
        let longer = fingerprint(&["epochs=20"], data(12, "a", 100));
        let message = check(&begun, &longer, PLAIN).unwrap_err().to_string();
        assert!(message.contains("--extend-to 20"), "{message}");
        assert_eq!(check(&begun, &longer, EXTEND).unwrap().extended_from, Some(10));
        assert_eq!(check(&begun, &begun, EXTEND).unwrap().extended_from, None);
        let message = check(&longer, &begun, EXTEND).unwrap_err().to_string();
        assert!(message.contains("`epochs` was 20, now 10"), "{message}");
        // Nothing else may change with it.
        let other = fingerprint(&["epochs=20", "blr=7"], data(12, "a", 100));
        assert!(check(&begun, &other, EXTEND).unwrap_err().to_string().contains("`blr`"));
    }

    #[test]
    fn the_notice_of_an_extension_states_the_rates() {
        let position = Position { step: 40, ..Position::start() };
        let lr = CosineSchedule::new(1.0, 0.0, 0, 80);
        let extended = Continuation { extended_from: Some(10), ..Continuation::default() };
        let notice = extended.into_notices((20, 4), lr, &position).join("");
        // Half of a cosine: 0.5 at its middle. One step before the end of 40: (1 + cos(39/40 pi)) / 2.
        for words in ["from 10 to 20 epochs", "was 1.54e-3", "next is 5.00e-1", "0.00e0"] {
            assert!(notice.contains(words), "{words}: {notice}");
        }
    }

    #[test]
    fn a_position_of_other_data_is_refused() {
        let position = Position { step: 13, epoch: 3, batch: 1, ..Position::start() };
        check_position(&position, 4).unwrap();
        let message = check_position(&position, 3).unwrap_err().to_string();
        assert!(message.contains("step 13") && message.contains("3 batches"), "{message}");
    }
}
