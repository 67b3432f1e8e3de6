//! A small data set, a small recipe, and the program.

pub(crate) mod browser;
pub(crate) mod checkpoint;
pub(crate) mod tiny_model;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use image::{GrayImage, ImageBuffer, Luma, RgbImage};

pub(crate) const SAMPLES: usize = 12;

/// A folder that goes when it is dropped.
pub(crate) struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    /// With data in `data/` and a recipe in `recipe.yaml`.
    pub(crate) fn new() -> Self {
        let scratch = Self { dir: tempfile::tempdir().unwrap() };
        write_data(&scratch.data());
        fs::write(scratch.recipe(), RECIPE).unwrap();
        scratch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn recipe(&self) -> PathBuf {
        self.path("recipe.yaml")
    }

    /// `multimae pretrain` on the data, with further arguments.
    pub(crate) fn pretrain(&self, out: &str, further: &[&str]) -> Command {
        self.train("pretrain", &self.recipe(), out, further)
    }

    /// A command that trains by a recipe on the data, with further arguments.
    pub(crate) fn train(&self, name: &str, recipe: &Path, out: &str, further: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.arg(name).arg("--config").arg(recipe);
        command.arg("--data").arg(self.data()).arg("--out").arg(self.path(out)).args(further);
        command
    }

    /// The records of a run without the figures that depend on time.
    pub(crate) fn records(&self, run: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap();
        let strip = |line: &str| {
            let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
            let object = record.as_object_mut().unwrap();
            object.shift_remove("samples_per_second");
            object.shift_remove("wait_share");
            object.shift_remove("training_seconds");
            record
        };
        text.lines().map(strip).collect()
    }

    /// The tensors of a run's model file: its metadata holds the run's own paths.
    pub(crate) fn tensors(&self, run: &str) -> Vec<u8> {
        let bytes = fs::read(self.path(run).join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    }
}

/// A model of seconds that has everything: four decoders, balancing, averaging, stochastic depth,
/// accumulation.
pub(crate) const RECIPE: &str = "
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label, classes: 6, ignore: 0}
standardize_depth: true
split: train
model: {width: 32, depth: 2, heads: 2}
drop_path: 0.2
decoder_dim: 16
decoder_depth: 1
decoder_num_heads: 2
patch_size: 8
input_size: [24, 32]
num_encoded_tokens: 12
batch_size: 2
update_freq: 2
epochs: 6
warmup_epochs: 1
blr: 0.1
task_balancer: uncertainty
model_ema: true
model_ema_decay: 0.9
num_workers: 2
prefetch: 8
save_ckpt_freq: 1
log_freq: 1
log_images_freq: 3
log_images: 2
";

fn write_data(dir: &Path) {
    for folder in ["rgb", "depth", "label"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let names: Vec<String> = (0..SAMPLES).map(|i| format!("{i:03}")).collect();
    for (i, name) in names.iter().enumerate() {
        let i = i as u32;
        let file = |folder: &str| dir.join(folder).join(format!("{name}.png"));
        RgbImage::from_fn(48, 40, |x, y| {
            image::Rgb([(x * 5 + i * 9) as u8, (y * 6) as u8, ((x + y) * 2 + i) as u8])
        })
        .save(file("rgb"))
        .unwrap();
        let depth: ImageBuffer<Luma<u16>, Vec<u16>> =
            ImageBuffer::from_fn(48, 40, |x, y| Luma([(800 + 40 * x + 25 * y + 100 * i) as u16]));
        depth.save(file("depth")).unwrap();
        GrayImage::from_fn(48, 40, |x, y| Luma([((x / 9 + y / 7 + i) % 6) as u8]))
            .save(file("label"))
            .unwrap();
    }
    fs::write(dir.join("train.txt"), names.join("\n")).unwrap();
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    stderr(&output)
}

/// Runs a command that must fail with exit code 1, and gives its message.
pub(crate) fn fail(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}
