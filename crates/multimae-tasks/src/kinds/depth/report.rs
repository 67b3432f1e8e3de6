//! Depth scores as an outcome: tables, pictures, and the protocol in words.

use indexmap::IndexMap;
use multimae::metrics::DepthScores;
use multimae::modality::Size;
use multimae_report::Table;
use serde_json::{Value, json};

use super::pictures::depth_grid;
use super::region::Region;
use super::scorer::{Average, Caps, DepthFrame, DepthProtocol, DepthRow, DepthScorer};
use crate::medians::{ImageMedians, far_apart};
use crate::pictures::{PictureRow, Worst, percent};
use crate::task::{FrameFacts, NamedPicture, Outcome, ScoreRules, ScoredFrame, Scorer};
use crate::{Error, FrameSums, Result, Task};

/// Columns of depth scores, in the order of `DepthScores::values`.
const DEPTH_COLUMNS: [&str; 8] =
    ["RMSE m", "abs rel", "sq rel", "RMSE log", "log10", "delta1 %", "delta2 %", "delta3 %"];
/// The columns that are shares.
const DEPTH_SHARES: std::ops::Range<usize> = 5..8;
/// Indices of the columns that the published code reports, and its name for the fourth.
const PUBLISHED: [usize; 7] = [0, 1, 2, 3, 5, 6, 7];
const PUBLISHED_LOG10: &str = "log10 (sic)";

impl ScoreRules for DepthProtocol {
    fn kind(&self) -> &'static str {
        super::KIND.name
    }

    fn fields(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn scorer(&self, _task: &dyn Task, worst: usize) -> Result<Box<dyn Scorer>> {
        Ok(Box::new(Scoring {
            protocol: self.clone(),
            scorer: DepthScorer::new(self),
            medians: Medians::default(),
            worst: Worst::new(worst),
        }))
    }
}

/// The medians of predicted and annotated depth at the annotated pixels, whatever the bounds of
/// the protocol.
#[derive(Default)]
struct Medians {
    prediction: ImageMedians,
    target: ImageMedians,
}

impl Medians {
    fn add(&mut self, frame: &DepthFrame<'_>) {
        let known = |pixel: usize| {
            let target = frame.target[pixel];
            let marked = frame.valid.is_none_or(|valid| valid.get(pixel) == Some(&true));
            target > 0.0 && target.is_finite() && marked
        };
        let pixels = frame.prediction.len().min(frame.target.len());
        self.prediction.add((0..pixels).filter(|&i| known(i)).map(|i| frame.prediction[i]));
        self.target.add((0..pixels).filter(|&i| known(i)).map(|i| frame.target[i]));
    }

    /// Both, if both are known.
    fn both(&self) -> Option<(f64, f64)> {
        Some((self.prediction.median()?, self.target.median()?))
    }

    fn lines(&self, line: &mut impl FnMut(&str, String)) {
        let Some((prediction, target)) = self.both() else { return };
        line("medians", format!("prediction {prediction:.2} m, ground truth {target:.2} m"));
        if let Some(warning) = self.warning() {
            line("warning", warning);
        }
    }

    fn warning(&self) -> Option<String> {
        let (prediction, target) = self.both()?;
        let ratio = far_apart(prediction, target)?;
        Some(format!(
            "the medians of prediction ({prediction:.2} m) and ground truth ({target:.2} m) differ by \
             a factor of {ratio:.1}: the unit of the files is likely another"
        ))
    }
}

/// Depth scores by a protocol, with the worst frames.
struct Scoring {
    protocol: DepthProtocol,
    scorer: DepthScorer,
    medians: Medians,
    worst: Worst<PictureRow<f32>>,
}

