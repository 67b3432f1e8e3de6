//! A file with the published key list, as `torch.save` writes it, without a recipe: it works
//! wherever the folder of a run does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::checkpoint::{Argument, Arguments};
use crate::common::{Scratch, fail, stderr, succeed};
use fs_err as fs;
use multimae::burn::tensor::Device;
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae::state::{StateDict, state_dict};
use multimae::weights::{Layout, read_weights, to_timm, write_pth};
use multimae_data::stream;

/// All keys of the published pre-training model but for its depth and sizes: one head of 64 values,
/// three inputs, four decoders, 133 classes at a quarter of the resolution.
fn weights() -> StateDict {
    let inputs = vec![
        Modality::continuous("rgb", 3),
        Modality::continuous("depth", 1),
        Modality::categorical("semseg", 133, 4),
    ];
    let standardised = OutputTask { name: "norm_rgb".to_owned(), modality: inputs[0].clone() };
    let config = MultiMaeConfig {
        encoder: EncoderConfig::new(64, 2, 1),
        patch_size: 16,
        image_size: Size::square(64),
        num_global_tokens: 1,
        outputs: inputs.iter().cloned().map(OutputTask::of).chain([standardised]).collect(),
        inputs,
        decoder: DecoderConfig { width: 16, depth: 2, ..DecoderConfig::default() },
        tables: NonSquareTables::default(),
    };
    let model = MultiMae::new(&config, &Device::default()).unwrap();
    state_dict(&multimae::init::initialise(model, |name| stream(3, name, 0, 0)))
}

/// Data and `published.pth`.
fn published() -> Scratch {
    let scratch = Scratch::new();
    write(&scratch, &weights());
    scratch
}

fn write(scratch: &Scratch, weights: &StateDict) {
    fs::write(scratch.path("published.pth"), write_pth(weights, 1599).unwrap()).unwrap();
}

fn multimae(scratch: &Scratch, command: &str, out: &str, further: &[&str]) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"));
    process.arg(command).arg("--model").arg(scratch.path("published.pth"));
    process.arg("--out").arg(scratch.path(out)).args(further);
    process
}

fn frame(scratch: &Scratch, folder: &str) -> String {
    scratch.data().join(folder).join("000.png").to_string_lossy().into_owned()
}

fn bytes(path: PathBuf) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// The keys that continue pre-training from the file on the data, without learning anything.
const CONTINUED: &[&str] = &[
    "--set",
    "model={width: 64, depth: 2, heads: 1}",
    "--set",
    "input_size=64",
    "--set",
    "patch_size=16",
    "--set",
    "decoder_dim=16",
    "--set",
    "decoder_depth=2",
    "--set",
    "decoder_num_heads=8",
    "--set",
    "modalities={depth: {divisor: 1000}, semseg: {folder: label}}",
    "--set",
    "blr=0",
    "--set",
    "balancer_lr_scale=0",
    "--set",
    "model_ema=false",
    "--set",
    "epochs=1",
    "--set",
    "log_images=0",
];

#[test]
fn pre_training_continues_and_reconstructions_are_those_of_its_run() {
    let scratch = published();
    let set = format!("finetune={}", scratch.path("published.pth").display());
    let continued = [CONTINUED, &["--set", &set]].concat();
    let message = succeed(&mut scratch.pretrain("run", &continued));
    assert!(message.contains(": 231 tensors loaded"), "{message}");
    assert!(message.contains("not in the file: none"), "{message}");
    // Nothing was learned, so the run's weights are those of the file.
    let run = read_weights(&scratch.path("run").join("model.safetensors")).unwrap().weights;
    for (name, data) in &weights() {
        assert_eq!(data, &run[name], "{name}");
    }
    // It resumes without the file.
    fs::rename(scratch.path("published.pth"), scratch.path("gone.pth")).unwrap();
    succeed(&mut scratch.pretrain("run", &[&continued[..], &["--resume"]].concat()));
    fs::rename(scratch.path("gone.pth"), scratch.path("published.pth")).unwrap();

    let rgb = frame(&scratch, "rgb");
    let options = ["--input", &rgb, "--arrays", "--visible", "rgb=7"];
    let message = succeed(&mut multimae(&scratch, "visualize", "from_file", &options));
    assert!(message.contains("the file has no recipe"), "{message}");
    let mut from_run = Command::new(env!("CARGO_BIN_EXE_multimae"));
    from_run.arg("visualize").arg("--model").arg(scratch.path("run"));
    succeed(from_run.arg("--out").arg(scratch.path("from_run")).args(options));
    assert_eq!(arrays(&scratch, "from_file"), arrays(&scratch, "from_run"));
}

