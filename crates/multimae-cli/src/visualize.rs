//! `multimae visualize`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indexmap::IndexMap;
use multimae_infer::predict::{FrameSources, InputPath};
use multimae_infer::saved_model::SavedModel;
use multimae_infer::visualize::attention::{
    AttentionKind, attention_figure, attention_maps, sample_of,
};
use multimae_infer::visualize::usage::{pool_usage, usage_figure};
use multimae_infer::visualize::{PretrainView, Pretrained, VisiblePatches, figure, patches_of};
use multimae_report::picture::Picture;
use serde_json::json;

use crate::model::Model;
use crate::{output, terminal};

/// Draw reconstructions, attention and the use of prompt pools of a model.
///
/// Of a pre-trained model (--model RUN, or a file such as the published .pth), a figure per frame: the visible patches, the prediction
/// and the original of every modality. Visible are patches sampled as in pre-training, a number of
/// each modality (--visible), or named ones (--patches, numbered row by row from 0). Modalities
/// that are not given are predicted from the others.
///
/// Of a fine-tuned model, or one with --adapter: the attention of prompts and the global token, or how much
/// patches attend to a prefix or to each entry of `rein` prompts; with --usage, which entries of a pool are used by frames of which class.
#[derive(Debug, Args)]
pub(crate) struct Visualize {
    #[command(flatten)]
    model: Model,
    /// An image, a folder of images, or a folder with a folder per modality; or several of
    /// MODALITY=PATH
    #[arg(long, short, value_name = "PATH", required = true)]
    input: Vec<InputPath>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only the frames that PATH/NAME.txt lists
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Largest number of frames
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    frames: usize,
    /// Visible patches: a number over all modalities, or MODALITY=NUMBER,...
    #[arg(long, value_name = "COUNTS", conflicts_with = "patches")]
    visible: Option<String>,
    /// Visible patches of a modality, such as rgb=0,5,17-30; repeat for others
    #[arg(long, value_name = "MODALITY=LIST")]
    patches: Vec<String>,
    /// Seed of the masks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Predictions as they are, without the visible patches pasted in
    #[arg(long)]
    as_predicted: bool,
    /// Also NAME.TASK.npy with the predictions, as the model gives them
    #[arg(long)]
    arrays: bool,
    /// Blocks whose attention is shown, from 0; the last if absent
    #[arg(long, value_name = "BLOCKS", value_delimiter = ',')]
    blocks: Vec<usize>,
    /// One head instead of the mean over heads
    #[arg(long, value_name = "HEAD")]
    head: Option<usize>,
    /// Every prompt by itself, too, and every entry that patches read
    #[arg(long)]
    each: bool,
    /// Count how frames use the entries of prompt pools, by their class
    #[arg(long)]
    usage: bool,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

impl Visualize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.model.is_fine_tuned()? {
            let saved = self.model.saved()?;
            return if self.usage { self.pools(&saved) } else { self.attention(&saved) };
        }
        if self.usage {
            bail!("--usage is of a fine-tuned model with prompt pools; give its --adapter");
        }
        self.reconstructions()
    }

    fn reconstructions(&self) -> anyhow::Result<()> {
        let model = self.model.pretrained()?;
        let visible = self.visible(&model)?;
        let sources = FrameSources::of(&self.input, self.split.as_deref(), &model.modalities())?;
        notices(&sources);
        let frames = model.frames(sources.dataset)?;
        let count = frames.len().min(self.frames);
        let bar = terminal::bar(count as u64, "frames");
        for index in 0..count {
            let view = frames.get(index)?;
            let masks = visible.mask(&model, &view, self.seed, index as u64)?;
            let predictions = model.reconstruct(std::slice::from_ref(&view), &masks)?;
            let picture = figure(&model, &view, &masks, &predictions, !self.as_predicted)?;
            self.write_picture(view.id(), &picture)?;
            if self.arrays {
                self.write_arrays(&model, &view, &predictions)?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.conclude(count)
    }

    fn visible(&self, model: &Pretrained) -> anyhow::Result<VisiblePatches> {
        if !self.patches.is_empty() {
            let mut all: IndexMap<String, Vec<usize>> = IndexMap::new();
            for text in &self.patches {
                let (name, list) = text
                    .split_once('=')
                    .with_context(|| format!("--patches {text}: expected MODALITY=LIST"))?;
                let list =
                    patches_of(list).map_err(|e| anyhow::anyhow!("--patches {text}: {e}"))?;
                all.entry(name.to_owned()).or_default().extend(list);
            }
            return Ok(VisiblePatches::Patches(all));
        }
        let Some(text) = &self.visible else {
            return Ok(VisiblePatches::Sampled(model.spec().masking.num_encoded_tokens));
        };
        if let Ok(count) = text.parse() {
            return Ok(VisiblePatches::Sampled(count));
        }
        let one = |part: &str| {
            let (name, count) = part.split_once('=')?;
            Some((name.trim().to_owned(), count.trim().parse().ok()?))
        };
        let counts: Option<IndexMap<String, usize>> = text.split(',').map(one).collect();
        let counts = counts.with_context(|| {
            format!(
                "--visible {text}: expected a number, or MODALITY=NUMBER,... as in rgb=20,depth=5"
            )
        })?;
        Ok(VisiblePatches::Counts(counts))
    }

    fn attention(&self, saved: &SavedModel) -> anyhow::Result<()> {
        let depth = saved.card.model.encoder.depth;
        let blocks = if self.blocks.is_empty() { vec![depth - 1] } else { self.blocks.clone() };
        let sources = FrameSources::find(&self.input, self.split.as_deref(), &saved.card)?;
        notices(&sources);
        let dataset = Arc::new(sources.dataset);
        let count = dataset.len().min(self.frames);
        let device = self.model.device()?;
        let size = saved.card.input_size();
        let patch = saved.card.model.patch_size;
        let grid = (size.height / patch, size.width / patch);
        let bar = terminal::bar(count as u64, "frames");
        for index in 0..count {
            let sample = sample_of(saved, &dataset, index)?;
            let choice = (blocks.as_slice(), self.head, self.each);
            let maps = attention_maps(saved, &sample, &device, choice)?;
            if index == 0 && !maps.iter().any(|map| map.kind != AttentionKind::Global) {
                bar.suspend(|| {
                    terminal::line("note: the model has no prompts; the global token's")
                });
            }
            self.write_picture(&sample.id, &attention_figure(saved, &sample, &maps, grid)?)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.conclude(count)
    }

    fn pools(&self, saved: &SavedModel) -> anyhow::Result<()> {
        let [InputPath { modality: None, path }] = self.input.as_slice() else {
            bail!("--usage needs one --input: a folder of data with labels, and --split");
        };
        let bar = terminal::bar(0, "frames");
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let data = (path.as_path(), self.split.as_deref());
        let usage = pool_usage(saved, data, &self.model.device()?, progress)?;
        bar.finish_and_clear();
        let json = serde_json::to_string_pretty(&json!(usage))?;
        self.write("usage.json", format!("{json}\n").as_bytes())?;
        self.write_picture("usage", &usage_figure(&usage))?;
        terminal::line(&format!("in {}", self.out.display()));
        Ok(())
    }

    fn write_picture(&self, id: &str, picture: &Picture) -> anyhow::Result<()> {
        self.write(&format!("{id}.png"), &picture.png()?)
    }

    fn write_arrays(
        &self,
        model: &Pretrained,
        view: &PretrainView,
        predictions: &IndexMap<String, Vec<f32>>,
    ) -> anyhow::Result<()> {
        for task in &model.spec().objective.tasks {
            let (Some(values), Some(map)) =
                (predictions.get(&task.name), view.maps().get(&task.target))
            else {
                continue;
            };
            let array = output::array(values, map)?;
            self.write(&format!("{}.{}.npy", view.id(), task.name), &array)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        output::write(&self.out, name, bytes, self.force)
    }

    fn conclude(&self, count: usize) -> anyhow::Result<()> {
        terminal::line(&format!("{count} frames, in {}", self.out.display()));
        Ok(())
    }
}

fn notices(sources: &FrameSources) {
    for notice in sources.notices() {
        terminal::line(&format!("note: {notice}"));
    }
}