impl Scorer for Scoring {
    fn add(&mut self, frame: &ScoredFrame<'_>) -> Result<()> {
        let (stored, prediction) = frame.values()?;
        // Zero marks a depth that is not known.
        let target: Vec<f32> =
            stored.iter().map(|&metres| if metres == 0.0 { f32::NAN } else { metres }).collect();
        let (size, valid) = (frame.size, frame.valid);
        let scored = DepthFrame { id: frame.id, size, prediction, target: &target, valid };
        let scores = self.scorer.add(&scored)?;
        self.medians.add(&scored);
        let Some(scores) = scores else { return Ok(()) };
        self.worst.offer(scores.rel, || {
            let counted = scored.counted(&self.protocol);
            let known = |(&t, c): (&f32, bool)| if c { t } else { f32::NAN };
            Ok(PictureRow {
                title: format!("{} abs rel {:.3}", frame.id, scores.rel),
                input: (frame.input)(),
                size,
                target: target.iter().zip(counted).map(known).collect(),
                prediction: prediction.to_vec(),
            })
        })
    }

    fn frame_sums(&self) -> Option<FrameSums> {
        self.scorer.frame_sums().map(FrameSums::Depth)
    }

    fn outcome(&self) -> Result<Outcome> {
        let result = self.scorer.result().map_err(|error| match self.medians.warning() {
            Some(warning) => Error::Evaluation(format!("{error}; {warning}")),
            None => error,
        })?;
        let first = result.rows.first().ok_or_else(|| {
            Error::Evaluation("a protocol of depth scores at least one region".to_owned())
        })?;
        let cells = depth_cells(first);
        let named =
            DepthScores::NAMES.iter().map(|name| (*name).to_owned()).zip(first.scores.values());
        Ok(Outcome {
            joint: first.scores.delta_1,
            scores: named.collect::<IndexMap<_, _>>(),
            classes: Vec::new(),
            headline: [1, 0, 5].map(|i| (DEPTH_COLUMNS[i].to_owned(), cells[i].clone())).to_vec(),
            table: depth_table(&result.rows, self.protocol.published_log10),
            class_tables: Vec::new(),
            details: json!(result),
        })
    }

    fn statement(&self, facts: FrameFacts<'_>) -> Result<Vec<(String, String)>> {
        let mut lines = Vec::new();
        let mut line = |key: &str, value: String| lines.push((key.to_owned(), value));
        depth_lines(&self.protocol, facts, &mut line)?;
        self.medians.lines(&mut line);
        Ok(lines)
    }

    fn pictures(&self, name: &str) -> Result<Vec<NamedPicture>> {
        let frames = self.worst.worst_first();
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let caption = "The frames with the largest abs rel.".to_owned();
        Ok(vec![(format!("{name}-worst"), caption, depth_grid(&frames)?)])
    }
}

fn depth_table(rows: &[DepthRow], published: bool) -> Table {
    let columns: Vec<usize> = if published { PUBLISHED.to_vec() } else { (0..8).collect() };
    let header = |&i: &usize| match (published, i) {
        (true, 3) => PUBLISHED_LOG10,
        _ => DEPTH_COLUMNS[i],
    };
    let headers = ["region", "mean over"].into_iter().chain(columns.iter().map(header));
    let mut table = Table::new(headers);
    for row in rows {
        let cells = depth_cells(row);
        let scores = columns.iter().map(|&i| cells[i].clone());
        let first = [row.region.name().to_owned(), row.average.name()];
        table.row(first.into_iter().chain(scores));
    }
    table
}

fn depth_cells(row: &DepthRow) -> Vec<String> {
    let cell = |(index, value): (usize, f64)| {
        if DEPTH_SHARES.contains(&index) { percent(value) } else { format!("{value:.4}") }
    };
    row.scores.values().into_iter().enumerate().map(cell).collect()
}

