//! `multimae adapter`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use multimae::burn::tensor::TensorData;
use multimae::tuning::ParameterKind;
use multimae_infer::device::device;
use multimae_infer::saved_model::Adapter;
use multimae_infer::weights_source::WeightsSource;

use crate::terminal;

/// Show, merge or compare adapters: what tuning has trained, without the backbone.
#[derive(Debug, Args)]
pub(crate) struct Adapters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what an adapter holds, and which backbone it belongs to
    Show {
        /// Adapter to read
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// List all tensors
        #[arg(long)]
        all: bool,
    },
    /// Put an adapter and its backbone into one model, with low-rank adaptation, scale and shift,
    /// norms and biases in the weights; prompts stay
    Merge {
        /// Pre-trained weights: a file or the folder of a run
        #[arg(long, value_name = "FILE")]
        backbone: PathBuf,
        /// State dict of the backbone's file, if it holds several, such as `model_ema`
        #[arg(long, value_name = "KEY")]
        weights_key: Option<String>,
        /// Adapter of a run
        #[arg(long, value_name = "FILE")]
        adapter: PathBuf,
        /// Model to write, as model.safetensors of a run
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Say how two adapters differ
    Diff {
        /// One adapter
        #[arg(value_name = "ONE")]
        one: PathBuf,
        /// Another one
        #[arg(value_name = "OTHER")]
        other: PathBuf,
    },
}

impl Adapters {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Show { file, all } => {
                Ok(terminal::result(&description(&Adapter::load(&file)?, all))?)
            }
            Command::Merge { backbone, weights_key, adapter, out, force } => {
                let backbone = WeightsSource::from(&backbone).with_key(weights_key);
                merge(&backbone, &adapter, &out, force)
            }
            Command::Diff { one, other } => {
                let (one, other) = (Adapter::load(&one)?, Adapter::load(&other)?);
                Ok(terminal::result(&difference(&one, &other))?)
            }
        }
    }
}

fn description(adapter: &Adapter, all: bool) -> String {
    let card = &adapter.card;
    let inputs: Vec<&str> = card.inputs.iter().map(|input| input.data.name.as_str()).collect();
    let mut text = format!(
        "tuning     {}\nbackbone   sha256 {}\n           {} blocks, {} wide\ninputs     {}, {}\n",
        adapter.tuning,
        adapter.backbone.sha256,
        card.model.encoder.depth,
        card.model.encoder.width,
        inputs.join(", "),
        card.input_size(),
    );
    for (name, task) in &card.tasks {
        let _ = writeln!(text, "task       {name}: {}", task.task.summary());
    }
    if let Ok(peft) = serde_json::to_string(&card.peft) {
        let _ = writeln!(text, "additions  {peft}");
    }
    let _ = writeln!(text, "tensors    {}, {} bytes", adapter.tensors.len(), adapter.bytes());
    for kind in ParameterKind::ALL {
        let own = adapter.tensors.iter().filter(|(name, _)| ParameterKind::of(name) == kind);
        let counts: Vec<usize> = own.map(|(_, data)| data.num_elements()).collect();
        if !counts.is_empty() {
            let values: usize = counts.iter().sum();
            let _ = writeln!(
                text,
                "  {:<12} {:>4} tensors {values:>10} values",
                kind.name(),
                counts.len()
            );
        }
    }
    if all {
        for (name, data) in &adapter.tensors {
            let _ = writeln!(text, "  {name} {:?}", data.shape().as_slice());
        }
    }
    text
}

fn merge(backbone: &WeightsSource, adapter: &Path, out: &Path, force: bool) -> anyhow::Result<()> {
    if !force && out.exists() {
        bail!("{} exists; --force replaces it", out.display());
    }
    let adapter = Adapter::load(adapter)?;
    let saved = adapter.on(backbone, &device("cpu")?)?.merged();
    saved.save(out)?;
    terminal::line(&format!("a model with its adapter in {}", out.display()));
    Ok(())
}

/// Differences of two adapters, by group.
fn difference(one: &Adapter, other: &Adapter) -> String {
    let mut text = String::new();
    let mut compare = |what: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
        let (a, b) = (a.to_string(), b.to_string());
        let line = if a == b { format!("same: {a}") } else { format!("{a} | {b}") };
        let _ = writeln!(text, "{what:<12} {line}");
    };
    let tasks = |adapter: &Adapter| {
        let task = |(name, task): (&String, &multimae_infer::saved_model::TaskCard)| {
            format!("{name} ({})", task.task.summary())
        };
        adapter.card.tasks.iter().map(task).collect::<Vec<_>>().join(", ")
    };
    let peft = |adapter: &Adapter| serde_json::to_string(&adapter.card.peft).unwrap_or_default();
    compare("tuning", &one.tuning, &other.tuning);
    compare("backbone", &one.backbone.sha256, &other.backbone.sha256);
    compare("tasks", &tasks(one), &tasks(other));
    compare("additions", &peft(one), &peft(other));
    compare("bytes", &one.bytes(), &other.bytes());
    for (name, data) in &one.tensors {
        let line = match other.tensors.get(name) {
            None => "only in the first".to_owned(),
            Some(b) if b.shape() != data.shape() => {
                format!("{:?} | {:?}", data.shape().as_slice(), b.shape().as_slice())
            }
            Some(b) if b.as_bytes() == data.as_bytes() => continue,
            Some(b) => distance(data, b),
        };
        let _ = writeln!(text, "  {name}: {line}");
    }
    for name in other.tensors.keys().filter(|name| !one.tensors.contains_key(*name)) {
        let _ = writeln!(text, "  {name}: only in the second");
    }
    let same = |(name, data): &(&String, &TensorData)| {
        other.tensors.get(*name).is_some_and(|b| b.as_bytes() == data.as_bytes())
    };
    let same = one.tensors.iter().filter(same).count();
    let _ = writeln!(text, "{same} tensors are identical");
    text
}

/// Returns the distance of two tensors of one shape.
fn distance(a: &TensorData, b: &TensorData) -> String {
    let (mut largest, mut squares, mut norm) = (0.0_f64, 0.0, 0.0);
    for (a, b) in a.iter::<f64>().zip(b.iter::<f64>()) {
        largest = largest.max((a - b).abs());
        squares += (a - b) * (a - b);
        norm += a * a;
    }
    let relative = (squares / norm.max(f64::MIN_POSITIVE)).sqrt();
    format!("largest difference {largest:.3e}, relative {relative:.3e}")
}
