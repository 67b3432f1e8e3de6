//! Benchmark cases and their sizes: `case.json`, which all programs read.

use serde::{Deserialize, Serialize};

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BenchmarkKind {
    /// A step of masked pre-training: RGB, depth and labels in, these and normalised RGB out.
    Pretrain,
    /// A step of training everything for depth (DPT) and labels (ConvNeXt) from RGB.
    Joint,
    /// The same with a frozen backbone: deep prompts and heads are trained.
    Prompts,
    /// A forward pass to depth and labels.
    Inference,
    /// Forward and backward pass of both heads on given layers.
    Heads,
    /// Making samples from files: decoding, cropping, resizing, normalising.
    Loading,
    /// A process from its start to a predicted picture.
    Startup,
}

impl BenchmarkKind {
    /// Whether it is done by a program that answers to every step; otherwise every step is a
    /// program of its own.
    #[must_use]
    pub fn has_worker(self) -> bool {
        self != Self::Startup
    }

    /// Whether it has a model that all programs must agree about.
    #[must_use]
    pub fn has_loss(self) -> bool {
        !matches!(self, Self::Loading | Self::Startup)
    }
}

/// Sizes of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderSizes {
    /// Embedding dimension.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of attention.
    pub heads: usize,
}

impl EncoderSizes {
    /// ViT-Small.
    pub const SMALL: Self = Self { dim: 384, depth: 12, heads: 6 };
    /// ViT-Base.
    pub const BASE: Self = Self { dim: 768, depth: 12, heads: 12 };
    /// For tests.
    pub const TOY: Self = Self { dim: 32, depth: 4, heads: 2 };
}

/// The decoders of pre-training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoders {
    /// Width.
    pub dec_dim: usize,
    /// Blocks behind the cross-attention.
    pub dec_depth: usize,
    /// Heads of attention.
    pub dec_heads: usize,
    /// Visible tokens of a sample.
    pub keep: usize,
}

/// The heads of depth (DPT) and of labels (ConvNeXt).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// Blocks that DPT reads, from 0.
    pub hooks: [usize; 4],
    /// Channels of DPT's four maps.
    pub layer_dims: [usize; 4],
    /// Channels of DPT's fusion.
    pub feature_dim: usize,
    /// Width of the ConvNeXt head.
    pub head_dim: usize,
    /// Its blocks.
    pub head_depth: usize,
    /// Its maps' pixels per patch.
    pub preds_per_patch: usize,
    /// Classes.
    pub num_classes: usize,
}

impl Heads {
    /// As published for NYUv2.
    pub const PUBLISHED: Self = Self {
        hooks: [2, 5, 8, 11],
        layer_dims: [96, 192, 384, 768],
        feature_dim: 256,
        head_dim: 6144,
        head_depth: 4,
        preds_per_patch: 16,
        num_classes: 40,
    };
    /// For tests.
    pub const TOY: Self = Self {
        hooks: [0, 1, 2, 3],
        layer_dims: [8, 12, 16, 24],
        feature_dim: 12,
        head_dim: 64,
        head_depth: 1,
        preds_per_patch: 16,
        num_classes: 7,
    };
}

/// Files that samples are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The data set's folder.
    pub data: String,
    /// The list of frames in it, without `.txt`.
    pub list: String,
    /// The folder of the labels.
    pub labels: String,
}

/// One measurement: a kind of work and its sizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkCase {
    /// Its name.
    pub name: String,
    /// The kind of the case.
    #[serde(rename = "work")]
    pub kind: BenchmarkKind,
    /// Samples at once.
    pub batch: usize,
    /// Height and width of images.
    pub image: [usize; 2],
    /// Side of a patch.
    pub patch: usize,
    /// The encoder.
    #[serde(flatten)]
    pub sizes: EncoderSizes,
    /// Global tokens.
    pub global_tokens: usize,
    /// Modalities that go in.
    pub in_domains: Vec<String>,
    /// Classes of labels that go in.
    pub classes: usize,
    /// Width of their embedding.
    pub dim_class_emb: usize,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Of AdamW.
    pub betas: [f64; 2],
    /// Only for pre-training.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub decoders: Option<Decoders>,
    /// Only for depth and labels.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub task_heads: Option<Heads>,
    /// Prompts of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_length: Option<usize>,
    /// Only for loading.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Only for start-up: the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// Side of images, as published.