fn depth_lines(
    protocol: &DepthProtocol,
    facts: FrameFacts<'_>,
    line: &mut impl FnMut(&str, String),
) -> Result<()> {
    let mask = if facts.mask { "mask_valid is 255, and " } else { "" };
    line("valid pixels", format!("{mask}{}", caps(protocol.caps)));
    for region in &protocol.regions {
        line(region.name(), region_statement(*region, facts)?);
    }
    for average in &protocol.averages {
        let statement = match average {
            Average::Pixels => "all valid pixels of the set together".to_owned(),
            Average::Images => "mean of the images' scores, all images alike".to_owned(),
            Average::Batches(size) => format!(
                "mean of the scores of batches of {size} images in order, all batches alike; \
                 depends on the batch size"
            ),
        };
        line(&format!("mean over {}", average.name()), statement);
    }
    let log10 = if protocol.published_log10 {
        "log10 (sic) is what the published code calls so: the root mean squared difference of \
         natural logarithms"
    } else {
        "RMSE log of natural logarithms; log10 the mean of |log10 p - log10 t|"
    };
    line("scores", format!("lengths in metres; {log10}; deltaN: max(p/t, t/p) < 1.25^N"));
    Ok(())
}

fn caps(caps: Option<Caps>) -> String {
    match caps {
        None => "a depth is stored; no bounds but those of the model's own predictions".to_owned(),
        Some(Caps { min, max: None }) => {
            format!("depth above {min} m; predictions raised to at least that")
        }
        Some(Caps { min, max: Some(max) }) => {
            format!("{min} m < depth < {max} m; predictions clamped to these bounds")
        }
    }
}

fn region_statement(region: Region, facts: FrameFacts<'_>) -> Result<String> {
    let first = facts.sizes.first().map(|&(height, width)| Size::new(height, width));
    Ok(match (region, first) {
        (Region::FullFrame, _) => {
            "all of what is scored, also a white border of the images".to_owned()
        }
        (Region::EigenCrop, Some(size)) if facts.sizes.len() == 1 => {
            let (rows, columns) = region.of(size)?;
            format!(
                "rows {rows:?}, columns {columns:?} of {}x{} (45..471, 41..601 of 480x640), from 0, \
                 end excluded",
                size.height, size.width
            )
        }
        (Region::EigenCrop, _) => {
            "rows 45..471, columns 41..601 of 480x640, from 0, end excluded; scaled with the frame"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use multimae::metrics::DepthScores;

    use super::*;

    fn table(published: bool) -> String {
        let scores = DepthScores::from_values([0.5, 0.1, 0.2, 0.3, 0.04, 0.9, 0.95, 0.99]);
        let row =
            DepthRow { region: Region::FullFrame, average: Average::Pixels, pixels: 7, scores };
        depth_table(&[row], published).markdown()
    }

    #[test]
    fn every_score_stands_under_its_own_name() {
        let text = table(false);
        let cells =
            |line: &str| line.split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let (header, row) = (cells(lines[0]), cells(lines[2]));
        let of = |name: &str| row[header.iter().position(|h| h == name).unwrap()].clone();
        assert_eq!([of("RMSE log"), of("log10"), of("delta1 %")], ["0.3000", "0.0400", "90.00"]);
    }

    #[test]
    fn the_published_log10_is_the_rmse_of_natural_logarithms() {
        let text = table(true);
        assert!(text.contains("log10 (sic)") && text.contains("0.3000"), "{text}");
        assert!(!text.contains("0.0400"), "{text}");
    }

    #[test]
    fn the_statement_names_bounds_and_regions() {
        let sizes = [(240, 320)].into();
        let facts = FrameFacts { sizes: &sizes, mask: true };
        let lines = |name: &str| -> IndexMap<String, String> {
            let protocol = crate::Protocol::named(name).unwrap().remove(0);
            let scale = crate::kinds::depth::DepthScale::Linear { mean: 0.0, std: 1.0 };
            let task = crate::kinds::depth::Depth { scale, min: 0.001, max: 10.0 };
            let scorer = protocol.rules.scorer(&task, 0).unwrap();
            scorer.statement(facts).unwrap().into_iter().collect()
        };
        let nyuv2 = lines("nyuv2-depth");
        assert!(nyuv2["Eigen crop"].contains("rows 22..235, columns 20..300 of 240x320"));
        assert!(nyuv2["valid pixels"].contains("mask_valid is 255, and 0.001 m < depth < 10 m"));
        assert!(lines("reference-depth")["scores"].contains("sic"));
    }
}
