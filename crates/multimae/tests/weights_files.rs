//! Files of any format, told by their content; fitting weights to another model; timm's names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::tensor::{BoolStore, DType, Device, Tensor, TensorData};
use multimae::encoder::EncoderConfig;
use multimae::init::initialise;
use multimae::interpolate::{Interpolation, resize};
use multimae::modality::{Modality, ModalityKind, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae::state::{AllowedKeys, StateDict, load, parameters, state_dict};
use multimae::weights::{
    Fitted, Format, Layout, fit_input_adapters, from_timm, from_timm_grid, missing_parts,
    read_metadata, read_model_config, read_npz, read_safetensors, read_weights, to_timm,
    write_safetensors,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config(image_size: Size, padding: bool) -> MultiMaeConfig {
    let rgb = Modality::continuous("rgb", 3);
    let semseg = Modality {
        kind: ModalityKind::Categorical { classes: 5, dim_class_emb: 4, padding },
        ..Modality::categorical("semseg", 5, 4)
    };
    MultiMaeConfig {
        encoder: EncoderConfig::new(16, 2, 2),
        patch_size: 8,
        image_size,
        num_global_tokens: 1,
        outputs: vec![OutputTask::of(rgb.clone())],
        inputs: vec![rgb, semseg],
        decoder: DecoderConfig { width: 8, depth: 1, heads: 2, ..DecoderConfig::default() },
        tables: NonSquareTables::default(),
    }
}

fn model(config: &MultiMaeConfig) -> MultiMae {
    let model = MultiMae::new(config, &Device::default()).unwrap();
    initialise(model, |name| ChaCha8Rng::seed_from_u64(name.len() as u64))
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.iter::<f32>().collect()
}

#[test]
fn formats_are_told_by_content() {
    for (file, format, layout) in [
        ("pth/pretrain_rgb_depth_semseg.pth", Format::Pth, Layout::MultiMae),
        ("pth/head_dpt.safetensors", Format::Safetensors, Layout::MultiVit),
        ("torch/stored.npz", Format::Npz, Layout::Unknown),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let renamed = dir.path().join("weights.bin");
        fs::copy(golden(file), &renamed).unwrap();
        let loaded = read_weights(&renamed).unwrap();
        assert_eq!((loaded.format, Layout::of(&loaded.weights)), (format, layout), "{file}");
    }
}

#[test]
fn numpy_archives_are_read() {
    for file in ["torch/stored.npz", "torch/deflated.npz"] {
        let arrays = read_npz(&golden(file)).unwrap();
        assert_eq!(floats(&arrays["w"]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(arrays["columns"].as_slice::<f64>().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(arrays["columns"].shape().as_slice(), [2, 3]);
        assert_eq!(arrays["half"].dtype(), DType::F16);
        assert_eq!(arrays["index"].as_slice::<i64>().unwrap(), [0, 1, 2]);
        assert_eq!(floats(&arrays["scalar"]), [3.0]);
        assert_eq!(arrays["truth"].dtype(), DType::Bool(BoolStore::Native));
    }
}

/// Found by fuzzing: memory for the claimed header was taken before the file was read.
#[test]
fn a_header_longer_than_its_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("claimed.safetensors");
    fs::write(&path, [&(64_u64 << 20).to_le_bytes()[..], b"{\"__metadata__\": {}}"].concat())
        .unwrap();
    let message = read_metadata(&path).unwrap_err().to_string();
    assert!(message.contains("ends within its header"), "{message}");
}

/// The length of a header may be that of the first bytes of a pickle: 80 03, 80 04, 80 05.
#[test]
fn headers_of_any_length_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let weights: StateDict =
        [("w".to_owned(), TensorData::new(vec![1.5_f32], [1]))].into_iter().collect();
    for length in [896_u64, 1152, 1408] {
        let of = |padding: usize| {
            let metadata = [("p".to_owned(), "x".repeat(padding))].into_iter().collect();
            write_safetensors(&weights, &metadata).unwrap()
        };
        let bytes = (0..2000)
            .map(of)
            .find(|bytes| u64::from_le_bytes(bytes[..8].try_into().unwrap()) == length)
            .unwrap();
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_weights(&path).unwrap().weights, weights, "{length}");
        assert_eq!(read_safetensors(&path).unwrap().0, weights, "{length}");
        assert!(read_metadata(&path).unwrap().contains_key("p"), "{length}");
    }
}

#[test]
fn a_model_and_its_configuration_come_back_from_one_file() {
    let config = config(Size::new(16, 24), true);
    let weights = state_dict(&model(&config));
    let text = serde_json::to_string(&config).unwrap();
    let metadata: IndexMap<String, String> = [("config".to_owned(), text)].into_iter().collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, write_safetensors(&weights, &metadata).unwrap()).unwrap();
    let loaded = read_weights(&path).unwrap();
    assert_eq!(read_model_config(&loaded.metadata).unwrap(), Some(config.clone()));
    let again = load(model(&config), loaded.weights.clone(), &AllowedKeys::default()).unwrap();
    assert_eq!(state_dict(&again), weights);

    assert_eq!(read_model_config(&IndexMap::new()).unwrap(), None);
    let wrong = [("config".to_owned(), "{}".to_owned())].into_iter().collect();
    assert!(read_model_config(&wrong).unwrap_err().to_string().contains("config"));
}

#[test]
fn input_adapters_are_fitted_to_another_size() {
    let small = config(Size::new(24, 32), false);
    let large = config(Size::new(40, 16), true);
    let pretrained = state_dict(&model(&small));
    let target = model(&large);
    let mut weights = pretrained.clone();
    let changes = fit_input_adapters(&mut weights, &parameters(&target));

    let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "input_adapters.rgb.pos_emb",
            "input_adapters.semseg.pos_emb",
            "input_adapters.semseg.class_emb.weight",
        ]
    );
    assert_eq!(
        changes[0],
        Fitted { name: names[0].to_owned(), from: vec![1, 16, 3, 4], to: vec![1, 16, 5, 2] }
    );

    let table = Tensor::<4>::from_data(pretrained[names[0]].clone(), &Device::default());
    let expected = resize(table, Size::new(5, 2), Interpolation::Bicubic).into_data();
    for (value, expected) in floats(&weights[names[0]]).iter().zip(floats(&expected)) {
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
    let classes = floats(&weights[names[2]]);
    assert_eq!(classes[..5 * 4], floats(&pretrained[names[2]]));
    assert_eq!(classes[5 * 4..], [0.0; 4]);

    // Decoder tables are left alone, and loading says so.
    let error = load(target, weights.clone(), &AllowedKeys::default()).unwrap_err().to_string();
    assert!(error.contains("output_adapters.rgb.pos_emb"), "{error}");
    assert!(!error.contains("input_adapters"), "{error}");
    weights.retain(|name, _| !name.starts_with("output_adapters."));
    let allowed = AllowedKeys { missing: vec!["output_adapters.".to_owned()], unexpected: vec![] };
    load(model(&large), weights.clone(), &allowed).unwrap();

    // Nothing to do the second time, and nothing where the widths differ.
    assert_eq!(fit_input_adapters(&mut weights, &parameters(&model(&large))), []);
    let mut wide = large.clone();
    wide.encoder = EncoderConfig::new(32, 2, 2);
    assert_eq!(fit_input_adapters(&mut weights, &parameters(&model(&wide))), []);
}