/// The reconstructions of the only frame in a folder, by task.
fn arrays(scratch: &Scratch, out: &str) -> Vec<(&'static str, Vec<u8>)> {
    let array = |task| {
        let dir = fs::read_dir(scratch.path(out)).unwrap().map(|entry| entry.unwrap().path());
        let is_own = |path: &PathBuf| path.to_string_lossy().ends_with(&format!(".{task}.npy"));
        let found: Vec<PathBuf> = dir.filter(is_own).collect();
        assert_eq!(found.len(), 1, "{out}: {task}");
        (task, bytes(found[0].clone()))
    };
    ["depth", "semseg", "rgb", "norm_rgb"].map(array).to_vec()
}

/// Reconstructs the first frame from `rgb` by the weights at a path; gives the arrays and the notices.
fn reconstructed(
    scratch: &Scratch,
    model: &str,
    out: &str,
) -> (Vec<(&'static str, Vec<u8>)>, String) {
    let rgb = frame(scratch, "rgb");
    let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"));
    process.arg("visualize").arg("--model").arg(scratch.path(model));
    process.arg("--out").arg(scratch.path(out));
    let message = succeed(process.args(["--input", &rgb, "--arrays", "--visible", "rgb=7"]));
    (arrays(scratch, out), message)
}

fn convert(scratch: &Scratch, input: &str, output: &str) -> String {
    let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"));
    process.arg("convert").arg("--input").arg(scratch.path(input));
    succeed(process.arg("--output").arg(scratch.path(output)))
}

/// No tensor shows the number of heads: a run's recipe and the `args` of a training script do, in
/// every format that the weights are converted to.
#[test]
fn heads_stay_with_the_weights_in_every_format() {
    let scratch = published();
    let four = [CONTINUED, &["--set", "decoder_num_heads=4"]].concat();
    let set = format!("finetune={}", scratch.path("published.pth").display());
    succeed(&mut scratch.pretrain("run", &[&four[..], &["--set", &set]].concat()));
    let (expected, message) = reconstructed(&scratch, "run", "from_run");
    assert!(!message.contains("no recipe"), "{message}");
    for (input, output) in
        [("run", "a.pth"), ("a.pth", "b.safetensors"), ("b.safetensors", "c.pth")]
    {
        let message = convert(&scratch, input, output);
        assert!(!message.contains("left out (no weights): recipe"), "{message}");
        let (arrays, message) = reconstructed(&scratch, output, &format!("from_{output}"));
        assert!(!message.contains("no recipe"), "{output}: {message}");
        assert!(arrays == expected, "{output}");
    }
    // The same weights with the assumed 8 heads compute something else.
    let (assumed, message) = reconstructed(&scratch, "published.pth", "assumed");
    let says = "1 of the encoder (assumed, as in the known models) and 8 of the decoders (assumed";
    assert!(message.contains(says), "{message}");
    assert!(assumed.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && a.1 != b.1));
    // With the arguments of its training script, a file has the heads that these say.
    let arguments: Arguments<'_> =
        &[("model", Argument::Text("other")), ("decoder_num_heads", Argument::Int(4))];
    fs::write(
        scratch.path("args.pth"),
        crate::common::checkpoint::of_weights(&weights(), arguments),
    )
    .unwrap();
    let (arrays, message) = reconstructed(&scratch, "args.pth", "from_args");
    assert!(message.contains("4 of the decoders (by its `args`)"), "{message}");
    assert!(arrays == expected);
    let message = convert(&scratch, "args.pth", "args.safetensors");
    assert!(message.contains("the output has a recipe"), "{message}");
    assert!(reconstructed(&scratch, "args.safetensors", "from_converted").0 == expected);
}

