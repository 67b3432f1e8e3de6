//! Progressive training: the size of the images and the number of visible tokens change during a
//! run, and a resumed run changes them at the same steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use multimae_config::{Override, Resolved};
use multimae_data::Batch;
use multimae_data::encode::npy;
use multimae_train::observer::{Event, Observer};
use multimae_train::pretrain::{PretrainSetup, Pretraining, evaluate};
use multimae_train::run::{ResumeOptions, RunStart};
use serde_json::Value;
use tempfile::TempDir;

const SIZE: (usize, usize) = (48, 64);

/// 3 epochs of 3 steps; the size changes in the middle of the second one.
const SIZES: &str = "input_size_schedule=[[0, [24, 32]], [0.5, [48, 64]]]";
/// Another number of visible tokens from the eighth step on.
const TOKENS: &str = "num_encoded_tokens_schedule=[[0, 4], [0.8, 12]]";

/// Six frames of depth in millimetres, each under two names: `train/` and `val/`.
fn frames() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        fs::create_dir_all(dir.path().join(split).join("depth")).unwrap();
        for id in 0..6 {
            let pixels = (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (y, x)));
            let depth = pixels.map(|(y, x)| {
                (2000.0 + 300.0 * ((x + 7 * id) as f64 / 9.0).sin() + 9.0 * y as f64) as u16
            });
            let bytes = npy(&depth.collect::<Vec<u16>>(), &[SIZE.0, SIZE.1]).unwrap();
            fs::write(dir.path().join(format!("{split}/depth/{id}.npy")), bytes).unwrap();
        }
    }
    dir
}

fn setup(data: &Path, changes: &[&str]) -> PretrainSetup {
    let training = format!("data_path={}", data.join("train").display());
    let evaluation = format!("eval_data_path={}", data.join("val").display());
    let overrides = [
        "model={width: 32, depth: 1, heads: 2}",
        "in_domains=depth",
        "out_domains=depth",
        "modalities={depth: {divisor: 1000}}",
        "extra_norm_pix_loss=false",
        "patch_size=8",
        "input_size=[48, 64]",
        "num_encoded_tokens=12",
        "decoder_dim=32",
        "decoder_depth=1",
        "decoder_num_heads=2",
        "drop_path=0.2",
        "batch_size=1",
        "update_freq=2",
        "epochs=3",
        "warmup_epochs=1",
        "blr=1.0",
        "log_freq=1",
        "log_images=1",
        "num_workers=2",
        &training,
        &evaluation,
    ];
    let all = overrides.iter().chain(changes);
    let overrides: Vec<Override> = all.map(|text| text.parse().unwrap()).collect();
    PretrainSetup::new(Resolved::load(None, &overrides).unwrap().recipe).unwrap()
}

/// Sets the flag that stops a run after a number of steps.
struct StopAfter<'a> {
    steps: u64,
    stop: &'a AtomicBool,
    notices: Vec<String>,
}

