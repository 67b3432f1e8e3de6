//! Several processes train as one: here, threads of a group.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fs_err as fs;
use multimae::weights::read_safetensors;
use multimae_config::{Override, Resolved};
use multimae_data::encode::npy;
use multimae_group::{Wire, threads};
use multimae_train::finetune::{FinetuneSetup, Finetuning};
use multimae_train::observer::{Event, Observer, Outcome};
use multimae_train::pretrain::{PretrainSetup, Pretraining};
use multimae_train::run::{ResumeOptions, RunStart};
use multimae_train::together::Together;
use serde_json::Value;
use tempfile::TempDir;

const SIZE: (usize, usize) = (24, 32);
const RESUME: RunStart =
    RunStart::Resume(ResumeOptions { extend: false, accept_changed_files: false });

/// Twelve frames of depth in millimetres and of heights in centimetres, and three others.
fn frames() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (split, ids) in [("train", 0..12), ("val", 20..23)] {
        for (modality, scale) in [("depth", 300.0), ("height", 40.0)] {
            fs::create_dir_all(dir.path().join(split).join(modality)).unwrap();
            for id in ids.clone() {
                write(&dir.path().join(format!("{split}/{modality}/{id}.npy")), id, scale);
            }
        }
    }
    dir
}

fn write(path: &Path, id: usize, scale: f64) {
    let pixels = (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (y, x)));
    let values = pixels
        .map(|(y, x)| (2000.0 + scale * ((x + 7 * id) as f64 / 9.0).sin() + 9.0 * y as f64) as u16);
    let bytes = npy(&values.collect::<Vec<u16>>(), &[SIZE.0, SIZE.1]).unwrap();
    fs::write(path, bytes).unwrap();
}

fn setup(data: &Path, changes: &[&str]) -> PretrainSetup {
    let training = format!("data_path={}", data.join("train").display());
    let evaluation = format!("eval_data_path={}", data.join("val").display());
    let overrides = [
        "model={width: 32, depth: 1, heads: 2}",
        "in_domains=depth-height",
        "out_domains=depth-height",
        "modalities={depth: {divisor: 1000}, height: {channels: 1, divisor: 1000, loss: l1}}",
        "extra_norm_pix_loss=false",
        "patch_size=8",
        "input_size=[24, 32]",
        "num_encoded_tokens=8",
        "decoder_dim=32",
        "decoder_depth=1",
        "decoder_num_heads=2",
        "drop_path=0.2",
        "batch_size=1",
        "update_freq=4",
        "epochs=3",
        "warmup_epochs=1",
        "blr=0.02",
        "log_freq=1",
        "log_images=0",
        "model_ema=true",
        "num_workers=1",
        &training,
        &evaluation,
    ];
    let all = overrides.iter().chain(changes);
    let overrides: Vec<Override> = all.map(|text| text.parse().unwrap()).collect();
    PretrainSetup::new(Resolved::load(None, &overrides).unwrap().recipe).unwrap()
}

/// Keeps what was said and the losses of steps.
#[derive(Default)]
struct Watch {
    notices: Vec<String>,
    losses: Vec<f64>,
    evaluated: Vec<f64>,
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Notice(text) => self.notices.push(text.clone()),
            Event::Step(report) => self.losses.push(report.loss()),
            Event::Evaluated { losses, .. } => self.evaluated.push(losses.values().sum()),
            _ => {}
        }
    }
}

/// A run of `size` threads.
struct Run<'a, 'b> {
    data: &'a dyn Fn(usize) -> &'a Path,
    changes: &'b [&'b str],
    size: usize,
    start: RunStart,
    /// The rank that is asked to stop from the beginning.
    stopped: Option<usize>,
    wire: Wire,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(data: &'a dyn Fn(usize) -> &'a Path, size: usize) -> Self {
        Self { data, changes: &[], size, start: RunStart::New, stopped: None, wire: Wire::F32 }
    }

    fn train(&self, out: &Path) -> Vec<(Result<Outcome, String>, Watch)> {
        let (start, wire, changes, stopped) = (self.start, self.wire, self.changes, self.stopped);
        let data: Vec<_> = (0..self.size).map(|rank| (self.data)(rank).to_owned()).collect();
        threads::run(self.size, |group| {
            use multimae_group::Group as _;
            let (rank, mut watch) = (group.rank(), Watch::default());
            let stop = AtomicBool::new(stopped == Some(rank));
            let together = Together { group: Arc::new(group), wire };
            let setup = setup(&data[rank], changes);
            let run = Pretraining::together(setup, (out, start), &mut watch, together);
            let outcome = run.and_then(|run| run.run(&stop));
            (outcome.map_err(|error| error.to_string()), watch)
        })
    }
}