const IMAGE: usize = 224;

impl BenchmarkCase {
    fn new(name: &str, kind: BenchmarkKind, sizes: EncoderSizes, batch: usize) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            batch,
            image: [IMAGE, IMAGE],
            patch: 16,
            sizes,
            global_tokens: 1,
            in_domains: vec!["rgb".to_owned()],
            classes: 133,
            dim_class_emb: 64,
            lr: 1e-4,
            weight_decay: 0.05,
            betas: [0.9, 0.95],
            decoders: None,
            task_heads: None,
            prompt_length: None,
            files: None,
            picture: None,
        }
    }

    /// A pre-training step with 98 visible tokens and the published decoders.
    #[must_use]
    pub fn pretrain(name: &str, sizes: EncoderSizes, batch: usize) -> Self {
        Self {
            in_domains: ["rgb", "depth", "semseg"].map(str::to_owned).to_vec(),
            decoders: Some(Decoders { dec_dim: 256, dec_depth: 2, dec_heads: 8, keep: 98 }),
            ..Self::new(name, BenchmarkKind::Pretrain, sizes, batch)
        }
    }

    /// Work with the published heads.
    #[must_use]
    pub fn with_heads(name: &str, kind: BenchmarkKind, sizes: EncoderSizes, batch: usize) -> Self {
        Self {
            task_heads: Some(Heads::PUBLISHED),
            prompt_length: (kind == BenchmarkKind::Prompts).then_some(10),
            ..Self::new(name, kind, sizes, batch)
        }
    }

    /// The measurements of a model.
    #[must_use]
    pub fn models() -> Vec<Self> {
        use BenchmarkKind::{Heads, Inference, Joint, Prompts};
        vec![
            Self::pretrain("pretrain-small", EncoderSizes::SMALL, 16),
            Self::pretrain("pretrain-base", EncoderSizes::BASE, 8),
            Self::with_heads("joint-base", Joint, EncoderSizes::BASE, 2),
            Self::with_heads("prompts-base", Prompts, EncoderSizes::BASE, 2),
            Self::with_heads("inference-base-1", Inference, EncoderSizes::BASE, 1),
            Self::with_heads("inference-base-8", Inference, EncoderSizes::BASE, 8),
            Self::with_heads("heads-base", Heads, EncoderSizes::BASE, 2),
        ]
    }

    /// Samples from files.
    #[must_use]
    pub fn loading(name: &str, files: Files) -> Self {
        let case = Self::new(name, BenchmarkKind::Loading, EncoderSizes::SMALL, 32);
        Self { files: Some(files), ..case }
    }

    /// The same kinds of work at sizes that take no time.
    #[must_use]
    pub fn toys(cases: &[Self]) -> Vec<Self> {
        let toy = |case: &Self| Self {
            image: [64, 64],
            sizes: EncoderSizes::TOY,
            classes: 9,
            dim_class_emb: 8,
            batch: 2,
            decoders: case.decoders.map(|_| Decoders {
                dec_dim: 16,
                dec_depth: 1,
                dec_heads: 2,
                keep: 12,
            }),
            task_heads: case.task_heads.map(|_| Heads::TOY),
            prompt_length: case.prompt_length.map(|_| 3),
            ..case.clone()
        };
        cases.iter().map(toy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read_as_they_are_written() {
        for case in
            BenchmarkCase::models().into_iter().chain(BenchmarkCase::toys(&BenchmarkCase::models()))
        {
            let text = serde_json::to_string(&case).unwrap();
            assert_eq!(serde_json::from_str::<BenchmarkCase>(&text).unwrap(), case);
        }
        let case = BenchmarkCase::pretrain("a", EncoderSizes::SMALL, 4);
        let value = serde_json::to_value(&case).unwrap();
        // All programs know the keys as flat ones.
        assert_eq!(
            (&value["dim"], &value["keep"], &value["work"]),
            (&384.into(), &98.into(), &"pretrain".into())
        );
        assert!(value.get("hooks").is_none());
    }
}
