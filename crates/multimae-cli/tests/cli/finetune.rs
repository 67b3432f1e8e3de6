//! Fine-tuning from the command line: what it writes, that a resumed run is the undisturbed one,
//! and that bad input is an error that says what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![cfg(unix)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Scratch, fail, stderr, succeed};
use fs_err as fs;
use image::{GrayImage, Luma};
use indexmap::IndexMap;
use multimae::state::StateDict;
use multimae::weights::read_weights;
use multimae_train::run::RunResult;

/// A model of seconds that learns depth and labels together.
const JOINT: &str = "
out_domains: depth-semseg
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label}
num_classes: 5
seg_reduce_zero_label: true
split: train
eval_split: val
model: {width: 32, depth: 2, heads: 2}
patch_size: 8
input_size: [24, 32]
output_adapter: light
heads:
  depth: {width: 16, depth: 1}
  semseg: {width: 16, depth: 1}
drop_path_encoder: 0.2
batch_size: 2
update_freq: 2
epochs: 6
warmup_epochs: 1
lr: 0.002
task_balancer: uncertainty
model_ema: true
model_ema_decay: 0.5
aug_name: simple
scale_jitter: [0.7, 1.5]
num_workers: 2
prefetch: 8
save_ckpt_freq: 1
log_freq: 1
log_images_freq: 3
log_images: 2
";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.recipe(), JOINT).unwrap();
    fs::write(scratch.data().join("val.txt"), "001\n004\n009\n").unwrap();
    scratch
}

fn finetune(scratch: &Scratch, out: &str, further: &[&str]) -> Command {
    scratch.train("finetune", &scratch.recipe(), out, further)
}

/// Pre-trains for an epoch, into the folder `pre`.
fn pretrain(scratch: &Scratch) {
    let recipe = scratch.path("pretrain.yaml");
    fs::write(&recipe, crate::common::RECIPE).unwrap();
    succeed(&mut scratch.train("pretrain", &recipe, "pre", &["--set", "epochs=1"]));
}

