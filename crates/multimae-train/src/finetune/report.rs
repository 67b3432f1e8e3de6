//! `report.html` of a fine-tuning run.

use indexmap::IndexMap;
use multimae::peft::PeftModel;
use multimae::prompts::PoolUsage;
use multimae::tuning::{ParameterKind, TrainedParameters};
use multimae_report::chart::{LineChart, Series, Svg};
use multimae_report::html::{Level, Report};
use multimae_report::metrics_log;
use multimae_report::picture::{Bar, bars};

use super::FinetuneSetup;
use super::evaluation::Evaluated;
use crate::Result;
use crate::observer::Baseline;
use crate::optim::ParameterGroups;
use crate::report_parts::{
    Record, last, loss_chart, number, pictures, progress, rejected, series, training_charts, value,
};
use crate::run::{RunFolder, State};
use multimae_config::Recipe as _;
use multimae_infer::saved_model::LoadReport;

/// The parts of a report.
pub(super) struct Parts<'a> {
    pub(super) setup: &'a FinetuneSetup,
    pub(super) state: &'a State<PeftModel>,
    pub(super) groups: &'a ParameterGroups,
    pub(super) loaded: Option<&'a LoadReport>,
    pub(super) baseline: Option<&'a Baseline>,
    /// The finished model by the set it was measured on, with the scores of the constant prediction
    /// there.
    pub(super) finished: &'a [(String, Evaluated, IndexMap<String, f64>)],
}

/// Bars of the use of a pool: their colour, and their width in pixels.
const BAR: [u8; 3] = [70, 120, 180];
const BARS_WIDTH: usize = 480;

/// Writes the report of a run as it stands.
///
/// # Errors
/// If the records cannot be read or the report cannot be written.
pub(super) fn write_report(folder: &RunFolder, parts: &Parts<'_>) -> Result<()> {
    let records = metrics_log::read(&folder.metrics())?;
    let mut report = Report::new("Fine-tuning");
    summary(&mut report, parts);
    scores(&mut report, parts, &records);
    pictures(&mut report, folder, "Predictions")?;
    curves(&mut report, parts, &records);
    classes(&mut report, parts);
    pools(&mut report, parts)?;
    groups(&mut report, parts.groups);
    trained(&mut report, parts);
    report.section("Recipe");
    report.code(&parts.setup.recipe.to_yaml());
    Ok(report.write(&folder.report())?)
}

fn summary(report: &mut Report, parts: &Parts<'_>) {
    let (setup, position) = (parts.setup, &parts.state.position);
    let encoder = &setup.card.model.encoder;
    let parameters = multimae::state::trained_values(&parts.state.learner.model);
    let heads: Vec<String> = setup
        .card
        .model
        .heads
        .iter()
        .map(|head| {
            let config = serde_json::to_value(&head.head).unwrap_or_default();
            let kind = config.get("kind").and_then(|kind| kind.as_str()).unwrap_or("?").to_owned();
            format!("{} ({kind})", head.name)
        })
        .collect();
    let size = setup.recipe.arch.input_size;
    let mut entries = vec![
        ("Inputs", setup.recipe.tasks.in_domains.0.join(", ")),
        ("Tasks and heads", heads.join(", ")),
        (
            "Encoder",
            format!("{} wide, {} blocks, {} heads", encoder.width, encoder.depth, encoder.heads),
        ),
        ("Trained parameters", format!("{:.2} million", parameters as f64 / 1e6)),
        ("Images", format!("{} x {} (height x width)", size.height, size.width)),
    ];
    entries.extend(progress(position, setup.recipe.optim.epochs));
    entries.push(("Training samples", setup.training.len().to_string()));
    entries.push(match parts.loaded {
        Some(loaded) => ("Begun with", loaded.lines().join("; ")),
        None => match &setup.recipe.weights.finetune {
            Some(path) => ("Begun with", path.clone()),
            None => ("Begun with", "random values".to_owned()),
        },
    });
    report.definitions(&entries);
    for notice in &setup.notices {
        report.notice(Level::Info, notice);
    }
    rejected(report, position);
}

fn scores(report: &mut Report, parts: &Parts<'_>, records: &[Record]) {
    report.section("Scores");
    report.paragraph(
        "Over all pixels of a set together, at the frames' own size, as `multimae evaluate` scores \
         the model without a named protocol. Depth is in metres, predictions are clamped to the \
         valid range. `score`, which chooses the best model, is the mean over the tasks of delta 1 \
         (depth), mean IoU (labels), the share of normals within 11.25 degrees, top-1 (classes) or \
         1 / (1 + mean error) (other values).",
    );
    for (on, model, constant) in parts.finished {
        report.paragraph(&format!("The finished model, read back from its file, on {on}:"));
        let rows: Vec<Vec<String>> = model
            .scores
            .iter()
            .map(|(name, score)| {
                let constant = constant.get(name).copied();
                vec![name.clone(), number(Some(*score)), number(constant)]
            })
            .collect();
        report.table(&["score", "model", "predicting a constant"], &rows);
    }
    if !parts.finished.is_empty() {
        report.paragraph(
            "The constants are the mean depth and the most frequent class of the training samples.",
        );
        return;
    }
    let (Some(record), Some(baseline)) = (last(records, "eval"), parts.baseline) else { return };
    let rows: Vec<Vec<String>> = baseline
        .scores
        .iter()
        .map(|(name, constant)| {
            vec![name.clone(), number(value(record, name)), number(Some(*constant))]
        })
        .collect();
    report.paragraph("After the last epoch measured, on the evaluation samples:");
    report.table(&["score", "model", "predicting a constant"], &rows);
}

