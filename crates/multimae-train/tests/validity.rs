//! Invalid depth in pre-training: it is no target, no input and in no statistic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::Path;

use multimae_config::{Override, Resolved};
use multimae_data::encode::npy;
use multimae_train::finetune::FinetuneSetup;
use multimae_train::pretrain::{PretrainSetup, evaluate, mean_baseline};
use tempfile::TempDir;

const SIZE: (usize, usize) = (48, 64);

/// Depth around 2 m in millimetres; `hole` is stored in 29 % of the pixels, in patches and alone.
fn frames(hole: Option<u16>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("depth")).unwrap();
    for id in 0..6 {
        let pixels = (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (y, x)));
        let depth = pixels.map(|(y, x)| {
            let wave = (2000.0 + 8.0 * ((x + id) as f64 / 9.0).sin() + 4.0 * (y as f64 / 5.0).cos())
                as u16;
            match hole {
                Some(hole) if x < 17 || (x + 5 * y).is_multiple_of(29) => hole,
                _ => wave,
            }
        });
        let depth: Vec<u16> = depth.collect();
        let bytes = npy(&depth, &[SIZE.0, SIZE.1]).unwrap();
        fs_err::write(dir.path().join(format!("depth/{id}.npy")), bytes).unwrap();
    }
    dir
}

fn setup(data: &Path, changes: &[&str]) -> PretrainSetup {
    let data = format!("data_path={}", data.display());
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
        "batch_size=3",
        "num_workers=0",
        &data,
    ];
    let all = overrides.iter().chain(changes);
    let overrides: Vec<Override> = all.map(|text| text.parse().unwrap()).collect();
    PretrainSetup::new(Resolved::load(None, &overrides).unwrap().recipe).unwrap()
}

/// The loss of predicting the mean, and that of the untrained model under masks.
fn losses(data: &Path, changes: &[&str]) -> (f64, f64) {
    let setup = setup(data, changes);
    let samples = setup.training_in_order(6).unwrap();
    let learner = setup.learner().unwrap().without_autodiff();
    let of_model = evaluate(&setup, &learner, &samples).unwrap()["depth"];
    (mean_baseline(&setup, &samples).unwrap()["depth"], of_model)
}

#[test]
fn the_mean_of_depth_with_holes_is_as_good_as_that_without() {
    let (plain, zeros) = (frames(None), frames(Some(0)));
    let (expected, _) = losses(plain.path(), &[]);
    assert!((0.003..0.008).contains(&expected), "{expected}");
    let (with_holes, _) = losses(zeros.path(), &[]);
    assert!((with_holes - expected).abs() < 1e-3, "{with_holes} {expected}");
    // As published, the mean lies between depth and invalid pixels.
    let (published, _) = losses(zeros.path(), &["valid_values=all"]);
    assert!(published > 0.5, "{published}");
}

#[test]
fn the_numbers_stored_in_holes_do_not_matter() {
    for changes in [&[][..], &["standardize_depth=true"], &["loss_on_unmasked=true"]] {
        let of = |hole: u16| losses(frames(Some(hole)).path(), changes);
        assert_eq!(of(0), of(u16::MAX), "{changes:?}");
    }
}

#[test]
fn without_holes_the_published_rule_gives_the_same_losses() {
    let plain = frames(None);
    let of = |rule| losses(plain.path(), &[rule]);
    assert_eq!(of("valid_values=quantity"), of("valid_values=all"));
}

/// The set-up of fine-tuning on six frames of depth of 2.4 m, stored as metres.
fn finetuning(changes: &[&str]) -> multimae_train::Result<FinetuneSetup> {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["heat", "depth"] {
        fs_err::create_dir(dir.path().join(folder)).unwrap();
        for id in 0..6 {
            let bytes = npy(&[2.4_f32; 32 * 32], &[32, 32]).unwrap();
            fs_err::write(dir.path().join(format!("{folder}/{id}.npy")), bytes).unwrap();
        }
    }
    let data = format!("data_path={}", dir.path().display());
    let overrides = [
        "model={width: 32, depth: 1, heads: 2}",
        "in_domains=heat",
        "out_domains=depth",
        "modalities.heat.channels=1",
        "patch_size=8",
        "input_size=32",
        "output_adapter=light",
        "eval_data_path=null",
        &data,
    ];
    let all = overrides.iter().chain(changes);
    let overrides: Vec<Override> = all.map(|text| text.parse().unwrap()).collect();
    FinetuneSetup::new(Resolved::load(None, &overrides).unwrap().recipe)
}

#[test]
fn depth_in_metres_is_not_taken_for_millimetres() {
    let error = finetuning(&[]).err().unwrap().to_string();
    assert!(error.contains("modalities.depth.divisor") && error.contains("0.0024 m"), "{error}");
    finetuning(&["modalities.depth.divisor=1"]).unwrap();
}