/// All weights of a run's model as one vector.
fn weights(run: &Path) -> Vec<f32> {
    let (tensors, _) = read_safetensors(&run.join("model.safetensors")).unwrap();
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    names.into_iter().flat_map(|name| tensors[name].iter::<f32>().collect::<Vec<_>>()).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn checkpoints(run: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(run.join("checkpoints")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn any_number_of_processes_trains_the_same_model() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let data = |_: usize| data.path();
    let runs: Vec<_> = [1, 2, 3, 4]
        .into_iter()
        .map(|size| {
            let dir = out.path().join(size.to_string());
            let mut results = Run::new(&data, size).train(&dir);
            for (outcome, _) in &results {
                assert_eq!(outcome.as_ref().unwrap().step, 9);
            }
            assert!(results.iter().skip(1).all(|(_, watch)| watch.losses.is_empty()));
            (results.remove(0).1, weights(&dir))
        })
        .collect();
    let (one, model) = &runs[0];
    assert_eq!(one.losses.len(), 9);
    for (other, weights) in &runs[1..] {
        for (a, b) in
            one.losses.iter().chain(&one.evaluated).zip(other.losses.iter().chain(&other.evaluated))
        {
            assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} and {b}");
        }
        assert!(largest_difference(model, weights) <= 1e-4);
    }
}

#[test]
fn powers_of_two_are_one_process_bit_for_bit() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let data = |_: usize| data.path();
    for passes in [2, 4, 6] {
        let frequency = format!("update_freq={passes}");
        let changes = [frequency.as_str(), "task_balancer=uncertainty", "clip_grad=0.5"];
        let models: Vec<_> = [1, 2, 4]
            .into_iter()
            .filter(|&size| size <= passes)
            .map(|size| {
                let dir = out.path().join(format!("{passes}-{size}"));
                let results = Run { changes: &changes, ..Run::new(&data, size) }.train(&dir);
                assert!(results.iter().all(|(outcome, _)| outcome.is_ok()));
                (weights(&dir), results.into_iter().next().unwrap().1.losses)
            })
            .collect();
        assert!(models.iter().all(|model| *model == models[0]), "{passes} passes");
    }
}

#[test]
fn a_stop_anywhere_stops_all_after_one_step_and_any_number_goes_on() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let data = |_: usize| data.path();
    let whole = out.path().join("whole");
    Run::new(&data, 1).train(&whole);
    for (size, stopped, further) in [(4, 2, 1), (2, 0, 3), (1, 0, 4)] {
        let dir = out.path().join(format!("{size}-{stopped}"));
        let begun = Run { stopped: Some(stopped), ..Run::new(&data, size) }.train(&dir);
        for (outcome, _) in begun {
            let outcome = outcome.unwrap();
            assert!(outcome.interrupted && outcome.step == 1, "{outcome:?}");
        }
        let resumed = Run { start: RESUME, ..Run::new(&data, further) }.train(&dir);
        assert!(resumed.iter().all(|(outcome, _)| outcome.as_ref().unwrap().step == 9));
        assert!(largest_difference(&weights(&whole), &weights(&dir)) <= 1e-4);
    }
}

#[test]
fn a_bad_sample_anywhere_ends_all_with_one_message_and_one_checkpoint() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let reference = out.path().join("reference");
    let path = |_: usize| data.path();
    Run::new(&path, 1).train(&reference);
    // The sample comes in some step of the first epoch, in the part of some process.
    let torn = data.path().join("train/depth/3.npy");
    let whole = fs::read(&torn).unwrap();
    // Of the same size, so that the run can be resumed with it.
    fs::write(&torn, vec![0; whole.len()]).unwrap();
    let dir = out.path().join("run");
    let changes = ["save_ckpt_freq=100"];
    let failed = Run { changes: &changes, ..Run::new(&path, 4) }.train(&dir);
    let messages: Vec<String> =
        failed.iter().map(|(outcome, _)| outcome.clone().unwrap_err()).collect();
    assert!(messages.iter().all(|message| message.contains("`3`")), "{messages:?}");
    let own = messages.iter().filter(|message| !message.starts_with("process ")).count();
    assert_eq!(own, 1, "{messages:?}");
    let steps = failed[0].1.losses.len();
    assert_eq!(checkpoints(&dir).len(), usize::from(steps > 0), "{steps} steps");
    // Without the fault, the run ends as if nothing had been.
    fs::write(&torn, whole).unwrap();
    let start = if steps > 0 { RESUME } else { RunStart::New };
    let resumed = Run { changes: &changes, start, ..Run::new(&path, 2) }.train(&dir);
    assert!(resumed.iter().all(|(outcome, _)| outcome.as_ref().unwrap().step == 9));
    assert!(largest_difference(&weights(&reference), &weights(&dir)) <= 1e-4);
}

#[test]
fn bad_samples_that_are_left_out_change_nothing_about_that() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    for id in [1, 7] {
        fs::write(data.path().join(format!("train/depth/{id}.npy")), b"torn").unwrap();
    }
    let path = |_: usize| data.path();
    let changes = ["bad_samples=skip"];
    let runs: Vec<_> = [1, 2, 4]
        .into_iter()
        .map(|size| {
            let dir = out.path().join(size.to_string());
            let mut results = Run { changes: &changes, ..Run::new(&path, size) }.train(&dir);
            let (outcome, watch) = results.remove(0);
            assert_eq!(outcome.unwrap().rejected, 2);
            let left_out = watch.notices.iter().filter(|notice| notice.starts_with("left out"));
            assert_eq!(left_out.count(), 6, "{:?}", watch.notices);
            (watch.losses, weights(&dir))
        })
        .collect();
    for (losses, weights) in &runs[1..] {
        for (a, b) in runs[0].0.iter().zip(losses) {
            assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} and {b}");
        }
        assert!(largest_difference(&runs[0].1, weights) <= 1e-4);
    }
}

