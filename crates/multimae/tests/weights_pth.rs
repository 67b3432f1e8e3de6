//! PyTorch checkpoints: read as PyTorch wrote them, written as PyTorch reads them, and never
//! trusted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};

use fs_err as fs;
use indexmap::IndexMap;
use multimae::burn::tensor::{BoolStore, DType, TensorData};
use multimae::state::StateDict;
use multimae::weights::{
    Layout, Value, read_pth, read_safetensors, read_weights, write_pth, write_pth_with,
    write_safetensors,
};
use proptest::prelude::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Equal in every bit, whatever the order of the names.
fn assert_same(a: &StateDict, b: &StateDict) {
    assert_eq!(a.len(), b.len());
    for (name, data) in a {
        let other = &b[name];
        assert_eq!((data.dtype(), data.shape()), (other.dtype(), other.shape()), "{name}");
        assert_eq!(data.as_bytes(), other.as_bytes(), "{name}");
    }
}

fn sorted(weights: &StateDict) -> StateDict {
    let mut weights = weights.clone();
    weights.sort_unstable_keys();
    weights
}

fn parse(dir: &Path, bytes: &[u8]) -> multimae::Result<StateDict> {
    let path = dir.join("file.pth");
    fs::write(&path, bytes).unwrap();
    read_weights(&path).map(|loaded| loaded.weights)
}

#[test]
fn published_checkpoints_are_their_state_dicts() {
    for (case, epoch) in [("pretrain_rgb_depth_semseg", 3), ("head_dpt", 0)] {
        let checkpoint = read_pth(&golden(&format!("pth/{case}.pth"))).unwrap();
        let (expected, _) = read_safetensors(&golden(&format!("pth/{case}.safetensors"))).unwrap();
        assert_same(&checkpoint.weights, &expected);
        assert_eq!(checkpoint.entries["epoch"], Value::Int(epoch));
        assert_eq!(checkpoint.weights.keys().next().unwrap(), "global_tokens");
    }
}

#[test]
fn every_type_and_view_of_pytorch_is_read() {
    let (expected, _) = read_safetensors(&golden("torch/rich.safetensors")).unwrap();
    for file in ["torch/rich.pth", "torch/rich_protocol5.pth", "torch/legacy.pth"] {
        let checkpoint = read_pth(&golden(file)).unwrap();
        assert_same(&checkpoint.weights, &expected);
        assert_eq!(checkpoint.weights["dtype.bool"].dtype(), DType::Bool(BoolStore::Native));

        let args = &checkpoint.entries["args"];
        assert!(
            matches!(args, Value::Object { class, .. } if &**class == "argparse.Namespace"),
            "{args}"
        );
        assert_eq!(args.get("batch_size"), Some(&Value::Int(4)));
        assert_eq!(args.get("negative"), Some(&Value::Int(-5)));
        assert_eq!(args.get("lr"), Some(&Value::Float(1e-4)));
        assert_eq!(args.get("name"), Some(&Value::Str("x".into())));
        let nested = args.get("nested").and_then(|nested| nested.get("a")).unwrap();
        assert_eq!(nested.to_string(), "[1, 2, (3, None)]");
        assert_eq!(checkpoint.entries["epoch"], Value::Str("best".into()));
        let moment = checkpoint.entries["optimizer"].get("state").unwrap();
        assert!(moment.to_string().contains("<tensor [4, 3] F32>"), "{moment}");
    }
}

#[test]
fn other_files_of_pytorch() {
    let plain = read_pth(&golden("torch/plain.pth")).unwrap();
    assert_eq!(plain.weights["0.weight"].shape().as_slice(), [4, 3]);
    assert_eq!(plain.weights["1.num_batches_tracked"].dtype(), DType::I64);
    let unchecked = read_pth(&golden("torch/no_checksums.pth")).unwrap();
    assert_same(&unchecked.weights, &plain.weights);
    let new_type = read_pth(&golden("torch/uint16.pth")).unwrap();
    assert_eq!(new_type.weights["x"].as_slice::<u16>().unwrap(), [7; 4]);

    let error = |file: &str| read_weights(&golden(file)).unwrap_err().to_string();
    for (file, says) in [
        ("torch/module.pth", "state_dict()"),
        ("torch/script.pth", "TorchScript"),
        ("torch/make.py", "text and no weights"),
    ] {
        let message = error(file);
        assert!(message.contains(says) && message.contains(file), "{message}");
    }
    assert!(read_weights(&golden("torch/none.pth")).unwrap_err().to_string().contains("none.pth"));
}