/// Names and shapes of the published ViT-B with four decoders.
fn published_keys() -> Vec<(String, Vec<usize>)> {
    let mut keys: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| keys.push((name, shape.to_vec()));
    add("global_tokens".to_owned(), &[1, 1, 768]);
    for (task, channels, patch) in [("rgb", 3, 16), ("depth", 1, 16), ("semseg", 64, 4)] {
        let key = |part: &str| format!("input_adapters.{task}.{part}");
        add(key("pos_emb"), &[1, 768, 14, 14]);
        if task == "semseg" {
            add(key("class_emb.weight"), &[133, 64]);
        }
        add(key("proj.weight"), &[768, channels, patch, patch]);
        add(key("proj.bias"), &[768]);
    }
    for (task, out) in [("rgb", 768), ("depth", 256), ("semseg", 2128), ("norm_rgb", 768)] {
        let key = |part: &str| format!("output_adapters.{task}.{part}");
        add(key("mask_token"), &[1, 1, 256]);
        add(key("pos_emb"), &[1, 256, 14, 14]);
        for context in ["depth", "rgb", "semseg"] {
            add(key(&format!("task_embeddings.{context}")), &[1, 1, 256]);
        }
        for (layer, rows) in [("q", 256), ("kv", 512), ("proj", 256)] {
            add(key(&format!("decoder.{layer}.weight")), &[rows, 256]);
            add(key(&format!("decoder.{layer}.bias")), &[rows]);
        }
        for norm in ["context_norm", "query_norm", "out_norm"] {
            add(key(&format!("{norm}.weight")), &[256]);
            add(key(&format!("{norm}.bias")), &[256]);
        }
        for (layer, rows, columns) in [("fc1", 1024, 256), ("fc2", 256, 1024)] {
            add(key(&format!("mlp.{layer}.weight")), &[rows, columns]);
            add(key(&format!("mlp.{layer}.bias")), &[rows]);
        }
        for block in 0..2 {
            for (part, shape) in block_parts(256) {
                add(key(&format!("decoder_transformer.{block}.{part}")), &shape);
            }
        }
        for (layer, rows, columns) in [("out_proj", out, 256), ("proj_context", 256, 768)] {
            add(key(&format!("{layer}.weight")), &[rows, columns]);
            add(key(&format!("{layer}.bias")), &[rows]);
        }
    }
    for block in 0..12 {
        for (part, shape) in block_parts(768) {
            add(format!("encoder.{block}.{part}"), &shape);
        }
    }
    keys
}

fn block_parts(dim: usize) -> Vec<(&'static str, Vec<usize>)> {
    vec![
        ("norm1.weight", vec![dim]),
        ("norm1.bias", vec![dim]),
        ("attn.qkv.weight", vec![3 * dim, dim]),
        ("attn.qkv.bias", vec![3 * dim]),
        ("attn.proj.weight", vec![dim, dim]),
        ("attn.proj.bias", vec![dim]),
        ("norm2.weight", vec![dim]),
        ("norm2.bias", vec![dim]),
        ("mlp.fc1.weight", vec![4 * dim, dim]),
        ("mlp.fc1.bias", vec![4 * dim]),
        ("mlp.fc2.weight", vec![dim, 4 * dim]),
        ("mlp.fc2.bias", vec![dim]),
    ]
}

