//! The model card of an exported folder: README.md with the front matter that model hubs read.

use std::fmt::Write as _;
use std::path::Path;

use fs_err as fs;
use indexmap::IndexMap;
use multimae_infer::saved_model::SavedModel;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// The file with a run's scores, beside its model.
const RESULT_FILE: &str = "result.json";
/// The mean score by which a run chooses its best model; of no protocol.
const SELECTION: &str = "score";

/// The parts of a model card that are not of the model.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// The name of the folder.
    pub folder: String,
    /// The licence of the weights, as model hubs name it.
    pub license: Option<String>,
    /// The scores of the run.
    pub scores: Option<RunScores>,
}

/// The scores of a run on one list of frames.
#[derive(Debug, Clone, PartialEq)]
pub struct RunScores {
    /// The list.
    pub split: String,
    /// The data set.
    pub dataset: String,
    /// By `TASK_SCORE`.
    pub scores: IndexMap<String, f64>,
}

/// The library that opens a folder.
#[derive(Debug, Clone)]
pub(crate) struct Library {
    /// Its name on model hubs.
    pub(crate) name: &'static str,
    /// The hub's name of the task.
    pub(crate) pipeline: &'static str,
    /// Lines of Python that open the folder at PATH.
    pub(crate) opening: String,
}

impl RunScores {
    /// The scores of the run whose model this is: of the test frames if there are any, else of those that
    /// chose the model. `None` if no result lies beside it.
    ///
    /// # Errors
    /// If the result cannot be read.
    pub fn beside(model: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Scores {
            set: String,
            model: IndexMap<String, f64>,
        }
        #[derive(Deserialize)]
        struct RunResult {
            validation: Option<Scores>,
            test: Option<Scores>,
            #[serde(default)]
            recipe: Map<String, Value>,
        }
        let dir = if model.is_dir() { Some(model) } else { model.parent() };
        let Some(path) = dir.map(|dir| dir.join(RESULT_FILE)).filter(|path| path.is_file()) else {
            return Ok(None);
        };
        let result: RunResult = serde_json::from_slice(&fs::read(&path)?)
            .map_err(|error| Error::file(&path, format!("is no result of a run: {error}")))?;
        let dataset =
            result.recipe.get("dataset_name").and_then(Value::as_str).unwrap_or("unnamed");
        Ok(result.test.or(result.validation).map(|scores| Self {
            split: scores.set,
            dataset: dataset.to_owned(),
            scores: scores.model,
        }))
    }
}

impl Card {
    /// The text of README.md for some tasks of a model, or none of them.
    ///
    /// # Errors
    /// If the front matter cannot be written.
    pub(crate) fn text(
        &self,
        saved: &SavedModel,
        library: Library,
        tasks: &[&str],
    ) -> Result<String> {
        let front = self.front_matter(saved, &library, tasks);
        let front = serde_json::to_string_pretty(&front).map_err(|error| {
            Error::Request(format!("the model card cannot be written: {error}"))
        })?;
        let model = &saved.card.model;
        let size = saved.card.input_size();
        let inputs: Vec<&str> = model.inputs.iter().map(|input| input.name.as_str()).collect();
        let mut text = String::new();
        // JSON is YAML.
        writeln!(text, "---\n{front}\n---\n\n# {}\n", self.folder).map_err(unwritten)?;
        writeln!(
            text,
            "A ViT of {} blocks of {} dimensions from a multi-modal masked autoencoder (MultiMAE), \
             fine-tuned. It reads {} at {} x {} pixels (height x width), in patches of {} pixels.\n",
            model.encoder.depth,
            model.encoder.width,
            inputs.join(" and "),
            size.height,
            size.width,
            model.patch_size
        )
        .map_err(unwritten)?;
        for task in tasks {
            if let Some(card) = saved.card.tasks.get(*task) {
                writeln!(text, "* `{task}`: {}.", card.task.summary()).map_err(unwritten)?;
            }
        }
        let opening = library.opening.replace("PATH", &self.folder);
        writeln!(text, "\n## Use\n\n```python\n{opening}```\n").map_err(unwritten)?;
        text.push_str(TEST_PAIR);
        text.push_str(&self.score_table(tasks));
        writeln!(text, "## Upload\n\n```sh\nhf upload OWNER/{0} {0}\n```", self.folder)
            .map_err(unwritten)?;
        Ok(text)
    }

    fn front_matter(&self, saved: &SavedModel, library: &Library, tasks: &[&str]) -> Value {
        let license = self.license.as_deref().unwrap_or("cc-by-nc-4.0");
        let inputs = saved.card.model.inputs.iter().map(|input| input.name.clone());
        let tags: Vec<String> = ["multimae", "vision-transformer"]
            .map(str::to_owned)
            .into_iter()
            .chain(inputs)
            .collect();
        let mut front = json!({
            "license": license,
            "library_name": library.name,
            "pipeline_tag": library.pipeline,
            "tags": tags,
        });
        if let (Some(scores), Value::Object(front)) = (&self.scores, &mut front) {
            let metrics = scores.of(tasks);
            let names: Vec<&String> = metrics.keys().copied().collect();
            front.insert("metrics".to_owned(), json!(names));
            front.insert("model-index".to_owned(), self.model_index(scores, library, &metrics));
        }
        front
    }

    fn model_index(
        &self,
        scores: &RunScores,
        library: &Library,
        metrics: &IndexMap<&String, f64>,
    ) -> Value {
        let metrics: Vec<Value> = metrics
            .iter()
            .map(|(name, value)| json!({"type": name, "value": value, "name": name}))
            .collect();
        let dataset =
            json!({"type": scores.dataset, "name": scores.dataset, "split": scores.split});
        let result =
            json!({"task": {"type": library.pipeline}, "dataset": dataset, "metrics": metrics});
        json!([{"name": self.folder, "results": [result]}])
    }

    fn score_table(&self, tasks: &[&str]) -> String {
        let Some(scores) = &self.scores else { return String::new() };
        let metrics = scores.of(tasks);
        if metrics.is_empty() {
            return String::new();
        }
        let rows: String =
            metrics.iter().map(|(name, value)| format!("| {name} | {value:.4} |\n")).collect();
        format!(
            "## Scores\n\nOn `{}` of {}, by the protocol of the training run:\n\n| score | value |\n\
             |---|---:|\n{rows}\n",
            scores.split, scores.dataset
        )
    }
}

impl RunScores {
    /// The scores of these tasks.
    fn of(&self, tasks: &[&str]) -> IndexMap<&String, f64> {
        let of_task = |name: &str| {
            tasks.iter().any(|task| name.strip_prefix(task).is_some_and(|r| r.starts_with('_')))
        };
        let own = self.scores.iter().filter(|(name, _)| *name != SELECTION && of_task(name));
        own.map(|(name, value)| (name, *value)).collect()
    }
}

const TEST_PAIR: &str = "\
`test/` holds an example: `input.NAME.npy` as they go into the model, and `output.NAME.npy` as they come out.
A model that gives other numbers for it was opened with another layout or normalisation.

";

fn unwritten(error: std::fmt::Error) -> Error {
    Error::Request(format!("the model card cannot be written: {error}"))
}