#[test]
fn the_writer_writes_what_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let weights = read_pth(&golden("torch/rich.pth")).unwrap().weights;
    for epoch in [0, 255, 256, 70_000, -1, i64::from(i32::MIN), i64::MAX] {
        let path = dir.path().join("out.pth");
        let bytes = write_pth(&weights, epoch).unwrap();
        assert_eq!(bytes, write_pth(&weights, epoch).unwrap());
        fs::write(&path, bytes).unwrap();
        let back = read_pth(&path).unwrap();
        assert_same(&back.weights, &weights);
        assert!(back.weights.keys().eq(weights.keys()), "the order of the names");
        assert_eq!(back.entries["epoch"], Value::Int(epoch));
    }
    let unknown = TensorData::new(vec![1_u16], [1]);
    let error = write_pth(&[("x".to_owned(), unknown)].into_iter().collect(), 0).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");
}

/// Names as tools wrap them: the weights are those of the names alone.
#[test]
fn wrapped_names_are_those_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let tensor = || TensorData::new(vec![1.0_f32], [1]);
    let names = ["cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"];
    let read = |wrap: &dyn Fn(&str) -> String, further: &[&str]| {
        let own = names.iter().map(|name| wrap(name));
        let all = own.chain(further.iter().map(|name| (*name).to_owned()));
        let weights: StateDict = all.map(|name| (name, tensor())).collect();
        let path = dir.path().join("wrapped.pth");
        fs::write(&path, write_pth(&weights, 0).unwrap()).unwrap();
        read_weights(&path).unwrap()
    };
    let plain = read(&str::to_owned, &[]);
    assert!(plain.notices.is_empty(), "{:?}", plain.notices);
    for (prefix, says) in [
        ("module.", "prefix `module.` is stripped from 3 names"),
        ("_orig_mod.", "`_orig_mod.` is stripped"),
        ("module._orig_mod.", "prefix `module.` is stripped"),
        ("_orig_mod.module.model.", "prefix `module.model.` is stripped"),
        ("net.backbone.", "prefix `net.backbone.` is stripped"),
    ] {
        let wrapped = read(&|name| format!("{prefix}{name}"), &[]);
        assert_same(&wrapped.weights, &plain.weights);
        let notices = wrapped.notices.join("\n");
        assert!(notices.contains(says), "{prefix}: {notices}");
    }
    let compiled = read(&|name| name.replace("blocks.0", "blocks.0._orig_mod"), &[]);
    assert_same(&compiled.weights, &plain.weights);
    let headed = read(&|name| format!("backbone.{name}"), &["head.weight"]);
    assert_same(&headed.weights, &plain.weights);
    assert!(headed.notices.iter().any(|notice| notice.contains("head.weight")));
}

/// Tensors of every layout that prefixes are put before; each has a value of its own, so that a
/// permutation shows.
fn layouts() -> [(Layout, StateDict); 4] {
    let of = |names: &[&str]| {
        let value = |at: usize| TensorData::new(vec![at as f32, 0.5], [2]);
        let own = names.iter().enumerate();
        own.map(|(at, name)| ((*name).to_owned(), value(at))).collect()
    };
    [
        (
            Layout::MultiMae,
            of(&[
                "global_tokens",
                "input_adapters.rgb.proj.weight",
                "output_adapters.rgb.mask_token",
                "output_adapters.rgb.decoder_transformer.0.norm1.weight",
                "encoder.0.norm1.weight",
                "encoder.1.norm1.weight",
            ]),
        ),
        (
            Layout::MultiVit,
            of(&[
                "global_tokens",
                "input_adapters.rgb.proj.weight",
                "output_adapters.semseg.final_layer.weight",
                "encoder.0.norm1.weight",
                "encoder.1.norm1.weight",
            ]),
        ),
        (
            Layout::TimmVit,
            of(&[
                "cls_token",
                "pos_embed",
                "patch_embed.proj.weight",
                "patch_embed.proj.bias",
                "blocks.0.norm1.weight",
                "blocks.1.norm1.weight",
                "decoder_blocks.0.norm1.weight",
            ]),
        ),
        (
            Layout::HfVit,
            of(&[
                "embeddings.cls_token",
                "embeddings.patch_embeddings.projection.weight",
                "encoder.layer.0.layernorm_before.weight",
                "encoder.layer.1.layernorm_before.weight",
                "layernorm.weight",
            ]),
        ),
    ]
}