fn curves(report: &mut Report, parts: &Parts<'_>, records: &[Record]) {
    report.section("Curves");
    let mut charts: Vec<Svg> = Vec::new();
    for task in &parts.setup.tasks {
        let constant = parts.baseline.and_then(|baseline| baseline.losses.get(&task.name));
        let constant = ("predicting a constant", constant.copied());
        charts.push(loss_chart(records, &task.name, constant));
    }
    let constants = parts.baseline.map(|baseline| baseline.scores.clone()).unwrap_or_default();
    for (name, constant) in shown(&constants) {
        let points = series(records, "eval", name);
        if points.is_empty() {
            continue;
        }
        let mut chart = LineChart::new(name.replace('_', " "), "step", "");
        chart.push(Series::new("evaluation", points).color(1));
        chart.reference("predicting a constant", *constant);
        charts.push(chart.svg());
    }
    charts.extend(training_charts(records));
    report.charts(&charts);
}

/// The scores that get a curve.
fn shown(scores: &IndexMap<String, f64>) -> impl Iterator<Item = (&String, &f64)> {
    let curves =
        ["score", "_rmse", "_rel", "_delta_1", "_miou", "_pixel_acc", "_top1", "_mae", "_angle"];
    scores.iter().filter(move |(name, _)| curves.iter().any(|curve| name.ends_with(curve)))
}

fn classes(report: &mut Report, parts: &Parts<'_>) {
    for (on, model, _) in parts.finished {
        for (task, classes) in &model.classes {
            report.section(format!("IoU of the classes of {task} on {on}"));
            let rows: Vec<Vec<String>> =
                classes.iter().map(|(class, iou)| vec![class.clone(), number(*iou)]).collect();
            report.table(&["class", "IoU"], &rows);
        }
    }
}

fn groups(report: &mut Report, groups: &ParameterGroups) {
    report.section("Groups of parameters");
    let total: usize = groups.groups().iter().map(|group| group.values).sum();
    let rows: Vec<Vec<String>> = groups
        .groups()
        .iter()
        .map(|group| {
            let share = 100.0 * group.values as f64 / total.max(1) as f64;
            vec![
                group.name.clone(),
                format!("{:.6}", group.lr_scale),
                if group.decays { "yes" } else { "no" }.to_owned(),
                group.parameters.len().to_string(),
                group.values.to_string(),
                format!("{share:.1} %"),
            ]
        })
        .collect();
    let titles = ["group", "learning rate", "weight decay", "tensors", "values", "share"];
    report.table(&titles, &rows);
}

/// Adds the use of prompt pools' entries, by source.
fn pools(report: &mut Report, parts: &Parts<'_>) -> Result<()> {
    let Some((on, evaluated, _)) = parts.finished.last() else { return Ok(()) };
    if evaluated.usage.is_empty() {
        return Ok(());
    }
    report.section("Prompt pools");
    report.paragraph(&format!(
        "Share of every entry in all choices (of a mixture: in all weights) on {on}; the same for \
         every layer that has keys of its own.",
    ));
    for (source, usage) in &evaluated.usage {
        let histogram = usage.overall().histogram();
        let bar = |(index, share): (usize, f64)| Bar {
            name: format!("{source} {index}"),
            color: BAR,
            value: Some(share),
            note: format!("{:.1} %", 100.0 * share),
        };
        let shares: Vec<f64> = histogram.concat();
        let all: Vec<Bar> = shares.into_iter().enumerate().map(bar).collect();
        report.picture(&bars(&all, BARS_WIDTH), &format!("use of the pool `{source}`"))?;
    }
    let sources: Vec<(&String, &PoolUsage)> = evaluated.usage.iter().collect();
    for (index, (one, usage)) in sources.iter().enumerate() {
        for (other, others) in &sources[index + 1..] {
            if let Ok(Some(overlap)) = usage.overall().overlap(others.overall()) {
                report.paragraph(&format!(
                    "{one} and {other} have {overlap:.2} of their use in common."
                ));
            }
        }
    }
    Ok(())
}

/// Adds the trained parameters, tensor by tensor.
fn trained(report: &mut Report, parts: &Parts<'_>) {
    let trained = TrainedParameters::of(&parts.state.learner.model);
    report.section("Trained parameters");
    report.paragraph(&format!("tuning: {}. {trained}.", parts.setup.recipe.tuning));
    let rows: Vec<Vec<String>> = ParameterKind::ALL
        .into_iter()
        .map(|kind| (kind, trained.of_kind(kind)))
        .filter(|(_, (tensors, _))| *tensors > 0)
        .map(|(kind, (tensors, values))| {
            let share = 100.0 * values as f64 / trained.total.max(1) as f64;
            let (tensors, values) = (tensors.to_string(), values.to_string());
            vec![kind.name().to_owned(), tensors, values, format!("{share:.3} %")]
        })
        .collect();
    report.table(&["group", "tensors", "values", "share of the model"], &rows);
    let rows: Vec<Vec<String>> = trained
        .tensors
        .iter()
        .map(|tensor| {
            let values: usize = tensor.shape.iter().product();
            vec![tensor.name.clone(), format!("{:?}", tensor.shape), values.to_string()]
        })
        .collect();
    report.table(&["tensor", "shape", "values"], &rows);
}
