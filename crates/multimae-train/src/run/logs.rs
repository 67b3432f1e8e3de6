//! The lasting records of a run: `metrics.jsonl` and TensorBoard events.

use indexmap::IndexMap;
use multimae_report::events::EventWriter;
use multimae_report::metrics_log::MetricsLog;
use multimae_report::picture::Picture;
use serde_json::{Map, Value, json};

use super::RunFolder;
use crate::Result;
use crate::observer::{SetReport, StepReport};

/// Both records, written together.
pub struct Logs {
    metrics: MetricsLog,
    events: EventWriter,
}

impl Logs {
    /// Opens the records of a run that resumes at `step`; those of that step and later are
    /// replaced.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn open(folder: &RunFolder, step: u64) -> Result<Self> {
        let (metrics, events) = if step == 0 {
            (MetricsLog::create(&folder.metrics())?, EventWriter::create(&folder.events(), None)?)
        } else {
            (
                MetricsLog::resume(&folder.metrics(), step)?,
                EventWriter::create(&folder.events(), Some(step))?,
            )
        };
        Ok(Self { metrics, events })
    }

    /// Records a step.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn step(&mut self, report: &StepReport, log_vars: &IndexMap<String, f64>) -> Result<()> {
        let mut record = Map::new();
        record.insert("loss".to_owned(), json!(report.loss()));
        let mut insert = |prefix: &str, suffix: &str, values: &IndexMap<String, f64>| {
            for (task, value) in values {
                record.insert(format!("{prefix}{task}{suffix}"), json!(value));
            }
        };
        insert("", "_loss", &report.losses);
        if report.weighted != report.losses || !log_vars.is_empty() {
            insert("", "_loss_weighted", &report.weighted);
        }
        insert("log_var_", "", log_vars);
        if let Some(input) = report.input {
            record.insert("input_height".to_owned(), json!(input.size.height));
            record.insert("input_width".to_owned(), json!(input.size.width));
            record.insert("num_encoded_tokens".to_owned(), json!(input.num_encoded_tokens));
        }
        for (set, SetReport { samples, losses }) in &report.sets {
            record.insert(format!("{set}/samples"), json!(samples));
            let losses = losses.iter();
            record.extend(losses.map(|(task, loss)| (format!("{set}/{task}_loss"), json!(loss))));
        }
        record.insert("lr".to_owned(), json!(report.lr));
        record.insert("weight_decay".to_owned(), json!(report.weight_decay));
        record.insert("grad_norm".to_owned(), json!(report.grad_norm));
        let seconds = report.seconds.max(f64::MIN_POSITIVE);
        record.insert("samples_per_second".to_owned(), json!(report.samples as f64 / seconds));
        record.insert("wait_share".to_owned(), json!(report.wait_seconds / seconds));
        if report.communication_seconds > 0.0 {
            let share = report.communication_seconds / seconds;
            record.insert("communication_share".to_owned(), json!(share));
        }
        self.record("train", (report.step, report.epoch), record)
    }

    /// Records losses and scores of a constant prediction, or of the finished model.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn measured(
        &mut self,
        kind: &str,
        place: (u64, u64),
        losses: &IndexMap<String, f64>,
        scores: &IndexMap<String, f64>,
    ) -> Result<()> {
        self.record(kind, place, measurements(losses, scores))
    }

    /// Records losses and scores on the evaluation samples after a step of an epoch, with the
    /// seconds of training until then, without those of evaluation.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn evaluated(
        &mut self,
        place: (u64, u64),
        training_seconds: f64,
        losses: &IndexMap<String, f64>,
        scores: &IndexMap<String, f64>,
    ) -> Result<()> {
        let mut record = measurements(losses, scores);
        record.insert("training_seconds".to_owned(), json!(training_seconds));
        self.record("eval", place, record)
    }

    /// Records a picture.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn picture(&mut self, tag: &str, step: u64, picture: &Picture) -> Result<()> {
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let (width, height) = (side(picture.width()), side(picture.height()));
        self.events.image(tag, step, picture.png()?, width, height)?;
        Ok(self.events.flush()?)
    }

    fn record(
        &mut self,
        kind: &str,
        (step, epoch): (u64, u64),
        values: Map<String, Value>,
    ) -> Result<()> {
        for (name, value) in &values {
            if let Some(value) = value.as_f64() {
                self.events.scalar(&format!("{kind}/{name}"), step, value)?;
            }
        }
        self.events.flush()?;
        let mut record = Map::new();
        record.insert("step".to_owned(), json!(step));
        record.insert("epoch".to_owned(), json!(epoch));
        record.insert("kind".to_owned(), json!(kind));
        record.extend(values);
        Ok(self.metrics.append(&Value::Object(record))?)
    }
}

/// The entries of losses and scores in a record.
fn measurements(
    losses: &IndexMap<String, f64>,
    scores: &IndexMap<String, f64>,
) -> Map<String, Value> {
    let mut record = Map::new();
    record.insert("loss".to_owned(), json!(losses.values().sum::<f64>()));
    record.extend(losses.iter().map(|(task, loss)| (format!("{task}_loss"), json!(loss))));
    record.extend(scores.iter().map(|(name, score)| (name.clone(), json!(score))));
    record
}
