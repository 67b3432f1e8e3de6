//! `multimae inspect`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use indexmap::IndexMap;
use multimae::burn::tensor::{DType, TensorData};
use multimae::weights::{Layout, Loaded, read_weights_of};
use multimae_infer::weights_source::WeightsSource;

use crate::terminal;

/// Tensors that are listed unless all are asked for.
const LISTED: usize = 40;
/// Characters of an entry that are shown.
const ENTRY_LEN: usize = 300;

/// Show what a file of weights holds: safetensors, PyTorch checkpoint or npz.
///
/// Nothing in a PyTorch checkpoint is executed.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Weights to read: a file or the folder of a run
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// State dict to show, if the file holds several, such as `model_ema`
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// List all tensors, and entries in full
    #[arg(long)]
    all: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let file = WeightsSource::from(&self.file).file()?;
        let mut loaded = read_weights_of(&file, self.weights_key.as_deref())?;
        if file != self.file {
            loaded.notices.insert(0, format!("the file is {}", file.display()));
        }
        let mut text = summary(&loaded);
        text.push_str(&tensors(&loaded, if self.all { usize::MAX } else { LISTED }));
        text.push_str(&entries(&loaded, if self.all { usize::MAX } else { ENTRY_LEN }));
        Ok(terminal::result(&text)?)
    }
}

fn summary(loaded: &Loaded) -> String {
    let count: usize = loaded.weights.values().map(TensorData::num_elements).sum();
    let mut dtypes: IndexMap<String, usize> = IndexMap::new();
    for data in loaded.weights.values() {
        *dtypes.entry(name_of(data.dtype())).or_default() += 1;
    }
    let dtypes: Vec<String> = match dtypes.len() {
        1 => dtypes.into_keys().collect(),
        _ => dtypes.iter().map(|(name, tensors)| format!("{name} ({tensors} tensors)")).collect(),
    };
    let notices: String =
        loaded.notices.iter().map(|notice| format!("note        {notice}\n")).collect();
    format!(
        "format      {}\nlayout      {}\ntensors     {}\nparameters  {count}\ntype        {}\n{notices}",
        loaded.format,
        Layout::of(&loaded.weights),
        loaded.weights.len(),
        dtypes.join(", ")
    )
}

fn tensors(loaded: &Loaded, most: usize) -> String {
    let mut rows = vec![["name", "shape", "type", "min", "mean", "max"].map(str::to_owned)];
    for (name, data) in loaded.weights.iter().take(most) {
        let shape: Vec<String> = data.shape().iter().map(ToString::to_string).collect();
        let [min, mean, max] = statistics(data);
        rows.push([
            name.clone(),
            format!("[{}]", shape.join(", ")),
            name_of(data.dtype()),
            min,
            mean,
            max,
        ]);
    }
    let mut text = format!("\n{}", table(&rows));
    let rest = loaded.weights.len().saturating_sub(most);
    if rest > 0 {
        let _ = writeln!(text, "... and {rest} more (--all lists them)");
    }
    text
}

/// Least, mean and greatest value. NaN anywhere is shown as such.
fn statistics(data: &TensorData) -> [String; 3] {
    let (mut count, mut sum, mut min, mut max) = (0_usize, 0.0, f64::INFINITY, f64::NEG_INFINITY);
    let mut nan = false;
    for value in data.iter::<f64>() {
        nan |= value.is_nan();
        count += 1;
        sum += value;
        min = min.min(value);
        max = max.max(value);
    }
    if count == 0 {
        return ["-"; 3].map(str::to_owned);
    }
    let mean = sum / count as f64;
    let values = if nan { [f64::NAN; 3] } else { [min, mean, max] };
    values.map(|value| format!("{value:.5}"))
}

/// Rows with their columns aligned; numbers to the right.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                1 | 2 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

/// The metadata, and what a checkpoint holds besides the weights.
fn entries(loaded: &Loaded, most: usize) -> String {
    let metadata = loaded.metadata.iter().map(|(name, value)| (name, value.clone()));
    let entries = loaded.entries.iter().map(|(name, value)| (name, value.to_string()));
    let mut text = String::new();
    for (name, value) in metadata.chain(entries) {
        let shown: String = value.chars().take(most).collect();
        let dots = if shown.len() < value.len() { " ..." } else { "" };
        let _ = writeln!(text, "\n{name}\n  {shown}{dots}");
    }
    text
}

fn name_of(dtype: DType) -> String {
    match dtype {
        DType::Bool(_) => "bool".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
