//! `multimae doctor`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use multimae_data::doctor::{
    self, DataSetReport, Finding, Folder, Kind, Options, Report, Severity, Values,
};

use crate::terminal;

/// Say what is wrong with a folder of data, with tar shards or with parquet tables.
///
/// Reads every file once: DIR/<modality>/<name>, or one level lower with train/, val/ and so on
/// between; the members of tar shards by their fields; the rows of tables by their columns. Reports unpaired and broken files, sizes, value ranges, label histograms, depth that
/// does not fit its unit, overlapping lists and duplicates. The exit code is 1 if the folder should
/// not be trained on as it is. A published data set that is not prepared yet is named, with the
/// command that prepares it.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Folder to examine; or shards or a table, as training takes them
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Kind of a folder, if its name does not tell: color, depth, labels, mask or other;
    /// or of files that share folders with others, as in 'rgb_*=color'
    #[arg(long = "kind", value_name = "FOLDER=KIND", value_parser = kind_of)]
    kinds: Vec<(String, Kind)>,
    /// Stored units of depth per metre, 1000 for millimetres
    #[arg(long, value_name = "NUMBER")]
    per_metre: Option<f64>,
    /// The greatest label
    #[arg(long, value_name = "NUMBER")]
    max_label: Option<i64>,
    /// Read the files of a folder as they are stored, whatever EXIF orientation they carry
    #[arg(long, value_name = "FOLDER")]
    ignore_orientation: Vec<String>,
    /// The label of pixels that do not count, -1 for none; without it, a negative label, or 255
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    ignore: Option<i64>,
    /// Fail on warnings, too
    #[arg(long)]
    strict: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Threads; all processors if 0
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn kind_of(text: &str) -> Result<(String, Kind), String> {
    let (folder, kind) = text.split_once('=').ok_or("expected FOLDER=KIND, as in raw=depth")?;
    Ok((folder.to_owned(), kind.parse()?))
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.per_metre.is_some_and(|unit| !unit.is_finite() || unit <= 0.0) {
            bail!("--per-metre must be a number above 0");
        }
        let options = Options {
            kinds: self.kinds.iter().cloned().collect(),
            per_metre: self.per_metre,
            max_label: self.max_label,
            ignore_orientation: self.ignore_orientation.iter().cloned().collect(),
            ignore: self.ignore,
            threads: self.threads,
        };
        let recognised = multimae_datasets::recognise(&self.dir);
        let bar = terminal::bar(0, "files");
        let examined = doctor::examine(&self.dir, &options, |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        let report = match (examined, recognised.first()) {
            (Ok(report), _) => report,
            (Err(_), Some(copy)) => bail!("{copy}"),
            (Err(error), None) => return Err(error.into()),
        };
        let text = if self.json {
            format!("{}\n", serde_json::to_string_pretty(&report)?)
        } else {
            report.parts.iter().map(part).collect()
        };
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            // A closed pipe, as with `head`, is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
        for copy in &recognised {
            terminal::line(&format!("note: {copy}"));
        }
        self.verdict(&report)
    }

    fn verdict(&self, report: &Report) -> anyhow::Result<()> {
        let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
        let counts = format!("{errors} errors, {warnings} warnings");
        if report.is_bad() || self.strict && warnings > 0 {
            bail!("{} should not be trained on as it is: {counts}", self.dir.display());
        }
        let verdict = if warnings > 0 { "can be used" } else { "is in order" };
        terminal::line(&format!("{} {verdict}: {counts}", self.dir.display()));
        Ok(())
    }
}

fn part(part: &DataSetReport) -> String {
    let mut text = String::new();
    if !part.name.is_empty() {
        let _ = writeln!(text, "{}/", part.name);
    }
    let lists: Vec<String> =
        part.lists.iter().map(|(name, samples)| format!("{name} {samples}")).collect();
    let lists = if lists.is_empty() { "none".to_owned() } else { lists.join(", ") };
    let _ = writeln!(text, "{}", part.layout);
    let _ = writeln!(text, "{} samples; lists: {lists}\n", part.samples);
    text.push_str(&folders(&part.folders));
    part.folders.iter().for_each(|folder| text.push_str(&histogram(folder)));
    if !part.findings.is_empty() {
        text.push('\n');
    }
    part.findings.iter().for_each(|found| text.push_str(&finding(found)));
    text.push('\n');
    text
}

fn folders(folders: &[Folder]) -> String {
    let mut rows = vec![
        ["folder", "kind", "files", "height x width", "stored as", "values"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(folders.iter().map(|folder| {
        vec![
            folder.name.clone(),
            folder.kind.word().to_owned(),
            folder.files.to_string(),
            most_usual(&folder.sizes),
            most_usual(&folder.stored),
            values(&folder.values),
        ]
    }));
    table(&rows)
}

/// The most frequent one, and how many others there are.
fn most_usual(counts: &std::collections::BTreeMap<String, usize>) -> String {
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(name, _)| name.as_str());
    match (most, counts.len().saturating_sub(1)) {
        (None, _) => "-".to_owned(),
        (Some(name), 0) => name.to_owned(),
        (Some(name), others) => format!("{name}, {others} others"),
    }
}

fn values(values: &Values) -> String {
    let three = |values: &[f64; 3]| values.map(|value| format!("{value:.3}")).join(" ");
    match values {
        Values::Color { mean, std } => format!("mean {}, deviation {}", three(mean), three(std)),
        Values::Depth { per_metre, min, median, max, holes } => format!(
            "{min:.2} to {max:.2} m, median {median:.2} m at {per_metre} per metre; {:.1} % invalid",
            100.0 * holes
        ),
        Values::Labels(shares) => match (shares.first(), shares.last()) {
            (Some(first), Some(last)) => format!("{} to {}", first.label, last.label),
            _ => "-".to_owned(),
        },
        Values::Mask { valid } => format!("{:.1} % valid", 100.0 * valid),
        Values::Other { min, max } => format!("{min} to {max}"),
    }
}

fn histogram(folder: &Folder) -> String {
    let Values::Labels(shares) = &folder.values else { return String::new() };
    let mut rows = vec![["label", "pixels", "files", ""].map(str::to_owned).to_vec()];
    rows.extend(shares.iter().map(|share| {
        vec![
            format!("{:>5}", share.label),
            format!("{:>7.3} %", 100.0 * share.pixels),
            format!("{:>5}", share.files),
            share.name.clone().unwrap_or_default(),
        ]
    }));
    format!("\n{}\n{}", folder.name, table(&rows))
}

/// Rows with their columns aligned.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<String>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn finding(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let place = if finding.place.is_empty() { "" } else { &format!("{}: ", finding.place) };
    let count = if finding.examples.is_empty() { "" } else { &format!("{} ", finding.count) };
    let mut text = format!("{severity:<7}  {place}{count}{} [{}]\n", finding.message, finding.code);
    for example in &finding.examples {
        let _ = writeln!(text, "           {example}");
    }
    let rest = finding.count.saturating_sub(finding.examples.len());
    if rest > 0 && !finding.examples.is_empty() {
        let _ = writeln!(text, "           ... and {rest} more");
    }
    text
}