/// The weights of a finished run by name.
fn weights(scratch: &Scratch, run: &str) -> StateDict {
    read_weights(&scratch.path(run).join("model.safetensors")).unwrap().weights
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn an_interrupted_run_ends_like_the_undisturbed_one() {
    let scratch = scratch();
    let longer = ["--set", "epochs=30", "--set", "eval_freq=5", "--set", "save_ckpt_steps=2"];
    let output = finetune(&scratch, "whole", &longer).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_says(&table, &["val", "depth_delta_1", "semseg_miou", "predicting constant"]);
    let folder = scratch.path("whole");
    for file in ["recipe.yaml", "report.html", "checkpoints/best.safetensors"] {
        assert!(folder.join(file).exists(), "{file} is missing");
    }
    let report = fs::read_to_string(folder.join("report.html")).unwrap();
    assert_says(&report, &["layer_3_no_decay", "predicting a constant", "depth_rmse"]);

    // Ctrl-C once, then a kill, then to the end.
    let run = scratch.path("stopped");
    let records_at_least = |lines: usize| {
        let start = Instant::now();
        let count =
            || fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
        while count() < lines {
            assert!(start.elapsed() < Duration::from_secs(300), "waited in vain");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let spawn = |further: &[&str]| {
        let arguments = [&longer, further].concat();
        finetune(&scratch, "stopped", &arguments).stderr(Stdio::piped()).spawn().unwrap()
    };
    let child = spawn(&[]);
    records_at_least(7);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_says(&stderr(&output), &["--resume"]);
    let mut child = spawn(&["--resume"]);
    records_at_least(20);
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed =
        succeed(&mut finetune(&scratch, "stopped", &[&longer[..], &["--resume"]].concat()));
    assert_says(&resumed, &["resuming at step"]);
    assert_eq!(scratch.tensors("stopped"), scratch.tensors("whole"), "weights differ");
    assert_eq!(scratch.records("stopped"), scratch.records("whole"));
    // A finished run has nothing left to do, and another recipe does not resume it.
    succeed(&mut finetune(&scratch, "stopped", &[&longer[..], &["--resume"]].concat()));
    assert_eq!(scratch.records("stopped"), scratch.records("whole"));
    let other = [&longer[..], &["--resume", "--set", "layer_decay=0.5"]].concat();
    let message = fail(&mut finetune(&scratch, "stopped", &other));
    assert_says(&message, &["`layer_decay` was 0.75, now 0.5"]);
}

#[test]
fn pretrained_weights_are_loaded_and_what_is_not_is_listed() {
    let scratch = scratch();
    pretrain(&scratch);
    let from = |what: &str| format!("finetune={}", scratch.path(what).display());
    let (pre, nothing) = (from("pre"), from("nothing"));
    let short = ["--set", "epochs=1", "--set"];
    let message = succeed(&mut finetune(&scratch, "a", &[&short[..], &[&pre]].concat()));
    assert_says(&message, &["tensors loaded", "output_adapters.depth", "input_adapters.semseg"]);
    let checkpoints = fs::read_dir(scratch.path("pre/checkpoints")).unwrap();
    let checkpoint = checkpoints.map(|entry| entry.unwrap().path()).min().unwrap();
    let checkpoint = format!("finetune={}", checkpoint.display());
    // The checkpoint's averages are what the finished model holds.
    succeed(&mut finetune(&scratch, "b", &[&short[..], &[&checkpoint]].concat()));
    assert_eq!(scratch.tensors("a"), scratch.tensors("b"));
    // Frozen tensors keep every bit; heads learn.
    let frozen = [&short[..], &[&pre, "--set", "freeze_transformer=true"]].concat();
    succeed(&mut finetune(&scratch, "frozen", &frozen));
    let [before, after, free] = ["pre", "frozen", "a"].map(|run| weights(&scratch, run));
    let encoder: Vec<&String> = after.keys().filter(|name| name.starts_with("encoder.")).collect();
    assert_eq!(encoder.len(), 2 * 12);
    for name in &encoder {
        assert_eq!(before[*name], after[*name], "{name}");
    }
    assert!(encoder.iter().any(|name| before[*name] != free[*name]), "unfrozen blocks learn");
    let table = "input_adapters.rgb.pos_emb";
    assert_eq!(before[table], free[table]);
    assert_ne!(before["global_tokens"], after["global_tokens"]);
    // Another image size: tables are resized.
    let larger = [&short[..], &[&pre, "--set", "input_size=[32, 32]"]].concat();
    let message = succeed(&mut finetune(&scratch, "c", &larger));
    assert_says(&message, &["input_adapters.rgb.pos_emb from [1, 32, 3, 4] to [1, 32, 4, 4]"]);
    // Three blocks where the file has two.
    let deeper = ["--set", "model={width: 32, depth: 3, heads: 2}"];
    let deeper = [&short[..], &[&pre], &deeper].concat();
    let message = fail(&mut finetune(&scratch, "d", &deeper));
    assert_says(&message, &["missing `encoder.2.norm1.weight`", "allow_missing"]);
    let allowed = [&deeper[..], &["--set", "allow_missing=[encoder.2.]"]].concat();
    succeed(&mut finetune(&scratch, "d", &allowed));
    let absent = [&short[..], &[&nothing]].concat();
    assert_says(&fail(&mut finetune(&scratch, "e", &absent)), &["nothing"]);
}

#[test]
fn a_finished_run_says_what_it_cost_and_reached() {
    let scratch = scratch();
    let arguments = ["--set", "test_split=train", "--set", "tuning=norm", "--set", "seed=3"];
    succeed(&mut finetune(&scratch, "run", &arguments));
    let path = scratch.path("run/result.json");
    let result = RunResult::read(&path).unwrap();
    assert_eq!((result.tuning.as_str(), result.seed, result.steps), ("norm", 3, 18));
    // 6 epochs of 3 steps, the first two of which do not count.
    let seconds = result.step_seconds.unwrap();
    assert_eq!(seconds.steps, 16);
    assert!(0.0 < seconds.quarter && seconds.quarter <= seconds.median);
    assert!(seconds.median <= seconds.three_quarters);
    assert!(seconds.quarter * 10.0 <= result.training_seconds);
    // Two blocks of two LayerNorms of 32 scales and biases.
    let counts = result.parameters;
    assert_eq!((counts.backbone, counts.added), (2 * 2 * 2 * 32, 0));
    assert_eq!(counts.trained, counts.backbone + counts.heads);
    let tensors = weights(&scratch, "run");
    let values = |keep: fn(&str) -> bool| -> usize {
        let kept = tensors.iter().filter(|(name, _)| keep(name));
        kept.map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum()
    };
    assert_eq!(counts.total, values(|_| true));
    assert_eq!(counts.of_backbone, values(|name| !name.starts_with("output_adapters.")));
    assert_eq!(counts.heads, values(|name| name.starts_with("output_adapters.")));
    let model = scratch.path("run/model.safetensors");
    assert_eq!(result.model_bytes, fs::metadata(model).unwrap().len());
    assert_eq!(result.adapter_bytes, None);
    if cfg!(target_os = "linux") {
        assert!(result.peak_memory.unwrap() > 1 << 20, "{:?}", result.peak_memory);
    }
    // The scores are those of the records.
    let records = scratch.records("run");
    let agrees = |kind: &str, scores: &IndexMap<String, f64>| {
        let record = records.iter().rev().find(|record| record["kind"] == kind).unwrap();
        assert!(scores.contains_key("depth_rmse") && scores.contains_key("semseg_miou"));
        for (name, score) in scores {
            assert_eq!(record[name].as_f64(), Some(*score), "{kind}: {name}");
        }
    };
    let (validation, test) = (result.validation.clone().unwrap(), result.test.clone().unwrap());
    assert_eq!((validation.set.as_str(), test.set.as_str()), ("val", "train"));
    agrees("final", &validation.model);
    agrees("predict_the_mean", &validation.constant);
    agrees("test", &test.model);
    assert_ne!(test.constant, validation.constant);
    assert_eq!(result.recipe["tuning"], "norm");
    // A finished run that is resumed keeps what was measured when it trained.
    succeed(&mut finetune(&scratch, "run", &[&arguments[..], &["--resume"]].concat()));
    assert_eq!(RunResult::read(&path).unwrap(), result);
}

/// The tensors of the pre-training run `pre` that a fine-tuned model has changed in any bit, and
/// those that it has not.
fn moved(scratch: &Scratch, run: &str) -> (Vec<String>, Vec<String>) {
    let read =
        |run: &str| read_weights(&scratch.path(run).join("model.safetensors")).unwrap().weights;
    let (before, after) = (read("pre"), read(run));
    let shared = before.keys().filter(|name| !name.starts_with("output_adapters."));
    let known: Vec<String> = shared.filter(|name| after.contains_key(*name)).cloned().collect();
    known.into_iter().partition(|name| before[name].as_bytes() != after[name].as_bytes())
}

/// Whether a tuning mode trains the parameter of this name.
type Trains = fn(&str) -> bool;

#[test]
fn what_is_frozen_stays_to_the_bit_and_all_that_is_tuned_moves() {
    let scratch = scratch();
    pretrain(&scratch);
    let pre = format!("finetune={}", scratch.path("pre").display());
    let tuned: [(&str, Trains); 5] = [
        ("full", |name| !name.ends_with("pos_emb")),
        ("head", |_| false),
        ("bias", |name| name.ends_with(".bias")),
        ("norm", |name| name.contains(".norm")),
        ("last-1", |name| name.starts_with("encoder.1.")),
    ];
    for (mode, trains) in tuned {
        let tuning = format!("tuning={mode}");
        let arguments = ["--set", &pre, "--set", &tuning, "--set", "model_ema=false"];
        let message = succeed(&mut finetune(&scratch, mode, &arguments));
        assert_says(&message, &["tensors are trained", "backbone"]);
        let (moved, kept) = moved(&scratch, mode);
        assert!(moved.iter().all(|name| trains(name)), "{mode} moved {moved:?}");
        assert!(!kept.iter().any(|name| trains(name)), "{mode} kept {kept:?}");
    }
    let wrong = |mode: &str| fail(&mut finetune(&scratch, "wrong", &["--set", mode]));
    assert_says(&wrong("tuning=last-3"), &["last-3", "has 2 blocks"]);
    assert_says(&wrong("tuning=adapters"), &["adapters", "full | head | bias"]);
}

/// With samples that look alike in every epoch, a pool's queries are computed once; training gives
/// the same as with queries that are computed every time.
#[test]
fn queries_that_are_kept_are_those_that_would_be_computed() {
    let scratch = scratch();
    pretrain(&scratch);
    let pre = format!("finetune={}", scratch.path("pre").display());
    let run = |name: &str, tuning: &str| {
        let keys = [
            &pre,
            tuning,
            "prompts={kind: l2p, entries: 3, length: 2, top_n: 1}",
            "hflip=0",
            "scale_jitter=[1.0, 1.0]",
            "color_augs=false",
            "drop_path_encoder=0",
            "epochs=4",
        ];
        let arguments: Vec<&str> = keys.into_iter().flat_map(|key| ["--set", key]).collect();
        succeed(&mut finetune(&scratch, name, &arguments));
        weights(&scratch, name)
    };
    let kept = run("kept", "tuning=prompts");
    // Norms that learn nothing: the encoder stays, and its queries are not kept.
    let computed = {
        let slow = "backbone_lr_scale=1e-30";
        let arguments = [
            &pre,
            "tuning=prompts+norm",
            slow,
            "prompts={kind: l2p, entries: 3, length: 2, top_n: 1}",
            "hflip=0",
            "scale_jitter=[1.0, 1.0]",
            "color_augs=false",
            "drop_path_encoder=0",
            "epochs=4",
        ];
        let arguments: Vec<&str> = arguments.into_iter().flat_map(|key| ["--set", key]).collect();
        succeed(&mut finetune(&scratch, "computed", &arguments));
        weights(&scratch, "computed")
    };
    for name in ["prompts.keys", "prompts.tokens", "encoder.0.norm1.weight"] {
        let values = |weights: &StateDict| weights[name].iter::<f32>().collect::<Vec<f32>>();
        for (a, b) in values(&kept).into_iter().zip(values(&computed)) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
    }
}

/// The tensors of a run that differ between its first and its last checkpoint, and the others.
fn moved_between_checkpoints(scratch: &Scratch, run: &str) -> (Vec<String>, Vec<String>) {
    let folder = scratch.path(run).join("checkpoints");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("best.safetensors"))
        .collect();
    files.sort();
    let read = |path: &std::path::Path| read_weights(path).unwrap().weights;
    let (before, after) = (read(&files[0]), read(files.last().unwrap()));
    let names = before.keys().filter_map(|name| name.strip_prefix("model/")).map(str::to_owned);
    let model = |weights: &StateDict, name: &str| weights[&format!("model/{name}")].clone();
    names.partition(|name| model(&before, name).as_bytes() != model(&after, name).as_bytes())
}

#[test]
fn what_tuning_adds_is_trained_and_the_rest_is_not() {
    let scratch = scratch();
    pretrain(&scratch);
    let pre = format!("finetune={}", scratch.path("pre").display());
    let added: [(&str, &[&str], Trains); 13] = [
        (
            "prompts",
            &[
                "prompts={kind: l2p, entries: 3, length: 2, top_n: 3, layers: 2, \
                       diversity_weight: 0.1}",
                "prompt_init=self",
            ],
            |name| ["prompts.keys", "prompts.tokens"].contains(&name),
        ),
        (
            "prompts",
            &[
                "prompts={kind: l2p, entries: 2, top_n: 2, length: 2, layers: 2, form: \
                       prefix, keys: per_layer, query: embeddings}",
                "branch_at=1",
            ],
            |name| name.contains("prompts."),
        ),
        (
            "prompts",
            &[
                "prompts={kind: dual, general_first: 0, general_layers: 1, expert_first: 1, \
                       expert_layers: 1, entries: 1, query: global}",
                "branch_at=1",
            ],
            |name| name.contains("prompts."),
        ),
        (
            "prompts",
            &["prompts={kind: coda, entries: 4, length: 4, layers: 2, \
                       orthogonality_weight: 0.1}"],
            |name| name.starts_with("prompts."),
        ),
        ("prompts", &["prompts=prefix", "branch_at=1", "prompt_norms=2"], |name| {
            name.contains("prompts.") || name.starts_with("prompt_norms.")
        }),
        ("lora", &[], |name| name.contains(".lora.")),
        ("lora", &["lora={rank: 2, alpha: 4, targets: [fc1, fc2]}"], |name| {
            name.contains("mlp") && name.contains(".lora.")
        }),
        ("ssf", &[], |name| name.contains(".ssf.")),
        (
            "prompts",
            &["prompts={kind: deep, count: 3, dropout: 0.1}", "prompt_init=self"],
            |name| name == "prompts.tokens",
        ),
        ("prompts", &["prompts={kind: shallow, count: 2, rank: 4, gate: -1.0}"], |name| {
            name.starts_with("prompts.")
        }),
        ("prompts", &["prompts={kind: prefix, count: 2}", "prompt_init=self"], |name| {
            ["prompts.key", "prompts.value"].contains(&name)
        }),
        ("prompts+norm", &["prompts={kind: deep, count: 2}", "branch_at=1"], |name| {
            name.contains("prompts.") || name.contains(".norm")
        }),
        ("prompts", &["prompts=deep", "branch_at=0", "entry_norms=true"], |name| {
            name.starts_with("task_prompts.") || name.starts_with("entry_norms.")
        }),
    ];
    for (index, (mode, keys, trains)) in added.into_iter().enumerate() {
        let run = format!("run{index}");
        let tuning = format!("tuning={mode}");
        let mut arguments = vec!["--set", &pre, "--set", &tuning];
        for key in ["model_ema=false", "keep_ckpt=9", "epochs=3"].iter().chain(keys) {
            arguments.extend(["--set", key]);
        }
        succeed(&mut finetune(&scratch, &run, &arguments));
        let (moved, kept) = moved_between_checkpoints(&scratch, &run);
        let trains = |name: &str| trains(name) || name.starts_with("output_adapters.");
        assert!(moved.iter().all(|name| trains(name)), "{keys:?} moved {moved:?}");
        assert!(!kept.iter().any(|name| trains(name)), "{keys:?} kept {kept:?}");
        assert!(moved.len() > 4, "{keys:?}: {moved:?}");
        let stored = weights(&scratch, &run);
        assert!(moved.iter().all(|name| stored.contains_key(name)), "{:?}", stored.keys());
    }
    let wrong = |keys: &[&str]| {
        let arguments: Vec<&str> = keys.iter().flat_map(|key| ["--set", key]).collect();
        fail(&mut finetune(&scratch, "wrong", &arguments))
    };
    assert_says(&wrong(&["tuning=prompts"]), &["which prompts", "kind: deep"]);
    assert_says(&wrong(&["tuning=norm", "prompts=deep"]), &["norm", "+prompts"]);
    assert_says(&wrong(&["tuning=prompts", "prompts={kind: deep, cuont: 3}"]), &["cuont"]);
    assert_says(
        &wrong(&["tuning=prompts", "prompts={kind: deep, layers: 3}"]),
        &["3 of them", "has 2"],
    );
    assert_says(&wrong(&["tuning=prompts", "prompts=deep", "branch_at=3"]), &["branch_at", "2"]);
    assert_says(&wrong(&["tuning=lora", "lora={rank: 0}"]), &["rank"]);
    assert_says(&wrong(&["tuning=prompts", "prompts={kind: l2p, top_n: 11}"]), &["11", "10"]);
    let penalty = "prompts={kind: l2p, frequency_penalty: true}";
    assert_says(&wrong(&["tuning=prompts", penalty]), &["frequency_penalty", "diversity_weight"]);
    let wide = "prompts={kind: coda, entries: 99, layers: 2}";
    assert_says(&wrong(&["tuning=prompts", wide]), &["99", "at most 32"]);
    let behind = ["tuning=prompts", "prompts={kind: l2p}", "branch_at=1"];
    assert_says(&wrong(&behind), &["branch_at", "no block behind it"]);
}

#[test]
fn bad_input_is_named() {
    let scratch = scratch();
    let set = |key: &str| fail(&mut finetune(&scratch, "run", &["--set", key]));
    assert_says(&set("epohcs=3"), &["did you mean `epochs`"]);
    assert_says(&set("out_domains=[]"), &["out_domains"]);
    assert_says(&set("num_classes=3"), &["semseg", "3 classes", "label"]);
    assert_says(&set("modalities.depth.divisor=1"), &["depth", "no value is valid", "divisor"]);
    assert_says(&set("heads.depth.wdith=3"), &["light head has no `wdith`", "width"]);
    assert_says(&set("use_mask_valid=true"), &["mask_valid", "no folder"]);
    assert_says(&set("in_domains=rgb-depth"), &["`depth` is an input and a task"]);
    assert_says(&set("no_lr_scale_list=[encoder.9]"), &["encoder.9"]);
    assert_says(&set("eval_split=nothing"), &["nothing.txt"]);
    assert!(!scratch.path("run").join("recipe.yaml").exists(), "no run was begun");
    let mut text = JOINT.to_owned();
    text.push_str("\nblr: 0.1\n");
    fs::write(scratch.recipe(), text).unwrap();
    assert_says(&fail(&mut finetune(&scratch, "run", &[])), &["`lr`", "`blr`"]);
}

#[test]
fn images_without_any_label_give_a_finite_loss() {
    let scratch = scratch();
    // Two of the samples that are trained on have no label at all; in batches of one they make
    // batches without a labelled pixel.
    for name in ["000", "002"] {
        let path = scratch.data().join(format!("label/{name}.png"));
        GrayImage::from_pixel(48, 40, Luma([0])).save(&path).unwrap();
    }
    let alone = ["--set", "batch_size=1", "--set", "update_freq=1", "--set", "epochs=1"];
    succeed(&mut finetune(&scratch, "run", &alone));
    let losses: Vec<f64> = scratch
        .records("run")
        .iter()
        .filter(|record| record["kind"] == "train")
        .map(|record| record["semseg_loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), crate::common::SAMPLES);
    assert!(losses.iter().all(|loss| loss.is_finite()));
    assert_eq!(losses.iter().filter(|loss| **loss == 0.0).count(), 2);
}

#[test]
fn every_kind_of_task_is_learned_by_heart() {
    let scratch = scratch();
    let by_heart = [
        "--set",
        "epochs=40",
        "--set",
        "eval_freq=40",
        "--set",
        "drop_path_encoder=0",
        "--set",
        "model_ema=false",
        "--set",
        "task_balancer=normalised",
        "--set",
        "scale_jitter=[1, 1]",
        "--set",
        "hflip=0",
        "--set",
        "color_augs=false",
        "--set",
        "eval_split=train",
        "--set",
        "log_images_freq=40",
        "--set",
        "lr=0.004",
        "--set",
        "update_freq=1",
        "--set",
        "layer_decay=1.0",
    ];
    succeed(&mut finetune(&scratch, "joint", &by_heart));
    let share = |run: &str, key: &str| {
        let records = scratch.records(run);
        let value = |kind: &str| {
            let of_kind = |record: &&serde_json::Value| record["kind"] == kind;
            records.iter().rev().find(of_kind).unwrap()[key].as_f64().unwrap()
        };
        value("final") / value("predict_the_mean")
    };
    // Measured: 0.042, 0.656 and 2.2.
    let (depth, labels) = (share("joint", "depth_loss"), share("joint", "semseg_loss"));
    assert!(depth < 0.15, "depth {depth}");
    assert!(labels < 0.8, "labels {labels}");
    assert!(share("joint", "score") > 1.6, "score {}", share("joint", "score"));
}

#[test]
fn classes_are_folders() {
    let scratch = scratch();
    let images = scratch.path("images");
    for (class, colour) in
        [("blue", [20, 40, 220]), ("green", [30, 200, 40]), ("red", [220, 30, 30])]
    {
        fs::create_dir_all(images.join(class)).unwrap();
        for i in 0..8_u8 {
            let image = image::RgbImage::from_fn(40, 36, |x, y| {
                image::Rgb(colour.map(|c: u8| c.saturating_sub(i * 3) ^ ((x * y) as u8 & 7)))
            });
            image.save(images.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
    let recipe = "
out_domains: cls
model: {width: 32, depth: 2, heads: 2}
patch_size: 8
input_size: 32
batch_size: 6
epochs: 12
lr: 0.002
warmup_epochs: 1
layer_decay: 0.9
log_images: 2
num_workers: 0
";
    fs::write(scratch.recipe(), recipe).unwrap();
    let data = images.to_string_lossy().into_owned();
    let further = ["--data", &data, "--set"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("finetune").arg("--config").arg(scratch.recipe());
    command.arg("--out").arg(scratch.path("run"));
    command.args(further).arg(format!("eval_data_path={data}"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let records = scratch.records("run");
    let top1 = records.last().unwrap()["cls_top1"].as_f64().unwrap();
    assert!(top1 > 0.9, "three colours are told apart: {top1}");
    let wrong = ["--data", &data, "--set", "num_classes=7"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("finetune").arg("--config").arg(scratch.recipe());
    let message = fail(command.arg("--out").arg(scratch.path("other")).args(wrong));
    assert_says(&message, &["`num_classes` is 7", "3 folders"]);
}

/// A tiny encoder; each line of further keys is a run of its own.
const TINY: &str = "
split: train
eval_split: val
model: {width: 32, depth: 4, heads: 2}
patch_size: 16
input_size: 32
batch_size: 4
epochs: 2
warmup_epochs: 0
lr: 0.001
modalities:
  depth: {divisor: 1000}
  semseg: {folder: label}
  shade: {folder: rgb, channels: 3, divisor: 255}
  mask_valid: {folder: mask}
num_workers: 0
log_freq: 1
log_images: 1
";

#[test]
fn every_head_input_and_loss_trains() {
    let scratch = scratch();
    fs::create_dir_all(scratch.data().join("mask")).unwrap();
    for i in 0..crate::common::SAMPLES {
        let path = scratch.data().join(format!("mask/{i:03}.png"));
        GrayImage::from_fn(48, 40, |x, _| Luma([if x < 40 { 255 } else { 0 }])).save(path).unwrap();
    }
    let labels = "num_classes: 5\nseg_reduce_zero_label: true\n";
    let runs = [
        format!(
            "{labels}in_domains: rgb-depth\nuse_mask_valid: true\ndecoder_dim: 64\n\
             decoder_depth: 1\nseg_use_void_label: true\nlearnable_pos_emb: true\n"
        ),
        format!(
            "{labels}in_domains: depth\nheads: {{semseg: {{kind: segmenter, embed_dim: 32, heads: \
             2, depth: 1}}}}\n"
        ),
        format!("{labels}output_adapter: dpt\nheads: {{semseg: {{feature_dim: 16}}}}\n"),
        "out_domains: depth\nloss: silog\naug_name: nyu-augs\ncolor_augs: true\nuse_mask_valid: \
         true\nheads: {depth: {feature_dim: 16}}\n"
            .to_owned(),
        "out_domains: depth\nloss: l1\ndepth_output: log\noutput_adapter: convnext\ndecoder_dim: \
         64\nskip_grad: 1000\n"
            .to_owned(),
        "out_domains: depth-shade\nin_domains: semseg\nmodalities: {depth: {divisor: 1000}, semseg: \
         {folder: label, classes: 6}, shade: {folder: rgb, channels: 3, divisor: 255}}\n\
         output_adapter: light\ntask_balancer: normalised\ntask_weights: {shade: 0.5}\n"
            .to_owned(),
    ];
    for (index, keys) in runs.iter().enumerate() {
        let mut text: String = keys.clone();
        for line in TINY.lines() {
            // The first word decides; nested lines go with their key.
            let key = line.split(':').next().unwrap_or_default();
            let nested = line.starts_with(' ');
            let given = keys.contains("modalities:") && (key == "modalities" || nested);
            if !given {
                text.push_str(line);
                text.push('\n');
            }
        }
        fs::write(scratch.recipe(), text).unwrap();
        let run = format!("run{index}");
        succeed(&mut finetune(&scratch, &run, &[]));
        let records = scratch.records(&run);
        let last = records.last().unwrap().as_object().unwrap();
        assert_eq!(last["kind"], "final", "{keys}");
        for (name, value) in last.iter().filter(|(name, _)| *name != "kind") {
            assert!(value.as_f64().is_some_and(f64::is_finite), "{name} of {keys}: {value}");
        }
    }
}
