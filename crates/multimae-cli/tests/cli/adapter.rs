//! Adapters from the command line: a tuned model is its backbone and its adapter, merged or not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Scratch, fail, succeed};
use fs_err as fs;
use indexmap::IndexMap;
use multimae::state::StateDict;
use multimae::weights::{read_weights, write_safetensors};

const JOINT: &str = "
out_domains: depth-semseg
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label}
num_classes: 5
seg_reduce_zero_label: true
split: train
eval_split: train
model: {width: 32, depth: 2, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  depth: {width: 16, depth: 1}
  semseg: {width: 16, depth: 1}
batch_size: 4
epochs: 2
lr: 0.01
scale_jitter: [1.0, 1.0]
";

fn multimae() -> Command {
    Command::new(env!("CARGO_BIN_EXE_multimae"))
}

struct Tuned {
    scratch: Scratch,
}

impl Tuned {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::write(scratch.recipe(), JOINT).unwrap();
        let recipe = scratch.path("pretrain.yaml");
        fs::write(&recipe, crate::common::RECIPE).unwrap();
        for (out, seed) in [("pre", "seed=0"), ("other", "seed=1")] {
            let arguments = ["--set", "epochs=1", "--set", seed];
            succeed(&mut scratch.train("pretrain", &recipe, out, &arguments));
        }
        Self { scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn tune(&self, out: &str, keys: &[&str]) {
        let pre = format!("finetune={}", self.path("pre").display());
        let mut arguments = vec!["--set", &pre];
        arguments.extend(keys.iter().flat_map(|key| ["--set", key]));
        let recipe = self.scratch.recipe();
        succeed(&mut self.scratch.train("finetune", &recipe, out, &arguments));
    }

    /// The depth and the labels that a model predicts for all frames.
    fn predicted(&self, out: &str, model: &[&str]) -> Vec<Vec<u8>> {
        let (rgb, out) = (self.scratch.data().join("rgb"), self.path(out));
        let mut command = multimae();
        command.arg("predict").args(model).arg("--input").arg(rgb).arg("--out").arg(&out);
        succeed(command.arg("--no-overlays"));
        let read = |file: &str| fs::read(out.join(file)).unwrap();
        vec![read("depth/001.npy"), read("semseg/001.png")]
    }
}

/// The values of a `.npy` file of 32-bit floats.
fn floats(npy: &[u8]) -> Vec<f32> {
    let start = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    npy[start..].chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn a_tuned_model_is_its_backbone_and_its_adapter() {
    let tuned = Tuned::new();
    let text = |path: PathBuf| path.display().to_string();
    let pre = text(tuned.path("pre"));
    let modes: [(&str, &[&str]); 5] = [
        ("lora", &["tuning=lora"]),
        ("ssf", &["tuning=ssf"]),
        ("norm", &["tuning=norm+bias"]),
        ("deep", &["tuning=prompts", "prompts={kind: deep, count: 2}", "branch_at=1"]),
        ("head", &["tuning=head", "entry_norms=true"]),
    ];
    for (run, keys) in modes {
        tuned.tune(run, keys);
        let model = text(tuned.path(run).join("model.safetensors"));
        let adapter = text(tuned.path(run).join("adapter.safetensors"));
        let size = |path: &str| fs::metadata(path).unwrap().len();
        assert!(size(&adapter) < size(&model), "{run}");
        let whole = tuned.predicted(&format!("{run}-model"), &["--model", &model]);
        let both = ["--model", &pre, "--adapter", &adapter];
        assert_eq!(tuned.predicted(&format!("{run}-adapter"), &both), whole, "{run}");

        // Merged, the weights are others in shape and number, and the model is the same.
        let merged = text(tuned.path(&format!("{run}.safetensors")));
        let arguments = ["adapter", "merge", "--backbone", &pre, "--adapter", &adapter];
        let merge = || {
            let mut command = multimae();
            command.args(arguments).args(["--out", &merged]);
            command
        };
        succeed(&mut merge());
        assert!(fail(&mut merge()).contains("--force"));
        let got = tuned.predicted(&format!("{run}-merged"), &["--model", &merged]);
        for (got, expected) in floats(&got[0]).iter().zip(floats(&whole[0])) {
            assert!((got - expected).abs() < 1e-5, "{run}: {got} {expected}");
        }

        // Another backbone is refused.
        let mut command = multimae();
        let other = text(tuned.path("other"));
        let data = text(tuned.scratch.data());
        command.args(["evaluate", "--model", &other, "--adapter", &adapter, "--data", &data]);
        let message = fail(command.args(["--protocol", "nyuv2-depth"]));
        assert!(message.contains("not the backbone of this adapter"), "{message}");
    }

    let output = |arguments: &[&str]| {
        let output = multimae().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let file = |run: &str| text(tuned.path(run).join("adapter.safetensors"));
    let shown = output(&["adapter", "show", &file("deep"), "--all"]);
    for words in ["tuning     prompts", "sha256", "5 classes", "task_prompts.depth.tokens", "heads"]
    {
        assert!(shown.contains(words), "`{words}` is not in {shown}");
    }
    let same = output(&["adapter", "diff", &file("deep"), &file("deep")]);
    assert!(!same.contains('|') && same.contains("tensors are identical"), "{same}");
    let differs = output(&["adapter", "diff", &file("deep"), &file("head")]);
    for words in ["prompts | head", "only in the first", "entry_norms", "largest difference"] {
        assert!(differs.contains(words), "`{words}` is not in {differs}");
    }
    let message = fail(
        multimae()
            .args(["predict", "--model", &file("deep"), "--input", "."])
            .args(["--out", &text(tuned.path("nothing"))]),
    );
    assert!(message.contains("--adapter"), "{message}");
}

/// A backbone among several state dicts of a file is that of the key.
#[test]
fn a_key_chooses_the_backbone_that_an_adapter_is_merged_with() {
    let tuned = Tuned::new();
    tuned.tune("lora", &["tuning=lora", "epochs=1"]);
    let mut both = StateDict::new();
    for run in ["pre", "other"] {
        let weights = read_weights(&tuned.path(run).join("model.safetensors")).unwrap().weights;
        both.extend(weights.into_iter().map(|(name, data)| (format!("{run}.{name}"), data)));
    }
    let bytes = write_safetensors(&both, &IndexMap::new()).unwrap();
    fs::write(tuned.path("both.safetensors"), bytes).unwrap();
    let merge = |key: &[&str], out: &str| {
        let mut command = multimae();
        command.args(["adapter", "merge", "--backbone"]).arg(tuned.path("both.safetensors"));
        command.arg("--adapter").arg(tuned.path("lora")).arg("--out").arg(tuned.path(out));
        command.args(key);
        command
    };
    assert!(fail(&mut merge(&[], "x")).contains("several state dicts"));
    let message = fail(&mut merge(&["--weights-key", "other"], "x"));
    assert!(message.contains("not the backbone of this adapter"), "{message}");
    succeed(&mut merge(&["--weights-key", "pre"], "merged.safetensors"));
    assert!(tuned.path("merged.safetensors").is_file() && !tuned.path("x").exists());
}

#[test]
fn a_run_goes_on_from_the_prompts_of_an_adapter() {
    let tuned = Tuned::new();
    let deep = ["tuning=prompts", "prompts={kind: deep, count: 2}"];
    tuned.tune("first", &deep);
    let init = format!("prompt_init={}", tuned.path("first").join("adapter.safetensors").display());
    tuned.tune("second", &[&deep[..], &[&init, "lr=1e-9", "epochs=1"]].concat());
    let prompts = |run: &str| {
        let path = tuned.path(run).join("adapter.safetensors");
        let weights = read_weights(&path).unwrap().weights;
        weights["prompts.tokens"].iter::<f32>().collect::<Vec<f32>>()
    };
    for (a, b) in prompts("first").iter().zip(prompts("second")) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    let pre = format!("finetune={}", tuned.path("pre").display());
    let other = ["--set", &pre, "--set", &init, "--set", "tuning=prompts", "--set"];
    let other = [&other[..], &["prompts={kind: prefix, count: 2}"]].concat();
    let recipe = tuned.scratch.recipe();
    let message = fail(&mut tuned.scratch.train("finetune", &recipe, "third", &other));
    assert!(message.contains("its prompts are not those"), "{message}");
}
