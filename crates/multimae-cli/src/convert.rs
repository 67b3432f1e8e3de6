//! `multimae convert`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indexmap::IndexMap;
use multimae::state::StateDict;
use multimae::weights::{
    Layout, Loaded, Value, from_timm, jax_to_timm, read_weights, to_timm, write_pth,
    write_safetensors,
};
use multimae_io::atomic::write_atomically;

use crate::terminal;

/// Names of a kind that are listed before the rest is counted.
const LISTED: usize = 10;

/// Convert weights between files and layouts: PyTorch, safetensors, npz; MultiMAE and timm.
///
/// The format of the input is inferred from its content. A timm or MAE ViT becomes a MultiMAE
/// encoder with RGB input, unless the output is to be timm's too. Prints the tensors that the
/// output does not hold.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Weights to read
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Format and layout of the output; by its extension if absent (.safetensors, .pth, .pt)
    #[arg(long)]
    to: Option<Target>,
    /// Layout of the input: told by its names, or taken to be timm's
    #[arg(long, value_enum, default_value_t = Source::Auto)]
    from: Source,
    /// Epoch that a .pth file says it is from; that of the input, or 0, if absent
    #[arg(long)]
    epoch: Option<i64>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    Safetensors,
    Pth,
    TimmPth,
    TimmSafetensors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    Auto,
    Timm,
}

impl Target {
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("pth" | "pt") => Ok(Self::Pth),
            _ => bail!(
                "{}: no format is known by this extension; give --to safetensors or --to pth",
                path.display()
            ),
        }
    }

    fn is_timm(self) -> bool {
        matches!(self, Self::TimmPth | Self::TimmSafetensors)
    }

    fn is_pth(self) -> bool {
        matches!(self, Self::Pth | Self::TimmPth)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_pth() { "PyTorch checkpoint" } else { "safetensors" })
    }
}

impl Convert {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let target = self.to.map_or_else(|| Target::of(&self.output), Ok)?;
        if !self.force && self.output.exists() {
            bail!("{} exists; --force replaces it", self.output.display());
        }
        let loaded = read_weights(&self.input)?;
        let layout = Layout::of(&loaded.weights);
        let (weights, dropped) = self
            .convert(&loaded, layout, target)
            .with_context(|| format!("converting {}", self.input.display()))?;
        let bytes = if target.is_pth() {
            write_pth(&weights, self.epoch.or_else(|| epoch(&loaded)).unwrap_or(0))?
        } else {
            write_safetensors(&weights, &metadata(&loaded, layout, &weights))?
        };
        write_atomically(&self.output, &bytes)?;

        list("dropped (the other model has no place for them)", dropped);
        list("left out (no weights)", left_out(&loaded, target));
        terminal::line(&format!(
            "{}: {target}, {} tensors, {}",
            self.output.display(),
            weights.len(),
            Layout::of(&weights)
        ));
        Ok(())
    }

    /// The weights in the layout that is wanted, and what was dropped for it.
    fn convert(
        &self,
        loaded: &Loaded,
        layout: Layout,
        target: Target,
    ) -> anyhow::Result<(StateDict, Vec<String>)> {
        if layout == Layout::JaxVit && target.is_timm() {
            return Ok((jax_to_timm(&loaded.weights)?, Vec::new()));
        }
        let is_vit = matches!(layout, Layout::TimmVit | Layout::JaxVit);
        let is_timm = self.from == Source::Timm || is_vit;
        let converted = match (is_timm, target.is_timm()) {
            (true, false) => from_timm(&loaded.weights)?,
            (false, true) => to_timm(&loaded.weights)?,
            _ => return Ok((loaded.weights.clone(), Vec::new())),
        };
        Ok((converted.weights, converted.dropped))
    }
}

/// The metadata of the input, unless its configuration describes another model than the output.
fn metadata(loaded: &Loaded, layout: Layout, weights: &StateDict) -> IndexMap<String, String> {
    if layout == Layout::of(weights) { loaded.metadata.clone() } else { IndexMap::new() }
}

fn epoch(loaded: &Loaded) -> Option<i64> {
    match loaded.entries.get("epoch") {
        Some(Value::Int(epoch)) => Some(*epoch),
        _ => None,
    }
}

/// Entries and metadata of the input that the output has no place for.
fn left_out(loaded: &Loaded, target: Target) -> Vec<String> {
    let kept = |name: &str| target.is_pth() && name == "epoch";
    let entries = loaded.entries.keys().filter(|name| !kept(name)).cloned();
    let metadata = loaded.metadata.keys().filter(|_| target.is_pth()).cloned();
    entries.chain(metadata).collect()
}

fn list(what: &str, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let rest = names.len().saturating_sub(LISTED);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let listed: Vec<String> = names.into_iter().take(LISTED).collect();
    terminal::line(&format!("{what}: {}{more}", listed.join(", ")));
}