impl Observer for StopAfter<'_> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Notice(text) => self.notices.push(text.clone()),
            Event::Step(report) if report.step + 1 == self.steps => {
                self.stop.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Trains in a folder, at most up to this step, and returns the notices.
fn train(setup: PretrainSetup, out: &Path, start: RunStart, steps: u64) -> Vec<String> {
    let stop = AtomicBool::new(false);
    let mut observer = StopAfter { steps, stop: &stop, notices: Vec::new() };
    Pretraining::new(setup, out, start, &mut observer).unwrap().run(&stop).unwrap();
    observer.notices
}

/// The tensors of a run's model; its metadata holds the recipe.
fn tensors(run: &Path) -> Vec<u8> {
    let bytes = fs::read(run.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

/// The records of a kind without the figures that depend on time.
fn records(run: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let strip = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let fields = record.as_object_mut().unwrap();
        for name in ["samples_per_second", "wait_share", "training_seconds"] {
            fields.shift_remove(name);
        }
        record
    };
    text.lines().map(strip).filter(|record| record["kind"] == kind).collect()
}

/// Height, width and visible tokens of every step in the records.
fn inputs(run: &Path) -> Vec<[u64; 3]> {
    let fields = ["input_height", "input_width", "num_encoded_tokens"];
    let records = records(run, "train");
    records.iter().map(|record| fields.map(|field| record[field].as_u64().unwrap())).collect()
}

fn sizes(batch: &Batch) -> Vec<(usize, usize)> {
    batch.samples.iter().map(|sample| &sample.maps["depth"]).map(|m| (m.height, m.width)).collect()
}

#[test]
fn batches_have_the_size_of_their_step_wherever_a_run_begins() {
    let data = frames();
    for workers in ["num_workers=0", "num_workers=3"] {
        let loader = setup(data.path(), &[SIZES, workers]).training_data().unwrap().loader;
        let all: Vec<Batch> = loader.batches((0, 0), 3).map(Result::unwrap).collect();
        let found: Vec<_> = all.iter().map(sizes).collect();
        // Half of 9 steps is 4.5, and rounded 5: the third step of the second epoch.
        let expected: Vec<_> =
            (0..9).map(|step| vec![if step < 5 { (24, 32) } else { SIZE }; 2]).collect();
        assert_eq!(found, expected);
        for start in 0..9 {
            let rest = loader.batches((start / 3, start % 3), 3).map(Result::unwrap);
            assert!(rest.eq(all[start as usize..].iter().cloned()), "from step {start}");
        }
        let whole = setup(data.path(), &[workers]).training_data().unwrap().loader;
        let whole = whole.batches((1, 2), 3).map(Result::unwrap);
        assert!(whole.eq(all[5..].iter().cloned()), "stages at the whole size change nothing");
    }
}

#[test]
fn runs_are_resumed_bit_exact_before_at_and_after_a_change() {
    let (data, runs) = (frames(), tempfile::tempdir().unwrap());
    let new = || setup(data.path(), &[SIZES, TOKENS]);
    let whole = runs.path().join("whole");
    let notices = train(new(), &whole, RunStart::New, u64::MAX);
    let small = [24, 32, 4];
    let expected = [[small; 5].as_slice(), &[[48, 64, 4]; 2], &[[48, 64, 12]; 2]].concat();
    assert_eq!(inputs(&whole), expected);
    let words = "steps 0 to 4: images of 24 x 32 (height x width), 4 of 12 tokens visible";
    assert!(notices.iter().any(|notice| notice == words), "{notices:?}");
    for steps in [4, 5, 6, 7] {
        let run = runs.path().join(format!("stopped-{steps}"));
        train(new(), &run, RunStart::New, steps);
        assert_eq!(inputs(&run).len() as u64, steps);
        train(new(), &run, RunStart::Resume(ResumeOptions::default()), u64::MAX);
        assert_eq!(tensors(&run), tensors(&whole), "weights after {steps} steps");
        for kind in ["train", "eval"] {
            assert_eq!(records(&run, kind), records(&whole, kind), "{kind} after {steps} steps");
        }
    }
}

#[test]
fn a_schedule_of_one_stage_changes_no_number() {
    let (data, runs) = (frames(), tempfile::tempdir().unwrap());
    let (plain, single) = (runs.path().join("plain"), runs.path().join("single"));
    let notices = train(setup(data.path(), &[]), &plain, RunStart::New, u64::MAX);
    assert!(!notices.iter().any(|notice| notice.contains("tokens visible")), "{notices:?}");
    let one = ["input_size_schedule=[[0, [48, 64]]]", "num_encoded_tokens_schedule=[[0, 12]]"];
    train(setup(data.path(), &one), &single, RunStart::New, u64::MAX);
    assert_eq!(tensors(&plain), tensors(&single));
    assert_eq!(records(&plain, "eval"), records(&single, "eval"));
    assert_eq!(inputs(&single), [[48, 64, 12]; 9]);
    // Without a schedule, records have no further field.
    let mut scheduled = records(&single, "train");
    for record in scheduled.iter_mut().map(|record| record.as_object_mut().unwrap()) {
        for field in ["input_height", "input_width", "num_encoded_tokens"] {
            record.shift_remove(field);
        }
    }
    assert_eq!(records(&plain, "train"), scheduled);
}

#[test]
fn evaluation_is_at_the_final_size_and_masking() {
    let data = frames();
    let losses = |changes: &[&str]| {
        let setup = setup(data.path(), changes);
        let samples = setup.evaluation_data().unwrap().unwrap();
        let first = samples.batches((0, 0), 1).next().unwrap().unwrap();
        assert!(sizes(&first).iter().all(|size| *size == SIZE));
        let learner = setup.learner().unwrap().without_autodiff();
        evaluate(&setup, &learner, &samples).unwrap()
    };
    assert_eq!(losses(&[SIZES, TOKENS]), losses(&[]));
    assert_ne!(losses(&["num_encoded_tokens=4"]), losses(&[]));
}

#[test]
fn a_run_too_short_for_a_stage_leaves_it_out() {
    let data = frames();
    let stages = |steps| setup(data.path(), &[SIZES]).stages(steps).unwrap();
    // 3 epochs without a step, then with one each; half of three steps is rounded to two.
    assert_eq!(stages(0).lines(), [""; 0]);
    let of_three = stages(1);
    let starts: Vec<u64> = of_three.scheduled().iter().map(|stage| stage.first_step).collect();
    assert_eq!(starts, [0, 2]);
    assert_eq!(of_three.at(1).size.height, 24);
    assert_eq!(of_three.at(2).size.height, 48);
    assert_eq!(of_three.lines().len(), 2);
    let one = setup(data.path(), &[SIZES, "epochs=1"]).stages(1).unwrap();
    assert_eq!(one.lines().len(), 1, "{:?}", one.lines());
}