/// All 351 keys in their published sizes, wrapped as the training script wraps them. Every tensor has
/// a value of its own, so that a permutation shows.
#[test]
fn the_whole_published_model_is_read_and_reconstructs() {
    let scratch = Scratch::new();
    let keys = published_keys();
    assert_eq!(keys.len(), 351);
    let values: usize = keys.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(values, 98_569_360);
    let arguments: Arguments<'_> = &[
        ("model", Argument::Text("pretrain_multimae_base")),
        ("decoder_num_heads", Argument::Int(8)),
        ("standardize_depth", Argument::Bool(true)),
    ];
    let path = scratch.path("published.pth");
    fs::write(&path, crate::common::checkpoint::of_sizes(&keys, arguments)).unwrap();
    let read = read_weights(&path).unwrap();
    assert_eq!(Layout::of(&read.weights), Layout::MultiMae);
    assert!(read.notices.is_empty(), "{:?}", read.notices);
    assert!(read.weights.keys().eq(keys.iter().map(|(name, _)| name)));
    for (index, (name, shape)) in keys.iter().enumerate() {
        let data = &read.weights[name];
        assert_eq!(data.shape().as_slice(), shape.as_slice(), "{name}");
        for at in [0, 1, data.num_elements() - 1] {
            let value = crate::common::checkpoint::element(index, at);
            assert_eq!(data.iter::<f32>().nth(at), Some(value), "{name} {at}");
        }
    }
    drop(read);
    let (_, message) = reconstructed(&scratch, "published.pth", "out");
    let says = "12 of the encoder (by its `args`) and 8 of the decoders (by its `args`)";
    assert!(message.contains(says), "{message}");
}

#[test]
fn predictions_are_of_each_modality_from_the_others() {
    let scratch = published();
    // Tools that sort names put the decoder of standardised patches between the others.
    let mut sorted = weights();
    sorted.sort_unstable_keys();
    write(&scratch, &sorted);
    let (rgb, depth) = (frame(&scratch, "rgb"), frame(&scratch, "depth"));
    succeed(&mut multimae(&scratch, "predict", "rgb", &["--input", &rgb]));
    let files = |out: &str| {
        let mut files: Vec<String> = ["rgb", "depth", "semseg", "norm_rgb"]
            .iter()
            .filter(|task| scratch.path(out).join(task).is_dir())
            .map(|task| (*task).to_owned())
            .collect();
        files.sort();
        files
    };
    assert_eq!(files("rgb"), ["depth", "semseg"]);
    let (rgb, depth) = (format!("rgb={rgb}"), format!("depth={depth}"));
    let both = ["--input", &rgb, "--input", &depth];
    succeed(&mut multimae(&scratch, "predict", "both", &both));
    assert_eq!(files("both"), ["depth", "rgb", "semseg"]);
    let name = |out: &str, file: &str| bytes(scratch.path(out).join(file));
    // Depth is not predicted from itself; labels are from both.
    assert_eq!(name("rgb", "depth/000.npy"), name("both", "depth/000.npy"));
    assert_ne!(name("rgb", "semseg/000.npy"), name("both", "semseg/000.npy"));
    // Files that are stored in another way: twice the numbers, by twice the published 2^16.
    let stored = image::open(depth.trim_start_matches("depth=")).unwrap().into_luma16();
    let doubled = scratch.path("doubled.png");
    let twice = image::ImageBuffer::from_fn(stored.width(), stored.height(), |x, y| {
        image::Luma([2 * stored.get_pixel(x, y).0[0]])
    });
    twice.save(&doubled).unwrap();
    let doubled = format!("depth={}", doubled.display());
    let input = ["--input", rgb.as_str(), "--input", doubled.as_str()];
    let with = |sets: &[&'static str]| {
        let sets = sets.iter().flat_map(|&set| ["--set", set]);
        input.iter().copied().chain(sets).collect::<Vec<&str>>()
    };
    let halved = ["modalities.depth.divisor=131072"];
    succeed(&mut multimae(&scratch, "predict", "halved", &with(&halved)));
    assert!(name("halved", "semseg/000.npy") == name("both", "semseg/000.npy"));
    let far = ["modalities.depth.divisor=131072", "modalities.depth.valid={max: 0.03}"];
    succeed(&mut multimae(&scratch, "predict", "far", &with(&far)));
    assert!(name("far", "semseg/000.npy") != name("both", "semseg/000.npy"));
    let unknown = with(&["modalities.thermal.divisor=2"]);
    let unknown = fail(&mut multimae(&scratch, "predict", "x", &unknown));
    assert!(unknown.contains("no modality `thermal`; it has depth, rgb"), "{unknown}");
    let again = fail(&mut multimae(&scratch, "predict", "both", &both));
    assert!(again.contains("--force"), "{again}");
    let flipped = fail(&mut multimae(&scratch, "predict", "x", &["--input", &depth, "--flip"]));
    assert!(flipped.contains("--flip"), "{flipped}");
}

