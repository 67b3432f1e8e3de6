//! `multimae convert`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use indexmap::IndexMap;
use multimae::modality::Size;
use multimae::state::StateDict;
use multimae::weights::{
    Converted, Layout, Value, check_complete, from_timm_grid, hugging_face_to_timm, jax_to_timm,
    missing_parts, read_weights_of, to_timm, write_pth_with, write_safetensors,
};
use multimae_infer::checkpoint::is_checkpoint;
use multimae_infer::saved_model::check_saved;
use multimae_infer::visualize::recipe_of;
use multimae_infer::weights_source::{PTH_RECIPE, RECIPE, SourceWeights, WeightsSource};
use multimae_io::atomic::write_atomically;

use crate::terminal;

/// Names of a kind that are listed before the rest is counted.
const LISTED: usize = 10;

/// Convert weights between files and layouts: PyTorch, safetensors, npz; MultiMAE, timm, Hugging Face.
///
/// The format of the input is inferred from its content; prefixes such as `module.` are stripped. A
/// ViT of timm, MAE, DeiT or Hugging Face becomes a MultiMAE encoder with RGB input, unless the output
/// is to be timm's. Prints the tensors that the output does not hold. The recipe of a run stays with
/// its weights, also in .pth. Weights that nothing here could read are an error.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Weights to read: a file or the folder of a run
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
        let input = self.read()?;
        let layout = input.source.layout();
        let (output, dropped) = self
            .convert(&input.source.weights, layout, target)
            .map(|converted| Output::new(converted, &input, layout))
            .and_then(|(output, dropped)| self.check(&output, target).map(|()| (output, dropped)))
            .with_context(|| format!("converting {}", input.source.path.display()))?;
        let bytes = if target.is_pth() {
            let recipe = output.recipe.as_deref().map(|recipe| (PTH_RECIPE, recipe));
            let epoch = self.epoch.or_else(|| input.epoch()).unwrap_or(0);
            write_pth_with(&output.weights, epoch, recipe.as_slice())?
        } else {
            write_safetensors(&output.weights, &output.metadata)?
        };
        write_atomically(&self.output, &bytes)?;

        for notice in input.source.notices.iter().chain(&output.notices) {
            terminal::line(&format!("note: {notice}"));
        }
        list("dropped (the other model has no place for them)", dropped);
        list("left out (no weights)", input.left_out(target, &output));
        terminal::line(&format!(
            "{}: {target}, {} tensors, {}",
            self.output.display(),
            output.weights.len(),
            output.layout
        ));
        Ok(())
    }

    /// The weights of the input; of a checkpoint of a run those that prediction uses.
    fn read(&self) -> anyhow::Result<Input> {
        let source = WeightsSource::from(&self.input).with_key(self.weights_key.clone());
        let path = source.file()?;
        let loaded = read_weights_of(&path, self.weights_key.as_deref())?;
        let (entries, of_run) = (loaded.entries.clone(), is_checkpoint(&loaded.weights));
        let mut source = source.source_weights(path, loaded)?;
        if of_run {
            source.metadata.clear();
        }
        Ok(Input { source, entries })
    }

    /// The weights in the layout that is wanted.
    fn convert(
        &self,
        weights: &StateDict,
        layout: Layout,
        target: Target,
    ) -> anyhow::Result<Converted> {
        let is_vit = self.from == Source::Timm || layout.is_vit();
        if self.grid.is_some() && !is_vit {
            bail!("--grid is of the position table of a ViT, and these weights are: {layout}");
        }
        match (layout, target.is_timm()) {
            (Layout::JaxVit, true) => Ok(jax_to_timm(weights)?),
            (Layout::HfVit, true) => Ok(hugging_face_to_timm(weights)?),
            (_, false) if is_vit => Ok(from_timm_grid(weights, self.grid)?),
            (_, true) if !is_vit => Ok(to_timm(weights)?),
            _ => {
                Ok(Converted { weights: weights.clone(), dropped: Vec::new(), notices: Vec::new() })
            }
        }
    }

    /// Checks that a file of the output can be read again.
    fn check(&self, output: &Output, target: Target) -> anyhow::Result<()> {
        let Output { weights, layout, metadata, .. } = output;
        if weights.is_empty() {
            bail!("there are no tensors to write");
        }
        if self.as_is || (!target.is_pth() && check_saved(&self.input, weights, metadata)?) {
            return Ok(());
        }
        match layout {
            Layout::Adapter if target.is_pth() => bail!(
                "an adapter is of use only with the card in its metadata, which a PyTorch checkpoint \
                 does not hold; convert to safetensors, or write the tensors alone with --as-is"
            ),
            Layout::Adapter => bail!(
                "heads or prompts without an encoder, and without the card that an adapter of this \
                 program has in its metadata, so that nothing here could read the output; give the \
                 weights with their encoder, or write the tensors alone with --as-is"
            ),
            Layout::TimmVit => {
                check_encoder(weights, "blocks.")?;
                from_timm_grid(weights, self.grid.or(output.grid))?;
            }
            Layout::MultiMae | Layout::MultiVit => {
                check_encoder(weights, "encoder.")?;
                check_complete(weights)
                    .map_err(|error| anyhow!("{error}; --as-is writes the tensors all the same"))?;
            }
            _ => {
                let names: Vec<&str> = weights.keys().take(LISTED).map(String::as_str).collect();
                bail!(
                    "the tensors are of no known model, so that nothing here could read the output; \
                     they are {}{}. If it is a ViT without its usual names, --from timm says what is \
                     missing; --as-is writes the tensors as they are",
                    names.join(", "),
                    if weights.len() > LISTED { ", ..." } else { "" }
                );
            }
        }
        Ok(())
    }
}

