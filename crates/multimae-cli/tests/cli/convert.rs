//! Weight files there and back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use multimae::burn::tensor::{Device, TensorData};
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae::state::{StateDict, state_dict};
use multimae::weights::{read_weights, write_pth};
use multimae_data::stream;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../multimae/tests/golden/pth/pretrain_rgb_depth_semseg.pth")
}

fn multimae(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_multimae")).args(arguments).output().unwrap()
}

fn convert(input: &Path, output: &Path) -> Output {
    multimae(&["convert".as_ref(), "--input".as_ref(), input, "--output".as_ref(), output])
}

#[test]
fn a_published_checkpoint_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (from, to) in [
        (golden(), path("a.safetensors")),
        (path("a.safetensors"), path("b.pth")),
        (path("b.pth"), path("c.safetensors")),
    ] {
        let output = convert(&from, &to);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let bytes = |name: &str| fs::read(path(name)).unwrap();
    assert_eq!(bytes("a.safetensors"), bytes("c.safetensors"));
    // Existing files are not overwritten.
    let again = convert(&golden(), &path("a.safetensors"));
    assert_eq!(again.status.code(), Some(1));
    let shown = multimae(&["inspect".as_ref(), &path("b.pth")]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("PyTorch checkpoint"));
}

#[test]
fn what_is_no_weight_file_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.pth");
    fs::write(&path, "no weights").unwrap();
    let output = multimae(&["inspect".as_ref(), &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("notes.pth"));
}

/// A model of seconds, whose every tensor has values of its own.
fn tiny(image_size: Size) -> StateDict {
    let rgb = Modality::continuous("rgb", 3);
    let config = MultiMaeConfig {
        encoder: EncoderConfig::new(16, 2, 2),
        patch_size: 8,
        image_size,
        num_global_tokens: 1,
        outputs: vec![OutputTask::of(rgb.clone())],
        inputs: vec![rgb],
        decoder: DecoderConfig { width: 8, depth: 1, heads: 2, ..DecoderConfig::default() },
        tables: NonSquareTables::default(),
    };
    let model = MultiMae::new(&config, &Device::default()).unwrap();
    state_dict(&multimae::init::initialise(model, |name| stream(3, name, 0, 0)))
}

#[test]
fn incomplete_models_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let whole = tiny(Size::square(16));
    for removed in [
        "global_tokens",
        "input_adapters.rgb.pos_emb",
        "input_adapters.rgb.proj.bias",
        "output_adapters.rgb.mask_token",
        "output_adapters.rgb.out_proj.bias",
        "output_adapters.rgb.decoder_transformer.0.attn.proj.weight",
    ] {
        let mut weights = whole.clone();
        assert!(weights.shift_remove(removed).is_some());
        fs::write(path("in.pth"), write_pth(&weights, 0).unwrap()).unwrap();
        for out in ["out.safetensors", "out.pth"] {
            let output = convert(&path("in.pth"), &path(out));
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{removed}: {message}");
            let says = format!("`{removed}` is missing");
            assert!(message.contains(&says) && message.contains("--as-is"), "{message}");
            assert!(!path(out).exists());
        }
    }
    // Whole models are, with their decoders or without.
    fs::write(path("in.pth"), write_pth(&whole, 0).unwrap()).unwrap();
    assert!(convert(&path("in.pth"), &path("whole.safetensors")).status.success());
    let mut encoder = whole;
    encoder.retain(|name, _| !name.starts_with("output_adapters."));
    fs::write(path("in.pth"), write_pth(&encoder, 0).unwrap()).unwrap();
    assert!(convert(&path("in.pth"), &path("encoder.safetensors")).status.success());
}

