//! `multimae convert`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indexmap::IndexMap;
use multimae::modality::Size;
use multimae::state::StateDict;
use multimae::weights::{
    Converted, Layout, Loaded, Value, from_timm_grid, hugging_face_to_timm, jax_to_timm,
    missing_parts, read_weights_of, to_timm, write_pth, write_safetensors,
};
use multimae_infer::checkpoint::is_checkpoint;
use multimae_infer::weights_source::WeightsSource;
use multimae_io::atomic::write_atomically;

use crate::terminal;

/// Names of a kind that are listed before the rest is counted.
const LISTED: usize = 10;

/// Convert weights between files and layouts: PyTorch, safetensors, npz; MultiMAE, timm, Hugging Face.
///
/// The format of the input is inferred from its content; prefixes such as `module.` are stripped. A
/// ViT of timm, MAE, DeiT or Hugging Face becomes a MultiMAE encoder with RGB input, unless the output
/// is to be timm's. Prints the tensors that the output does not hold. Weights that nothing here
/// could read are an error.
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
    /// State dict to convert, if the input holds several, such as `model_ema`
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// Rows and columns of patches of a ViT's position table that is not square
    #[arg(long, value_name = "HxW", value_parser = grid)]
    grid: Option<Size>,
    /// Write tensors of an unknown layout as they are, though nothing here reads them
    #[arg(long)]
    as_is: bool,
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
        let loaded = self.read()?;
        let layout = Layout::of(&loaded.weights);
        let Converted { weights, dropped, notices } = self
            .convert(&loaded, layout, target)
            .and_then(|converted| self.checked(converted, target))
            .with_context(|| format!("converting {}", self.input.display()))?;
        let bytes = if target.is_pth() {
            write_pth(&weights, self.epoch.or_else(|| epoch(&loaded)).unwrap_or(0))?
        } else {
            write_safetensors(&weights, &metadata(&loaded, layout, &weights))?
        };
        write_atomically(&self.output, &bytes)?;

        for notice in loaded.notices.iter().chain(&notices) {
            terminal::line(&format!("note: {notice}"));
        }
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

    /// The weights of the input; of a checkpoint of a run those that prediction uses.
    fn read(&self) -> anyhow::Result<Loaded> {
        let mut loaded = read_weights_of(&self.input, self.weights_key.as_deref())?;
        if is_checkpoint(&loaded.weights) {
            let source = WeightsSource::from(&self.input).with_key(self.weights_key.clone());
            let read = source.read()?;
            (loaded.weights, loaded.notices) = (read.weights, read.notices);
            loaded.metadata.clear();
        }
        Ok(loaded)
    }

    /// The weights in the layout that is wanted.
    fn convert(
        &self,
        loaded: &Loaded,
        layout: Layout,
        target: Target,
    ) -> anyhow::Result<Converted> {
        let same = |weights| Converted { weights, dropped: Vec::new(), notices: Vec::new() };
        let is_vit = self.from == Source::Timm || layout.is_vit();
        if self.grid.is_some() && !is_vit {
            bail!("--grid is of the position table of a ViT, and these weights are: {layout}");
        }
        match (layout, target.is_timm()) {
            (Layout::JaxVit, true) => Ok(same(jax_to_timm(&loaded.weights)?)),
            (Layout::HfVit, true) => Ok(same(hugging_face_to_timm(&loaded.weights)?)),
            (_, false) if is_vit => Ok(from_timm_grid(&loaded.weights, self.grid)?),
            (_, true) if !is_vit => Ok(to_timm(&loaded.weights)?),
            _ => Ok(same(loaded.weights.clone())),
        }
    }

    /// The weights, if a file of them can be read again.
    fn checked(&self, converted: Converted, target: Target) -> anyhow::Result<Converted> {
        let layout = Layout::of(&converted.weights);
        if converted.weights.is_empty() {
            bail!("there are no tensors to write");
        }
        if self.as_is {
            return Ok(converted);
        }
        if layout == Layout::Adapter && target.is_pth() {
            bail!(
                "an adapter is of use only with the card in its metadata, which a PyTorch checkpoint \
                 does not hold; convert to safetensors, or write the tensors alone with --as-is"
            );
        }
        if !layout.has_encoder() && layout != Layout::Adapter {
            let names: Vec<&str> =
                converted.weights.keys().take(LISTED).map(String::as_str).collect();
            bail!(
                "the tensors are of no known model, so that nothing here could read the output; they \
                 are {}{}. If it is a ViT without its usual names, --from timm says what is missing; \
                 --as-is writes the tensors as they are",
                names.join(", "),
                if converted.weights.len() > LISTED { ", ..." } else { "" }
            );
        }
        check_encoder(&converted.weights, layout)?;
        Ok(converted)
    }
}

/// Checks that no tensor of the encoder is missing.
fn check_encoder(weights: &StateDict, layout: Layout) -> anyhow::Result<()> {
    let encoder = match layout {
        Layout::MultiMae | Layout::MultiVit => "encoder.",
        Layout::TimmVit => "blocks.",
        _ => return Ok(()),
    };
    let missing = missing_parts(weights, encoder);
    if missing.is_empty() {
        return Ok(());
    }
    let more = if missing.len() > LISTED { ", ..." } else { "" };
    let shown = missing.into_iter().take(LISTED).collect::<Vec<_>>().join(", ");
    bail!("the encoder is incomplete; missing: {shown}{more}")
}

/// Rows and columns.
fn grid(text: &str) -> Result<Size, String> {
    let sides = text.split_once(['x', 'X']).and_then(|(rows, columns)| {
        let side = |text: &str| text.trim().parse().ok().filter(|side| (1..=65_536).contains(side));
        side(rows).zip(side(columns))
    });
    let (rows, columns) = sides.ok_or("expected HxW, rows and columns of patches, as in 14x28")?;
    Ok(Size::new(rows, columns))
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
