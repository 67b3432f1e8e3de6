//! Label scores as an outcome: tables, pictures, and the protocol in words.

use indexmap::IndexMap;
use multimae_report::Table;
use serde_json::{Value, json};

use super::label_names::LabelNames;
use super::pictures::{class_bars, label_grid};
use super::scorer::{SemsegFrame, SemsegProtocol, SemsegRow, SemsegScorer};
use crate::pictures::{PictureRow, Worst, percent};
use crate::task::{FrameFacts, NamedPicture, Outcome, ScoreRules, ScoredFrame, Scorer};
use crate::{Error, FrameSums, Result, Task};

impl ScoreRules for SemsegProtocol {
    fn kind(&self) -> &'static str {
        super::KIND.name
    }

    fn key(&self) -> &'static str {
        "semseg"
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn scorer(&self, task: &dyn Task, worst: usize) -> Result<Box<dyn Scorer>> {
        let names = LabelNames::of(task);
        let scorer = SemsegScorer::new(self, &names)?;
        Ok(Box::new(Scoring { names, scorer, worst: Worst::new(worst) }))
    }
}

/// Label scores by a protocol, with the worst frames.
struct Scoring {
    names: LabelNames,
    scorer: SemsegScorer,
    worst: Worst<PictureRow<i64>>,
}

impl Scorer for Scoring {
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()> {
        let (target, prediction) = frame.labels()?;
        let scored = SemsegFrame { id: frame.id, size: frame.size, prediction, target };
        let Some(scores) = self.scorer.add(&scored)? else { return Ok(()) };
        let scorer = &self.scorer;
        self.worst.offer(1.0 - scores.miou, || {
            let (target, prediction) = scorer.drawn(target, prediction);
            Ok(PictureRow {
                title: format!("{} mIoU {} %", frame.id, percent(scores.miou)),
                input: (frame.input)(),
                size: frame.size,
                target,
                prediction,
            })
        })
    }

    fn frame_sums(&self) -> Option<FrameSums> {
        Some(FrameSums::Labels(self.scorer.frame_sums()))
    }

    fn outcome(&self) -> Result<Outcome> {
        let result = self.scorer.result()?;
        let first = result.rows.first().ok_or_else(|| {
            Error::Evaluation("a protocol of labels scores at least one label set".to_owned())
        })?;
        let scores: IndexMap<String, f64> = [
            ("miou".to_owned(), first.miou),
            ("mean_acc".to_owned(), first.mean_acc),
            ("pixel_acc".to_owned(), first.pixel_acc),
        ]
        .into();
        let table_of = |row: &SemsegRow| (row.label_set.name().to_owned(), class_table(row));
        Ok(Outcome {
            joint: first.miou,
            scores,
            classes: first.classes.iter().map(|class| (class.name.clone(), class.iou)).collect(),
            headline: vec![
                (format!("mIoU % ({})", first.label_set.name()), percent(first.miou)),
                ("pixel acc %".to_owned(), percent(first.pixel_acc)),
            ],
            table: semseg_table(&result.rows),
            class_tables: result.rows.iter().map(table_of).collect(),
            details: json!(result),
        })
    }

    fn statement(&self, _facts: FrameFacts<'_>) -> Result<Vec<(String, String)>> {
        let mut lines =
            vec![("valid pixels".to_owned(), "those whose label is not void".to_owned())];
        let sets = self.scorer.label_sets();
        lines.extend(sets.map(|set| (set.name().to_owned(), set.statement(&self.names))));
        lines.push((
            "scores".to_owned(),
            "from the confusion matrix of the whole set; IoU = I / (P + L - I); classes that \
             neither predictions nor labels have do not count"
                .to_owned(),
        ));
        Ok(lines)
    }

    fn pictures(&self, name: &str) -> Result<Vec<NamedPicture>> {
        let mut pictures = Vec::new();
        for row in &self.scorer.result()?.rows {
            let bars = class_bars(row, &row.label_set.palette(&self.names));
            let set = row.label_set.name().to_lowercase().replace(' ', "-");
            let caption = "Classes that neither predictions nor labels have are left out.";
            pictures.push((format!("{name}-iou-{set}"), caption.to_owned(), bars));
        }
        let frames = self.worst.worst_first();
        if let Some(palette) = self.scorer.palette().filter(|_| !frames.is_empty()) {
            let caption = "The frames with the least mIoU.".to_owned();
            pictures.push((format!("{name}-worst"), caption, label_grid(&frames, &palette)?));
        }
        Ok(pictures)
    }
}

fn semseg_table(rows: &[SemsegRow]) -> Table {
    let mut table = Table::new(["classes", "mIoU %", "pixel acc %", "mean acc %", "that occur"]);
    for row in rows {
        let occurring = row.classes.iter().filter(|class| class.iou.is_some()).count();
        table.row([
            row.label_set.name().to_owned(),
            percent(row.miou),
            percent(row.pixel_acc),
            percent(row.mean_acc),
            format!("{occurring} of {}", row.classes.len()),
        ]);
    }
    table
}

fn class_table(row: &SemsegRow) -> Table {
    let mut table = Table::new(["class", "IoU %", "acc %", "pixels %"]);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    for class in &row.classes {
        table.row([
            class.name.clone(),
            number(class.iou),
            number(class.accuracy),
            percent(class.share),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClassInfo, kinds::labels::Labels};

    #[test]
    fn the_statement_names_the_label_sets() {
        let classes = (0..40).map(|i| ClassInfo { name: i.to_string(), color: [i; 3] }).collect();
        let task = Labels { classes, ignore: 255, offset: -1, values: Vec::new() };
        let protocol = crate::Protocol::named("nyuv2-semseg").unwrap().remove(0);
        let scorer = protocol.rules.scorer(&task, 0).unwrap();
        let sizes = [(240, 320)].into();
        let lines = scorer.statement(FrameFacts { sizes: &sizes, mask: false }).unwrap();
        let lines: IndexMap<String, String> = lines.into_iter().collect();
        assert!(lines["NYUv2-13"].contains("mapped from 40 to 13"));
        assert!(lines["NYUv2-40"].contains("255 are void"));
    }
}
