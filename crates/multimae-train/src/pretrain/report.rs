//! `report.html`: what people look at.

use multimae::model::MultiMae;
use multimae_report::chart::Svg;
use multimae_report::html::Report;
use multimae_report::metrics_log;

use super::{PretrainSetup, TrainingStages};
use crate::Result;
use crate::observer::Baseline;
use crate::report_parts::{
    Record, last, loss_chart, number, pictures, progress, rejected, training_charts, value,
};
use crate::run::{RunFolder, State};
use multimae_config::Recipe;

/// Writes the report of a run as it stands.
///
/// # Errors
/// If the records cannot be read or the report cannot be written.
pub(super) fn write_report(
    folder: &RunFolder,
    (setup, stages): (&PretrainSetup, &TrainingStages),
    state: &State<MultiMae>,
    baseline: &Baseline,
) -> Result<()> {
    let records = metrics_log::read(&folder.metrics())?;
    let mut report = Report::new("Pre-training");
    summary(&mut report, (setup, stages), state);
    losses_table(&mut report, setup, &records, baseline);
    pictures(&mut report, folder, "Reconstructions")?;
    curves(&mut report, setup, &records, baseline);
    report.section("Recipe");
    report.code(&setup.spec.recipe.to_yaml());
    Ok(report.write(&folder.report())?)
}

fn summary(
    report: &mut Report,
    (setup, stages): (&PretrainSetup, &TrainingStages),
    state: &State<MultiMae>,
) {
    let position = &state.position;
    let encoder = &setup.spec.model.encoder;
    let parameters = multimae::state::trained_values(&state.learner.model);
    let size = setup.spec.recipe.arch.input_size;
    let mut entries = vec![
        (
            "Encoder",
            format!("{} wide, {} blocks, {} heads", encoder.width, encoder.depth, encoder.heads),
        ),
        ("Trained parameters", format!("{:.2} million", parameters as f64 / 1e6)),
        (
            "Images",
            format!(
                "{} x {} (height x width), patches of {}",
                size.height, size.width, setup.spec.recipe.arch.patch_size
            ),
        ),
        (
            "Visible tokens",
            format!(
                "{} of {}",
                setup.spec.masking.num_encoded_tokens,
                setup.spec.layout.num_tokens()
            ),
        ),
    ];
    let stages = stages.lines();
    if !stages.is_empty() {
        entries.push(("Progressive training", stages.join("; ")));
    }
    entries.extend(progress(position, setup.spec.recipe.optim.epochs));
    report.definitions(&entries);
    rejected(report, position);
}

fn losses_table(
    report: &mut Report,
    setup: &PretrainSetup,
    records: &[Record],
    baseline: &Baseline,
) {
    let kind = if last(records, "eval").is_some() { "eval" } else { "train" };
    let Some(record) = last(records, kind) else { return };
    let rows: Vec<Vec<String>> = setup
        .spec
        .objective
        .tasks
        .iter()
        .map(|task| {
            let loss = value(record, &format!("{}_loss", task.name));
            let mean = baseline.losses.get(&task.name).copied();
            let share = loss.zip(mean).map(|(loss, mean)| format!("{:.1} %", 100.0 * loss / mean));
            vec![task.name.clone(), number(loss), number(mean), share.unwrap_or_default()]
        })
        .collect();
    report.section("Losses");
    report.table(&["task", "loss", "predicting the mean", "loss / mean"], &rows);
    let source = match kind {
        "eval" => "evaluation samples, after the last epoch measured",
        _ => "the last training step recorded",
    };
    report.paragraph(&format!(
        "Losses on masked patches: {source}. Predicting the mean of every channel, or the frequency \
         of every class, was measured on {} samples.",
        baseline.on
    ));
}

fn curves(report: &mut Report, setup: &PretrainSetup, records: &[Record], baseline: &Baseline) {
    report.section("Curves");
    let mut charts: Vec<Svg> = Vec::new();
    for task in &setup.spec.objective.tasks {
        let mean = ("predicting the mean", baseline.losses.get(&task.name).copied());
        charts.push(loss_chart(records, &task.name, mean));
    }
    charts.extend(training_charts(records));
    report.charts(&charts);
}