#[test]
fn fine_tuning_starts_from_it_and_names_another_size() {
    let scratch = published();
    let recipe = scratch.path("tune.yaml");
    let text = "in_domains: rgb\nout_domains: depth\ninput_size: 64\noutput_adapter: light\nepochs: 1\n\
                warmup_epochs: 0\nbatch_size: 4\nlr: 0.001\nsplit: train\nlog_images: 0\n\
                modalities: {depth: {divisor: 1000}}\n";
    fs::write(&recipe, text).unwrap();
    let set = format!("finetune={}", scratch.path("published.pth").display());
    let message = fail(&mut scratch.train("finetune", &recipe, "base", &["--set", &set]));
    let says = "dimension 64 and 2 blocks, the recipe's 768 and 12; set `model`";
    assert!(message.contains(says), "{message}");
    let size = "model={width: 64, depth: 2, heads: 1}";
    let further = ["--set", &set, "--set", size];
    let message = succeed(&mut scratch.train("finetune", &recipe, "run", &further));
    assert!(message.contains("tensors loaded"), "{message}");
}

#[test]
fn a_plain_encoder_starts_pre_training_and_cannot_reconstruct() {
    let scratch = published();
    let vit = to_timm(&weights()).unwrap().weights;
    let path = scratch.path("vit.pth");
    fs::write(&path, write_pth(&vit, 0).unwrap()).unwrap();
    let set = format!("finetune={}", path.display());
    let continued = [CONTINUED, &["--set", &set]].concat();
    let message = succeed(&mut scratch.pretrain("run", &continued));
    assert!(message.contains("input_adapters.semseg (4 tensors)"), "{message}");
    let run = read_weights(&scratch.path("run").join("model.safetensors")).unwrap().weights;
    let own = weights();
    for name in ["encoder.1.attn.qkv.weight", "input_adapters.rgb.proj.weight"] {
        assert_eq!(run[name], own[name], "{name}");
    }
    fs::rename(path, scratch.path("published.pth")).unwrap();
    let rgb = frame(&scratch, "rgb");
    let message = fail(&mut multimae(&scratch, "visualize", "x", &["--input", &rgb]));
    assert!(message.contains("without decoders"), "{message}");
}

#[test]
fn the_server_reconstructs_with_it() {
    let scratch = published();
    let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"))
        .arg("serve")
        .arg("--model")
        .arg(scratch.path("published.pth"))
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("http://"))).unwrap();
    let address = line.split("http://").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let answer = post(&address, "/v1/reconstruct", &frame(&scratch, "rgb"));
    process.kill().unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", stderr(&output));
    let body: serde_json::Value =
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for task in ["depth", "semseg"] {
        let maps = &body["tasks"][task];
        assert!(maps["prediction"].as_str().unwrap().starts_with("data:image/png"), "{task}");
        assert!(maps["original"].is_null(), "{task}");
    }
}

fn post(address: &str, path: &str, image: &str) -> String {
    let body = bytes(Path::new(image).to_owned());
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: image/png\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
