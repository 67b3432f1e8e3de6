//! What an evaluation gives.

use indexmap::IndexMap;
use multimae_report::Table;
use serde::{Deserialize, Serialize};

use super::depth::{DepthResult, DepthRow};
use super::protocol::{Protocol, Scores};
use super::semseg::{SemsegResult, SemsegRow};

/// The scores of one protocol and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The protocol.
    pub protocol: Protocol,
    /// The protocol on this data with this model, in words.
    pub statement: IndexMap<String, String>,
    /// The scores.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The scores of one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Of depth.
    Depth(DepthResult),
    /// Of labels.
    Semseg(SemsegResult),
}

/// Columns of depth scores, in the order of `DepthScores::values`.
const DEPTH_COLUMNS: [&str; 8] =
    ["RMSE m", "abs rel", "sq rel", "RMSE log", "log10", "delta1 %", "delta2 %", "delta3 %"];
/// The columns that are shares.
const DEPTH_SHARES: std::ops::Range<usize> = 5..8;
/// Indices of the columns that the published code reports, and its name for the fourth.
const PUBLISHED: [usize; 7] = [0, 1, 2, 3, 5, 6, 7];
const PUBLISHED_LOG10: &str = "log10 (sic)";

impl Evaluation {
    /// The scores of the set.
    #[must_use]
    pub fn table(&self) -> Table {
        match (&self.outcome, &self.protocol.scores) {
            (Outcome::Depth(result), Scores::Depth(protocol)) => {
                depth_table(&result.rows, protocol.published_log10)
            }
            (Outcome::Depth(result), Scores::Semseg(_)) => depth_table(&result.rows, false),
            (Outcome::Semseg(result), _) => semseg_table(&result.rows),
        }
    }

    /// The scores of the classes, a table per label set; none for depth.
    #[must_use]
    pub fn class_tables(&self) -> Vec<(String, Table)> {
        match &self.outcome {
            Outcome::Depth(_) => Vec::new(),
            Outcome::Semseg(result) => {
                let table = |row: &SemsegRow| (row.label_set.name().to_owned(), class_table(row));
                result.rows.iter().map(table).collect()
            }
        }
    }

    /// The scores that stand for the protocol in comparisons: names with the numbers as shown.
    #[must_use]
    pub fn headline(&self) -> Vec<(String, String)> {
        match &self.outcome {
            Outcome::Depth(result) => result.rows.first().map_or_else(Vec::new, |row| {
                let cells = depth_cells(row);
                [1, 0, 5].map(|i| (DEPTH_COLUMNS[i].to_owned(), cells[i].clone())).to_vec()
            }),
            Outcome::Semseg(result) => result.rows.first().map_or_else(Vec::new, |row| {
                let set = row.label_set.name();
                vec![
                    (format!("mIoU % ({set})"), percent(row.miou)),
                    ("pixel acc %".to_owned(), percent(row.pixel_acc)),
                ]
            }),
        }
    }

    /// Statement and tables as Markdown. The classes' scores too if `classes`.
    #[must_use]
    pub fn markdown(&self, classes: bool) -> String {
        let width = self.statement.keys().map(String::len).max().unwrap_or(0);
        let lines = self.statement.iter().map(|(key, value)| format!("{key:<width$}  {value}\n"));
        let mut text =
            format!("```\n{}```\n\n{}", lines.collect::<String>(), self.table().markdown());
        for (title, table) in self.class_tables().iter().filter(|_| classes) {
            text.push_str(&format!("\n{title}\n\n{}", table.markdown()));
        }
        text
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

/// A share as the published code shows it: times 100 with two decimals.
#[must_use]
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use multimae::metrics::DepthScores;

    use super::super::protocol::Average;
    use super::super::region::Region;
    use super::*;

    fn depth(protocol: Protocol) -> Evaluation {
        let scores = DepthScores::from_values([0.5, 0.1, 0.2, 0.3, 0.04, 0.9, 0.95, 0.99]);
        let row =
            DepthRow { region: Region::FullFrame, average: Average::Pixels, pixels: 7, scores };
        let statement = [("protocol".to_owned(), protocol.name.clone())].into();
        let outcome = Outcome::Depth(DepthResult { rows: vec![row], images: Vec::new() });
        Evaluation { protocol, statement, outcome }
    }

    #[test]
    fn every_score_stands_under_its_own_name() {
        let text = depth(Protocol::nyuv2_depth()).markdown(true);
        let cells =
            |line: &str| line.split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let (header, row) = (cells(lines[0]), cells(lines[2]));
        let of = |name: &str| row[header.iter().position(|h| h == name).unwrap()].clone();
        assert_eq!([of("RMSE log"), of("log10"), of("delta1 %")], ["0.3000", "0.0400", "90.00"]);
        assert!(text.starts_with("```\nprotocol  nyuv2-depth\n```\n"), "{text}");
    }

    #[test]
    fn the_published_log10_is_the_rmse_of_natural_logarithms() {
        let text = depth(Protocol::reference_depth()).markdown(false);
        assert!(text.contains("log10 (sic)") && text.contains("0.3000"), "{text}");
        assert!(!text.contains("0.0400"), "{text}");
    }

    #[test]
    fn json_reads_back() {
        let evaluation = depth(Protocol::nyuv2_depth());
        let text = serde_json::to_string(&evaluation).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["depth"]["rows"][0]["scores"]["log10"], 0.04);
        assert_eq!(json["depth"]["rows"][0]["region"], "full_frame");
    }
}