#[test]
fn more_processes_than_passes_are_refused_before_anything_is_written() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let path = |_: usize| data.path();
    let dir = out.path().join("run");
    let changes = ["batch_size=4", "update_freq=1"];
    for (outcome, _) in (Run { changes: &changes, ..Run::new(&path, 2) }).train(&dir) {
        let message = outcome.unwrap_err();
        assert!(message.contains("`batch_size: 2`"), "{message}");
        assert!(message.contains("`update_freq: 2`"), "{message}");
    }
    assert!(!dir.exists());
}

#[test]
fn a_process_with_other_data_is_named() {
    let (data, other, out) = (frames(), frames(), tempfile::tempdir().unwrap());
    fs::rename(other.path().join("train/depth/3.npy"), other.path().join("train/depth/x.npy"))
        .unwrap();
    fs::rename(other.path().join("train/height/3.npy"), other.path().join("train/height/x.npy"))
        .unwrap();
    let path = |rank: usize| if rank == 1 { other.path() } else { data.path() };
    for (outcome, _) in Run::new(&path, 3).train(&out.path().join("run")) {
        let message = outcome.unwrap_err();
        assert!(message.contains("process 1 has another recipe or other data"), "{message}");
    }
}

#[test]
fn halved_gradients_train_nearly_the_same() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let path = |_: usize| data.path();
    let losses: Vec<Vec<f64>> = [Wire::F32, Wire::Bf16]
        .into_iter()
        .map(|wire| {
            let dir = out.path().join(format!("{wire:?}"));
            let mut results = Run { wire, ..Run::new(&path, 2) }.train(&dir);
            results.remove(0).1.losses
        })
        .collect();
    assert_ne!(losses[0], losses[1], "nothing was rounded");
    for (a, b) in losses[0].iter().zip(&losses[1]) {
        assert!((a - b).abs() <= 1e-2 * a.abs(), "{a} and {b}");
    }
}

#[test]
fn the_folder_and_its_records_know_no_number_of_processes() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let path = |_: usize| data.path();
    let recipes: Vec<String> = [1, 2]
        .into_iter()
        .map(|size| {
            let dir = out.path().join(size.to_string());
            Run::new(&path, size).train(&dir);
            let metrics = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
            let steps = metrics.lines().filter(|line| {
                let record: Value = serde_json::from_str(line).unwrap();
                record["kind"] == "train"
            });
            assert_eq!(steps.count(), 9, "{metrics}");
            fs::read_to_string(dir.join("recipe.yaml")).unwrap()
        })
        .collect();
    assert_eq!(recipes[0], recipes[1]);
}

/// Depth from heights, with prompts of a pool.
fn finetune_setup(data: &Path) -> FinetuneSetup {
    let training = format!("data_path={}", data.join("train").display());
    let evaluation = format!("eval_data_path={}", data.join("val").display());
    let overrides = [
        "model={width: 32, depth: 2, heads: 2}",
        "in_domains=height",
        "out_domains=depth",
        "modalities={depth: {divisor: 1000}, height: {channels: 1, divisor: 1000}}",
        "patch_size=8",
        "input_size=[24, 32]",
        "output_adapter=light",
        "heads={depth: {width: 16, depth: 1}}",
        "tuning=prompts",
        "prompts={kind: l2p}",
        "aug_name=simple",
        "drop_path_encoder=0.2",
        "batch_size=1",
        "update_freq=4",
        "epochs=2",
        "warmup_epochs=1",
        "lr=0.002",
        "log_freq=1",
        "log_images=0",
        "num_workers=1",
        &training,
        &evaluation,
    ];
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    FinetuneSetup::new(Resolved::load(None, &overrides).unwrap().recipe).unwrap()
}

#[test]
fn fine_tuning_by_several_processes_is_that_of_one() {
    let (data, out) = (frames(), tempfile::tempdir().unwrap());
    let models: Vec<_> = [1, 2, 4]
        .into_iter()
        .map(|size| {
            let dir = out.path().join(size.to_string());
            let losses = threads::run(size, |group| {
                let mut watch = Watch::default();
                let together = Together { group: Arc::new(group), wire: Wire::F32 };
                let setup = finetune_setup(data.path());
                let run = (dir.as_path(), RunStart::New);
                let run = Finetuning::together(setup, run, &mut watch, together).unwrap();
                let outcome = run.run(&AtomicBool::new(false)).unwrap();
                assert_eq!(outcome.step, 6);
                watch.losses
            });
            assert_eq!(losses[0].len(), 6);
            (weights(&dir), losses.into_iter().next().unwrap())
        })
        .collect();
    assert!(models.iter().all(|model| *model == models[0]));
}
