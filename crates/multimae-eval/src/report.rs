//! An evaluation on paper: a page, pictures, numbers.

use std::path::{Path, PathBuf};

use fs_err as fs;
use multimae_io::atomic::write_atomically;
use multimae_report::Report;
use serde::Serialize;

use super::agreement::ModelAgreement;
use super::missing::{SubsetScores, subsets_table};
use super::results::Evaluation;
use super::run::Evaluated;
use crate::{Error, Result};

/// All numbers of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScoreFile {
    /// By protocol.
    pub evaluations: Vec<Evaluation>,
    /// With every subset of the inputs, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<SubsetScores>,
    /// With another model, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<ModelAgreement>,
}

impl ScoreFile {
    /// Writes the numbers as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Evaluation(format!("{}: {error}", path.display())))?;
        Ok(write_atomically(path, format!("{text}\n").as_bytes())?)
    }
}

/// Writes `report.html`, `scores.json`, `scores.md` and the pictures into a folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write_report(
    dir: &Path,
    evaluated: &[Evaluated],
    subsets: &[SubsetScores],
    agreement: Option<&ModelAgreement>,
) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let evaluations: Vec<Evaluation> = evaluated.iter().map(|e| e.evaluation.clone()).collect();
    let scores =
        ScoreFile { evaluations, subsets: subsets.to_vec(), agreement: agreement.cloned() };
    scores.write(&dir.join("scores.json"))?;
    write_atomically(&dir.join("scores.md"), markdown(&scores, true).as_bytes())?;
    let mut report = Report::new("Evaluation");
    for evaluated in evaluated {
        add(&mut report, evaluated)?;
        for (name, _, picture) in &evaluated.pictures {
            picture.write_png(&dir.join(format!("{name}.png")))?;
        }
    }
    if !subsets.is_empty() {
        let table = subsets_table(subsets);
        report.section("Missing modalities");
        report.paragraph("The first row of each protocol's table with every subset of the inputs.");
        report.table(table.headers(), table.rows());
    }
    if let Some(table) = agreement.map(ModelAgreement::table) {
        report.section("Agreement");
        report.table(table.headers(), table.rows());
    }
    let path = dir.join("report.html");
    report.write(&path)?;
    Ok(path)
}

/// The files that [`write_report`] writes whatever the protocols.
#[must_use]
pub fn report_files(dir: &Path) -> [PathBuf; 3] {
    ["report.html", "scores.json", "scores.md"].map(|name| dir.join(name))
}

/// All of it as Markdown; the classes' scores too if `classes`.
#[must_use]
pub fn markdown(scores: &ScoreFile, classes: bool) -> String {
    let mut parts: Vec<String> = scores.evaluations.iter().map(|e| e.markdown(classes)).collect();
    if !scores.subsets.is_empty() {
        let table = subsets_table(&scores.subsets).markdown();
        parts.push(format!("missing modalities, first row of each protocol's table\n\n{table}"));
    }
    parts.extend(scores.agreement.as_ref().map(|agreement| agreement.table().markdown()));
    parts.join("\n")
}

fn add(report: &mut Report, evaluated: &Evaluated) -> Result<()> {
    let evaluation = &evaluated.evaluation;
    report.section(evaluation.protocol.name.clone());
    let table = evaluation.table();
    report.table(table.headers(), table.rows());
    let statement: Vec<(&String, &String)> = evaluation.statement.iter().collect();
    report.definitions(&statement);
    for (name, caption, picture) in &evaluated.pictures {
        let caption = if caption.is_empty() { name } else { caption };
        report.picture(picture, caption)?;
    }
    for (title, table) in evaluation.class_tables() {
        report.paragraph(title);
        report.table(table.headers(), table.rows());
    }
    Ok(())
}