/// The table of a ViT does not show its grid: 4 x 6 patches and the class token have 25 rows.
#[test]
fn a_grid_that_is_not_square_goes_to_timm_and_back_with_its_sides() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let ours = tiny(Size::new(32, 48));
    fs::write(path("in.pth"), write_pth(&ours, 0).unwrap()).unwrap();
    let run = |from: &str, to: &str, further: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.args(["convert", "--force", "--input"]).arg(path(from)).arg("--output");
        let output = command.arg(path(to)).args(further).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, message) = run("in.pth", "vit.pth", &["--to", "timm-pth"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(message.contains("`--grid 4x6`"), "{message}");
    let (code, message) = run("vit.pth", "back.pth", &[]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("--grid 5x5") && message.contains("--grid 4x6"), "{message}");
    assert_eq!(run("vit.pth", "back.pth", &["--grid", "4x6"]).0, Some(0));
    let back = read_weights(&path("back.pth")).unwrap().weights;
    for (name, data) in &back {
        assert_eq!(data, &ours[name], "{name}");
    }
    assert_eq!(back.len(), 4 + 2 * 12);
}

/// The pooler of a Hugging Face ViT has no name in timm: it is listed and not renamed.
#[test]
fn what_timm_has_no_place_for_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut theirs = StateDict::new();
    let mut add = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        theirs.insert(name.to_owned(), TensorData::new(values, shape.to_vec()));
    };
    add("embeddings.cls_token", &[1, 1, 4]);
    add("embeddings.position_embeddings", &[1, 5, 4]);
    add("embeddings.patch_embeddings.projection.weight", &[4, 3, 2, 2]);
    add("embeddings.patch_embeddings.projection.bias", &[4]);
    let parts = [
        ("layernorm_before", 4, 1),
        ("layernorm_after", 4, 1),
        ("attention.attention.query", 4, 4),
        ("attention.attention.key", 4, 4),
        ("attention.attention.value", 4, 4),
        ("attention.output.dense", 4, 4),
        ("intermediate.dense", 16, 4),
        ("output.dense", 4, 16),
    ];
    for (part, rows, columns) in parts {
        let name = |kind: &str| format!("encoder.layer.0.{part}.{kind}");
        if columns == 1 {
            add(&name("weight"), &[rows]);
        } else {
            add(&name("weight"), &[rows, columns]);
        }
        add(&name("bias"), &[rows]);
    }
    add("pooler.dense.weight", &[4, 4]);
    fs::write(path("hf.pth"), write_pth(&theirs, 0).unwrap()).unwrap();
    let (input, out) = (path("hf.pth"), path("timm.pth"));
    let arguments: [&Path; 7] = [
        "convert".as_ref(),
        "--to".as_ref(),
        "timm-pth".as_ref(),
        "--input".as_ref(),
        &input,
        "--output".as_ref(),
        &out,
    ];
    let output = multimae(&arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    assert!(message.contains("dropped") && message.contains("pooler.dense.weight"), "{message}");
    let read = read_weights(&out).unwrap().weights;
    assert!(!read.keys().any(|name| name.contains("pooler")), "{:?}", read.keys());
    assert_eq!(read.len(), 4 + 12);
}

#[test]
fn nothing_is_written_that_nothing_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let tensor = || TensorData::new(vec![1.0_f32], [1]);
    let save = |name: &str, names: &[&str]| {
        let weights = names.iter().map(|name| ((*name).to_owned(), tensor())).collect();
        fs::write(path(name), write_pth(&weights, 0).unwrap()).unwrap();
    };
    save("resnet.pth", &["conv1.weight", "layer1.0.conv1.weight"]);
    save("head.pth", &["output_adapters.depth.head.0.weight"]);
    save("part.pth", &["encoder.0.norm1.weight", "input_adapters.rgb.proj.weight"]);
    for (name, output, says) in [
        ("resnet.pth", "out.safetensors", "no known model"),
        ("resnet.pth", "out.pth", "conv1.weight"),
        ("head.pth", "out.pth", "card"),
        ("head.pth", "out.safetensors", "without the card"),
        ("part.pth", "out.safetensors", "encoder.0.norm1.bias"),
    ] {
        let output = convert(&path(name), &path(output));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(says) && message.contains(name), "{message}");
        assert!(!path("out.safetensors").exists() && !path("out.pth").exists());
    }
    let (resnet, out) = (path("resnet.pth"), path("out.pth"));
    let flags: [&Path; 6] = [
        "convert".as_ref(),
        "--as-is".as_ref(),
        "--input".as_ref(),
        &resnet,
        "--output".as_ref(),
        &out,
    ];
    let output = multimae(&flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read_weights(&out).unwrap().weights.len(), 2);
}