/// A ViT of width `width` on a grid of `side` x `side` patches.
fn vit(width: usize, side: usize, mut value: impl FnMut() -> f32) -> StateDict {
    let mut weights = StateDict::new();
    let mut add = |name: &str, shape: &[usize]| {
        let values = (0..shape.iter().product::<usize>()).map(|_| value()).collect();
        weights.insert(name.to_owned(), TensorData::new::<f32, _>(values, shape.to_vec()));
    };
    add("cls_token", &[1, 1, width]);
    add("pos_embed", &[1, 1 + side * side, width]);
    add("patch_embed.proj.weight", &[width, 3, 2, 2]);
    add("patch_embed.proj.bias", &[width]);
    for block in 0..2 {
        add(&format!("blocks.{block}.norm1.weight"), &[width]);
        add(&format!("blocks.{block}.attn.qkv.weight"), &[3 * width, width]);
        add(&format!("blocks.{block}.mlp.fc2.bias"), &[width]);
    }
    weights
}

#[test]
fn the_first_position_moves_into_the_global_token() {
    let mut values = (0..).map(|i| i as f32);
    let mut weights = vit(2, 2, || values.next().unwrap());
    weights.insert("norm.weight".to_owned(), TensorData::new(vec![1_f32; 2], [2]));
    weights.insert("head.bias".to_owned(), TensorData::new(vec![1_f32; 2], [2]));
    weights.insert("decoder_blocks.0.norm1.bias".to_owned(), TensorData::new(vec![1_f32; 2], [2]));
    let ours = from_timm(&weights).unwrap();
    assert_eq!(ours.dropped, ["norm.weight", "head.bias", "decoder_blocks.0.norm1.bias"]);
    // cls_token 0 1, rows of pos_embed 2 3 | 4 5 | 6 7 | 8 9 | 10 11.
    assert_eq!(floats(&ours.weights["global_tokens"]), [2.0, 4.0]);
    let table = &ours.weights["input_adapters.rgb.pos_emb"];
    assert_eq!(table.shape().as_slice(), [1, 2, 2, 2]);
    assert_eq!(floats(table), [4.0, 6.0, 8.0, 10.0, 5.0, 7.0, 9.0, 11.0]);
    assert_eq!(ours.weights["encoder.1.norm1.weight"], weights["blocks.1.norm1.weight"]);
    assert_eq!(ours.weights["input_adapters.rgb.proj.bias"], weights["patch_embed.proj.bias"]);
    assert!(!ours.weights.keys().any(|name| name.contains("decoder")));

    let theirs = to_timm(&ours.weights).unwrap();
    assert_eq!(theirs.dropped, [""; 0]);
    assert_eq!(floats(&theirs.weights["cls_token"]), [2.0, 4.0]);
    let rows = floats(&theirs.weights["pos_embed"]);
    assert_eq!(rows, [0.0, 0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn a_whole_model_goes_to_timm_and_back() {
    let weights = state_dict(&model(&config(Size::square(24), false)));
    let timm = to_timm(&weights).unwrap();
    let kept = |name: &str| {
        !name.starts_with("output_adapters.") && !name.starts_with("input_adapters.semseg.")
    };
    assert!(timm.dropped.iter().all(|name| !kept(name)));
    assert_eq!(Layout::of(&timm.weights), Layout::TimmVit);
    let back = from_timm(&timm.weights).unwrap();
    assert_eq!(back.dropped, [""; 0]);
    let expected: StateDict = weights.into_iter().filter(|(name, _)| kept(name)).collect();
    assert_eq!(back.weights.len(), expected.len());
    for (name, data) in &expected {
        assert_eq!(&back.weights[name], data, "{name}");
    }
}

#[test]
fn a_table_that_is_not_square_needs_its_grid() {
    let mut value = 0.0;
    let mut weights = vit(2, 2, || {
        value += 1.0;
        value
    });
    let rows: Vec<f32> = (0..14).map(|i| i as f32).collect();
    weights.insert("pos_embed".to_owned(), TensorData::new(rows, [1, 7, 2]));
    assert!(from_timm(&weights).unwrap_err().to_string().contains("--grid HxW"));
    let ours = from_timm_grid(&weights, Some(Size::new(2, 3))).unwrap().weights;
    let table = &ours["input_adapters.rgb.pos_emb"];
    assert_eq!(table.shape().as_slice(), [1, 2, 2, 3]);
    assert_eq!(floats(table), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0]);
    let message = from_timm_grid(&weights, Some(Size::new(2, 2))).unwrap_err().to_string();
    assert!(message.contains("has 7 rows, a grid of 2x2"), "{message}");
    // A table of patches alone, as timm has it without an embedding of the class token.
    let rows: Vec<f32> = (0..12).map(|i| i as f32).collect();
    weights.insert("pos_embed".to_owned(), TensorData::new(rows, [1, 6, 2]));
    let ours = from_timm_grid(&weights, Some(Size::new(2, 3))).unwrap().weights;
    assert_eq!(floats(&ours["global_tokens"]), floats(&weights["cls_token"]));
    assert_eq!(floats(&ours["input_adapters.rgb.pos_emb"])[..3], [0.0, 2.0, 4.0]);
}

/// A table of n x n rows may be one without a row of the class token, or of (n - 1) x (n + 1) patches
/// with it.
#[test]
fn a_square_number_of_rows_with_a_class_token_needs_its_grid() {
    for (rows, square, oblong) in
        [(25, "5x5", "4x6"), (196, "14x14", "13x15"), (256, "16x16", "15x17")]
    {
        let mut weights = vit(2, 2, || 0.5);
        let table: Vec<f32> = (0..2 * rows).map(|i| i as f32).collect();
        weights.insert("pos_embed".to_owned(), TensorData::new(table, [1, rows, 2]));
        let message = from_timm(&weights).unwrap_err().to_string();
        for grid in [square, oblong] {
            assert!(message.contains(&format!("--grid {grid}")), "{message}");
            let sides: Vec<usize> = grid.split('x').map(|side| side.parse().unwrap()).collect();
            let grid = Size::new(sides[0], sides[1]);
            let ours = from_timm_grid(&weights, Some(grid)).unwrap().weights;
            let own = &ours["input_adapters.rgb.pos_emb"];
            assert_eq!(own.shape().as_slice(), [1, 2, sides[0], sides[1]]);
            // The first patch is that behind the row of the class token, if there is one.
            let first = floats(own)[0] as usize;
            assert_eq!(first, 2 * (rows - grid.area()), "{grid:?}");
        }
    }
}

#[test]
fn missing_parts_of_blocks_are_listed() {
    let mut weights = vit(2, 2, || 0.5);
    let missing = missing_parts(&weights, "blocks.");
    assert_eq!(missing.len(), 2 * (12 - 3));
    weights.extend(missing.into_iter().map(|name| (name, TensorData::new(vec![0.5_f32], [1]))));
    assert_eq!(missing_parts(&weights, "blocks."), [""; 0]);
    weights.shift_remove("blocks.1.mlp.fc1.bias");
    assert_eq!(missing_parts(&weights, "blocks."), ["blocks.1.mlp.fc1.bias"]);
    weights.retain(|name, _| !name.starts_with("blocks.0."));
    assert!(missing_parts(&weights, "blocks.").contains(&"blocks.0.norm1.weight".to_owned()));
}

#[test]
fn sharded_weights_are_those_of_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let weights = vit(2, 2, || 0.5);
    // Prefixes are common to all files.
    let named = |(name, data): (&String, &TensorData)| (format!("vit.{name}"), data.clone());
    let (mut map, mut files) = (serde_json::Map::new(), [StateDict::new(), StateDict::new()]);
    for (place, entry) in weights.iter().enumerate() {
        let (name, data) = named(entry);
        map.insert(name.clone(), format!("{}.safetensors", place % 2).into());
        files[place % 2].insert(name, data);
    }
    for (place, shard) in files.iter().enumerate() {
        let bytes = write_safetensors(shard, &IndexMap::new()).unwrap();
        fs::write(path(&format!("{place}.safetensors")), bytes).unwrap();
    }
    let index = path("model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, serde_json::Value>| {
        let text = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
        fs::write(&index, text).unwrap();
    };
    write(&map);
    let read = read_weights(&index).unwrap();
    assert_eq!(read.weights.len(), weights.len());
    for (name, data) in &weights {
        assert_eq!(&read.weights[name], data, "{name}");
    }
    for (name, file, says) in [
        ("vit.extra", "0.safetensors", "`vit.extra` is not in 0.safetensors"),
        ("vit.extra", "../0.safetensors", "not a plain name"),
        ("vit.extra", "2.safetensors", "2.safetensors"),
    ] {
        let mut map = map.clone();
        map.insert(name.to_owned(), file.into());
        write(&map);
        let message = read_weights(&index).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
}

/// As PyTorch shards them, with an index that begins with a byte order mark.
#[test]
fn shards_of_pytorch_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Both hold all tensors; those that the index does not ask of a file may be in another.
    fs::copy(golden("torch/plain.pth"), path("1.bin")).unwrap();
    fs::copy(golden("torch/no_checksums.pth"), path("2.bin")).unwrap();
    let plain = read_weights(&golden("torch/plain.pth")).unwrap().weights;
    let index = path("pytorch_model.bin.index.json");
    let write = |map: &IndexMap<String, String>| {
        let text = serde_json::json!({"metadata": {}, "weight_map": map});
        fs::write(&index, format!("\u{feff}{text}")).unwrap();
    };
    let file = |(place, name): (usize, &String)| (name.clone(), format!("{}.bin", 1 + place % 2));
    let mut map: IndexMap<String, String> = plain.keys().enumerate().map(file).collect();
    write(&map);
    let read = read_weights(&index).unwrap();
    assert_eq!((read.format, read.weights), (Format::Pth, plain));
    // Each shard is what its content says, whatever its name.
    let more: StateDict =
        [("more".to_owned(), TensorData::new(vec![2.0_f32], [1]))].into_iter().collect();
    fs::write(path("3.bin"), write_safetensors(&more, &IndexMap::new()).unwrap()).unwrap();
    map.insert("more".to_owned(), "3.bin".to_owned());
    write(&map);
    assert_eq!(read_weights(&index).unwrap().weights["more"], more["more"]);
    fs::write(path("3.bin"), "version https://git-lfs.github.com/spec/v1\nsize 5\n").unwrap();
    let message = read_weights(&index).unwrap_err().to_string();
    assert!(message.contains("3.bin") && message.contains("Git LFS pointer"), "{message}");
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let data = || TensorData::new(vec![1_f32; 2], [2]);
    let vit = || vit(2, 2, || 0.5);
    let refuse = |change: &dyn Fn(&mut StateDict), says: &str| {
        let mut weights = vit();
        change(&mut weights);
        let message = from_timm(&weights).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    };
    refuse(&|w| drop(w.insert("blocks.0.ls1.gamma".to_owned(), data())), "ls1.gamma");
    refuse(&|w| drop(w.insert("reg_token".to_owned(), data())), "reg_token");
    refuse(&|w| drop(w.shift_remove("cls_token")), "`cls_token` is missing");
    refuse(&|w| drop(w.insert("cls_token".to_owned(), data())), "shape [2]");
    let table = |rows: usize| TensorData::new(vec![1_f32; rows * 2], [1, rows, 2]);
    refuse(&|w| drop(w.insert("pos_embed".to_owned(), table(7))), "square");
    refuse(&|w| drop(w.insert("pos_embed".to_owned(), table(1))), "square");
    refuse(&|w| drop(w.insert("pos_embed".to_owned(), data())), "shape [2]");

    let jax = [("Transformer/encoderblock_0/LayerNorm_0/scale".to_owned(), data())];
    let message = from_timm(&jax.into_iter().collect()).unwrap_err().to_string();
    assert!(message.contains("JAX"), "{message}");
    assert!(to_timm(&vit()).unwrap_err().to_string().contains("timm ViT"));

    let mut two = config(Size::square(16), false);
    two.num_global_tokens = 2;
    let message = to_timm(&state_dict(&model(&two))).unwrap_err().to_string();
    assert!(message.contains("exactly one class token"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Of any width and grid, and in half precision.
    #[test]
    fn timm_there_and_back(width in 1..6_usize, side in 1..5_usize, seed in any::<u32>(), half: bool) {
        let mut state = seed;
        let mut weights = vit(width, side, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 1e6 - 8.0
        });
        if half {
            weights = weights.into_iter().map(|(k, v)| (k, v.convert_dtype(DType::F16))).collect();
        }
        // Once the first position is zero, nothing changes any more.
        let once = to_timm(&from_timm(&weights).unwrap().weights).unwrap().weights;
        let twice = to_timm(&from_timm(&once).unwrap().weights).unwrap().weights;
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(once.len(), weights.len());
        for (name, data) in &weights {
            prop_assert_eq!(once[name].dtype(), data.dtype());
            if name != "cls_token" && name != "pos_embed" {
                prop_assert_eq!(&once[name], data);
            }
        }
    }
}
