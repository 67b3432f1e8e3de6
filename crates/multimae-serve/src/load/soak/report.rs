//! The results of a soak.

use indexmap::IndexMap;
use multimae_report::Table;
use multimae_report::chart::{LineChart, Series, Svg};
use serde::Serialize;

use crate::load::figures::{Quantiles, median};

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The right answer: that of the idle server, or the right error.
    Right,
    /// Refused with 429 and the time to try again.
    Refused,
    /// Accepted, and not done within the deadline (504).
    Late,
    /// Another answer.
    Wrong,
    /// No answer.
    Lost,
}

/// The requests of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests that were sent.
    pub sent: usize,
    /// With the right answer: that of the idle server, or the right error.
    pub right: usize,
    /// Refused with 429 and the time to try again.
    pub refused: usize,
    /// Not done within the deadline.
    pub late: usize,
    /// With another answer.
    pub wrong: usize,
    /// Without an answer.
    pub lost: usize,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Right => self.right += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Late => self.late += 1,
            Outcome::Wrong => self.wrong += 1,
            Outcome::Lost => self.lost += 1,
        }
    }
}

/// The state of the server at a time.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Since the begin of the soak.
    pub seconds: f64,
    /// Resident memory in megabytes (10^6 bytes), where the server says so.
    pub resident_mb: Option<f64>,
    /// Requests that wait.
    pub waiting: Option<f64>,
    /// Predictions since the sample before.
    pub answers: usize,
    /// Of these.
    pub latency: Quantiles,
}

/// The results of a soak.
#[derive(Debug, Clone, Serialize)]
pub struct SoakReport {
    /// The requests by kind.
    pub tallies: IndexMap<String, Tally>,
    /// The server over time.
    pub samples: Vec<Sample>,
    /// Wrong and lost answers, the first of them.
    pub remarks: Vec<String>,
    /// The begin of the load, in seconds.
    pub load_from: f64,
    /// The end of the load, in seconds.
    pub load_until: f64,
}

/// Resident memory before, during and after the load, in megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// The median before.
    pub before: f64,
    /// The most.
    pub most: f64,
    /// The last sample.
    pub after: f64,
}

impl SoakReport {
    /// Returns resident memory before, during and after the load, where the server says so.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let all =
            || self.samples.iter().filter_map(|sample| Some((sample.seconds, sample.resident_mb?)));
        let before = all().filter(|(seconds, _)| *seconds < self.load_from);
        Some(Memory {
            before: Some(median(before.map(|(_, mb)| mb))).filter(|mb| mb.is_finite())?,
            most: all().map(|(_, mb)| mb).reduce(f64::max)?,
            after: all().next_back()?.1,
        })
    }

    /// Returns the sum over all kinds.
    #[must_use]
    pub fn total(&self) -> Tally {
        let add = |sum: Tally, one: &Tally| Tally {
            sent: sum.sent + one.sent,
            right: sum.right + one.right,
            refused: sum.refused + one.refused,
            late: sum.late + one.late,
            wrong: sum.wrong + one.wrong,
            lost: sum.lost + one.lost,
        };
        self.tallies.values().fold(Tally::default(), add)
    }

    /// The figures to read.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new(["request", "sent", "right", "429", "late", "wrong", "lost"]);
        let row = |name: &str, tally: &Tally| {
            let Tally { sent, right, refused, late, wrong, lost } = *tally;
            let numbers = [sent, right, refused, late, wrong, lost].map(|n| n.to_string());
            [vec![name.to_owned()], numbers.to_vec()].concat()
        };
        for (name, tally) in &self.tallies {
            table.row(row(name, tally));
        }
        table.row(row("all", &self.total()));
        let mut text = format!("{}\n", table.markdown());
        if let Some(Memory { before, most, after }) = self.memory() {
            text.push_str(&format!(
                "resident memory: {before:.0} MB before, {most:.0} MB at most, {after:.0} MB after \
                 ({:.2} times)\n",
                after / before
            ));
        }
        for remark in &self.remarks {
            text.push_str(&format!("{remark}\n"));
        }
        text
    }

    /// Returns a page with the charts.
    #[must_use]
    pub fn page(&self) -> String {
        let [memory, latency] = self.charts();
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Soak</title>\
             <style>body{{margin:0;background:#fff}}</style>{memory}{latency}</html>"
        )
    }

    /// Draws memory and latency over minutes.
    #[must_use]
    pub fn charts(&self) -> [Svg; 2] {
        let minutes = |sample: &Sample| sample.seconds / 60.0;
        let mut memory = LineChart::new("Resident memory of the server", "minutes", "MB");
        memory.from_zero = true;
        let points = self.samples.iter();
        let points = points.filter_map(|sample| Some((minutes(sample), sample.resident_mb?)));
        memory.push(Series::new("resident memory", points.collect()));
        if let Some(Memory { before, .. }) = self.memory() {
            memory.reference("idle", before).reference("1.3 times idle", 1.3 * before);
        }
        let mut latency = LineChart::new("Latency of predictions", "minutes", "ms");
        let quantile = |name: &str, of: fn(&Quantiles) -> f64| {
            let answered = self.samples.iter().filter(|sample| sample.answers > 0);
            let points = answered.map(|sample| (minutes(sample), of(&sample.latency)));
            Series::new(name, points.collect())
        };
        latency.log_y = true;
        latency.push(quantile("p50", |latency| latency.p50));
        latency.push(quantile("p99", |latency| latency.p99));
        [memory.svg(), latency.svg()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(resident: [f64; 4]) -> SoakReport {
        let samples = resident.iter().enumerate().map(|(second, mb)| Sample {
            seconds: second as f64,
            resident_mb: Some(*mb),
            waiting: None,
            answers: 1,
            latency: Quantiles { p50: 1.0, p90: 2.0, p99: 3.0, max: 3.0 },
        });
        let mut tally = Tally::default();
        let all = [Outcome::Right, Outcome::Refused, Outcome::Late, Outcome::Wrong, Outcome::Lost];
        all.into_iter().for_each(|outcome| tally.add(outcome));
        SoakReport {
            tallies: IndexMap::from([("one".to_owned(), tally), ("two".to_owned(), tally)]),
            samples: samples.collect(),
            remarks: vec!["one: no connection".to_owned()],
            load_from: 1.5,
            load_until: 2.5,
        }
    }

    #[test]
    fn every_request_is_in_the_table() {
        let report = report([10.0, 12.0, 50.0, 13.0]);
        let Tally { sent, right, refused, late, wrong, lost } = report.total();
        assert_eq!([sent, right, refused, late, wrong, lost], [10, 2, 2, 2, 2, 2]);
        let text = report.text();
        for words in
            ["| two ", "| all ", "12 MB before, 50 MB at most, 13 MB after", "no connection"]
        {
            assert!(text.contains(words), "{text}");
        }
        let [memory, latency] = report.charts();
        assert!(memory.as_str().contains("1.3 times idle") && latency.as_str().contains("p99"));
    }
}