#[test]
fn every_prefix_is_stripped_from_every_layout() {
    let dir = tempfile::tempdir().unwrap();
    for (layout, plain) in layouts() {
        for prefix in [
            "",
            "encoder.",
            "module.",
            "model.",
            "backbone.",
            "module.encoder.",
            "net.encoder.vit.",
        ] {
            for extra in [None, Some("optimised.bias")] {
                let named = |(name, data): (&String, &TensorData)| {
                    (format!("{prefix}{name}"), data.clone())
                };
                let mut wrapped: StateDict = plain.iter().map(named).collect();
                let extra = extra.filter(|_| !prefix.is_empty());
                if let Some(extra) = extra {
                    wrapped.insert(extra.to_owned(), TensorData::new(vec![9.0_f32], [1]));
                }
                for bytes in [
                    write_pth(&wrapped, 0).unwrap(),
                    write_safetensors(&wrapped, &IndexMap::new()).unwrap(),
                ] {
                    let path = dir.path().join("wrapped");
                    fs::write(&path, bytes).unwrap();
                    let read = read_weights(&path).unwrap();
                    assert_eq!(Layout::of(&read.weights), layout, "{prefix}");
                    assert_same(&read.weights, &plain);
                    let stripped = format!("prefix `{prefix}` is stripped");
                    let notices = read.notices.join("\n");
                    assert_eq!(notices.contains(&stripped), !prefix.is_empty(), "{notices}");
                    assert_eq!(notices.contains("optimised.bias"), extra.is_some(), "{notices}");
                }
            }
        }
    }
}

#[test]
fn texts_are_entries_of_written_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.pth");
    let weights: StateDict =
        [("w".to_owned(), TensorData::new(vec![1.0_f32], [1]))].into_iter().collect();
    let text = "a: 1\nü: \"2\"\n".repeat(100);
    fs::write(&path, write_pth_with(&weights, 3, &[("multimae_recipe", &text)]).unwrap()).unwrap();
    let read = read_pth(&path).unwrap();
    assert_eq!(read.entries["multimae_recipe"], Value::Str(text.as_str().into()));
    assert_eq!(read.entries["epoch"], Value::Int(3));
    assert_same(&read.weights, &weights);
}

/// A file cut anywhere is an error.
#[test]
fn cut_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (file, step) in [
        ("torch/rich.pth", 1),
        ("torch/rich.safetensors", 1),
        ("torch/deflated.npz", 1),
        ("torch/legacy.pth", 7),
    ] {
        let bytes = fs::read(golden(file)).unwrap();
        assert!(parse(dir.path(), &bytes).is_ok());
        for len in (0..bytes.len()).step_by(step) {
            assert!(parse(dir.path(), &bytes[..len]).is_err(), "{file} cut at {len}");
        }
    }
}

/// A file changed anywhere is an error, or still holds the same weights: every content has a
/// checksum.
#[test]
fn changed_checkpoints_are_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(golden("torch/rich.pth")).unwrap();
    let weights = parse(dir.path(), &bytes).unwrap();
    let mut found = 0;
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        match parse(dir.path(), &bytes) {
            Ok(read) => assert_same(&read, &weights),
            Err(_) => found += 1,
        }
    }
    assert!(found > bytes.len() / 3, "{found}");
}

const DTYPES: [DType; 10] = [
    DType::F32,
    DType::F64,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
    DType::Bool(BoolStore::Native),
];

fn tensor() -> impl Strategy<Value = TensorData> {
    (proptest::sample::select(&DTYPES[..]), proptest::collection::vec(0..4_usize, 0..4))
        .prop_flat_map(|(dtype, shape)| {
            let len = shape.iter().product::<usize>() * dtype.size();
            let byte = if matches!(dtype, DType::Bool(_)) { 0..=1_u8 } else { 0..=255 };
            proptest::collection::vec(byte, len)
                .prop_map(move |bytes| TensorData::from_bytes_vec(bytes, shape.clone(), dtype))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn formats_are_converted_bit_for_bit(
        tensors in proptest::collection::vec(("[a-z.é]{1,9}", tensor()), 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let weights: StateDict = tensors.into_iter().collect();
        prop_assume!(!weights.is_empty());
        let weights = sorted(&weights);
        let first = write_safetensors(&weights, &IndexMap::new()).unwrap();
        let read = parse(dir.path(), &first).unwrap();
        let pth = write_pth(&read, 7).unwrap();
        let back = sorted(&parse(dir.path(), &pth).unwrap());
        assert_same(&back, &weights);
        prop_assert_eq!(write_safetensors(&back, &IndexMap::new()).unwrap(), first);
        prop_assert_eq!(write_pth(&back, 7).unwrap(), write_pth(&weights, 7).unwrap());
    }

    #[test]
    fn random_files_are_errors(
        start in proptest::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"\x09\0\0\0\0\0\0\0{"]),
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let dir = tempfile::tempdir().unwrap();
        prop_assert!(parse(dir.path(), &[start, &rest].concat()).is_err());
    }

    /// Pickles of random instructions: errors or data, never a panic.
    #[test]
    fn random_changes_of_files_do_no_harm(
        file in proptest::sample::select(vec![
            "torch/no_checksums.pth", "torch/uint16.pth", "torch/stored.npz", "torch/deflated.npz",
            "torch/rich.safetensors", "torch/legacy.pth",
        ]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = fs::read(golden(file)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(parse(dir.path(), &bytes));
    }
}