/// The content of the input.
struct Input {
    source: SourceWeights,
    /// The further content of a PyTorch checkpoint.
    entries: IndexMap<String, Value>,
}

impl Input {
    fn epoch(&self) -> Option<i64> {
        match self.entries.get("epoch") {
            Some(Value::Int(epoch)) => Some(*epoch),
            _ => None,
        }
    }

    /// Entries and metadata of the input that the output has no place for.
    fn left_out(&self, target: Target, output: &Output) -> Vec<String> {
        let has_recipe = output.recipe.is_some();
        let kept = |name: &str| match name {
            "epoch" => target.is_pth(),
            RECIPE | PTH_RECIPE => has_recipe,
            _ => false,
        };
        let metadata = self.source.metadata.keys().filter(|_| target.is_pth());
        self.entries.keys().chain(metadata).filter(|name| !kept(name)).cloned().collect()
    }

    /// The recipe of the weights, and a notice about it: that of the input, else the one that the
    /// arguments of a training script make, since tensors do not show the number of heads.
    fn recipe(&self, layout: Layout) -> (Option<String>, Option<String>) {
        if self.source.recipe.is_some() || layout != Layout::MultiMae {
            return (self.source.recipe.clone(), None);
        }
        if self.source.arguments.is_empty() {
            return (None, None);
        }
        match recipe_of(&self.source.weights, &self.source.arguments) {
            Ok(recipe) => (
                Some(recipe),
                Some("the output has a recipe, by the `args` of the input".to_owned()),
            ),
            Err(error) => (None, Some(format!("the output has no recipe: {error}"))),
        }
    }
}

/// The content of the output.
struct Output {
    weights: StateDict,
    layout: Layout,
    /// The metadata of a safetensors file.
    metadata: IndexMap<String, String>,
    recipe: Option<String>,
    /// Rows and columns of patches of a ViT that was a MultiMAE.
    grid: Option<Size>,
    notices: Vec<String>,
}

impl Output {
    /// The output with the names of the tensors that it does not hold. Metadata and recipe of the
    /// input stay only where the output is the same model.
    fn new(converted: Converted, input: &Input, layout: Layout) -> (Self, Vec<String>) {
        let Converted { weights, dropped, mut notices } = converted;
        let own = Layout::of(&weights);
        let (mut metadata, mut recipe) = (IndexMap::new(), None);
        if own == layout {
            metadata.clone_from(&input.source.metadata);
            let (found, notice) = input.recipe(layout);
            notices.extend(notice);
            recipe = found;
        }
        if let Some(recipe) = &recipe {
            metadata.entry(RECIPE.to_owned()).or_insert_with(|| recipe.clone());
        }
        let grid = rgb_grid(&input.source.weights).filter(|_| own == Layout::TimmVit);
        if let Some(Size { height, width }) = grid.filter(|grid| grid.height != grid.width) {
            notices.push(format!(
                "patches are on a grid that is not square; to read the output give it: `--grid \
                 {height}x{width}`"
            ));
        }
        (Self { weights, layout: own, metadata, recipe, grid, notices }, dropped)
    }
}

/// Rows and columns of patches of RGB.
fn rgb_grid(weights: &StateDict) -> Option<Size> {
    match weights.get("input_adapters.rgb.pos_emb")?.shape().as_slice() {
        &[_, _, rows, columns] => Some(Size::new(rows, columns)),
        _ => None,
    }
}

/// Checks that no tensor of the encoder, whose blocks are behind a prefix, is missing.
fn check_encoder(weights: &StateDict, prefix: &str) -> anyhow::Result<()> {
    let missing = missing_parts(weights, prefix);
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

fn list(what: &str, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let rest = names.len().saturating_sub(LISTED);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    let listed: Vec<String> = names.into_iter().take(LISTED).collect();
    terminal::line(&format!("{what}: {}{more}", listed.join(", ")));
}
