//! Folders of transformers, timm and PEFT: their files, names and shapes, and the errors of what they cannot
//! express. Their numbers are compared by `python/check.py`.

use multimae::burn::tensor::TensorData;
use multimae::modality::Size;
use multimae::state::{StateDict, state_dict, update};
use multimae::weights::read_safetensors;
use multimae_export::{Card, Error, ExportFolder, RunScores, peft, timm, transformers};
use multimae_infer::saved_model::SavedModel;
use serde_json::{Value, json};

use crate::models::{CLASSES, dpt, light, model_of_patches};

/// A size that transformers can express.
const SQUARE: Option<Size> = Some(Size { height: 64, width: 64 });

fn depth(peft: Value) -> SavedModel {
    model_of_patches(16, &["rgb"], vec![dpt("depth", &["rgb"], 1, "regression")], peft)
}

fn card() -> Card {
    let scores = RunScores {
        split: "test".to_owned(),
        dataset: "nyu".to_owned(),
        scores: [("depth_rmse", 0.5), ("semseg_miou", 0.25), ("score", 0.4)]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
    };
    Card { folder: "rooms".to_owned(), license: None, scores: Some(scores) }
}

fn json_of(folder: &ExportFolder, path: &str) -> Value {
    serde_json::from_slice(folder.file(path).unwrap()).unwrap()
}

/// Names and shapes of the tensors of a file in a folder.
fn shapes(folder: &ExportFolder, path: &str) -> indexmap::IndexMap<String, Vec<usize>> {
    let shape = |(name, data): (String, TensorData)| (name, data.shape().to_vec());
    tensors(folder, path).into_iter().map(shape).collect()
}

fn tensors(folder: &ExportFolder, path: &str) -> StateDict {
    let dir = tempfile::tempdir().unwrap();
    folder.write(dir.path(), false).unwrap();
    let bytes = fs_err::read(dir.path().join(path)).unwrap();
    let format = b"\"format\":\"pt\"";
    assert!(bytes.windows(format.len()).any(|window| window == format), "format: pt");
    read_safetensors(&dir.path().join(path)).unwrap().0
}

#[test]
fn dpt_models_have_the_names_of_transformers() {
    let folder =
        transformers::export(&depth(json!({"ssf": true})), (None, SQUARE), &card()).unwrap();
    let config = json_of(&folder, "config.json");
    assert_eq!(config["architectures"], json!(["DPTForDepthEstimation"]));
    assert_eq!(config["backbone_out_indices"], json!([0, 1, 2, 3]));
    assert_eq!(config["image_size"], 64);
    let shapes = shapes(&folder, "model.safetensors");
    assert_eq!(shapes["dpt.embeddings.position_embeddings"], [1, 17, 24]);
    assert_eq!(shapes["dpt.encoder.layer.3.attention.attention.value.weight"], [24, 24]);
    assert_eq!(
        shapes["neck.fusion_stage.layers.3.residual_layer2.convolution1.weight"],
        [8, 8, 3, 3]
    );
    assert!(!shapes.contains_key("neck.reassemble_stage.layers.2.resize.weight"));
    // 7 of embeddings and norm, 16 a block, 4 x 2 + 3 x 2 + 4 of reassembly and convs, 4 x 10 of fusion, 6 of the head.
    assert_eq!(shapes.len(), 6 + 4 * 16 + 18 + 40 + 6);
    let text = std::str::from_utf8(folder.file("README.md").unwrap()).unwrap();
    assert!(text.contains("\"model-index\"") && text.contains("depth_rmse"), "{text}");
    assert!(!text.contains("semseg_miou") && !text.contains("\"score\""), "other tasks: {text}");
    assert!(text.contains("pipeline(\"depth-estimation\", model=\"rooms\")"), "{text}");
}

#[test]
fn classes_lose_void_and_keep_their_names() {
    let heads = vec![dpt("semseg", &["rgb"], CLASSES + 1, "semseg"), light("depth", 1)];
    let saved = model_of_patches(16, &["rgb"], heads, json!({}));
    let folder = transformers::export(&saved, (None, SQUARE), &Card::default()).unwrap();
    let config = json_of(&folder, "config.json");
    assert_eq!(config["id2label"]["4"], "class 4");
    assert_eq!(config["label2id"].as_object().unwrap().len(), CLASSES);
    let shapes = shapes(&folder, "model.safetensors");
    assert_eq!(shapes["head.head.4.weight"], [CLASSES, 8, 1, 1]);
    assert_eq!(shapes["head.head.1.running_var"], [8]);
}

#[test]
fn other_formats_are_named_where_one_has_no_place() {
    let says = |saved: &SavedModel, task: Option<&str>| match transformers::export(
        saved,
        (task, SQUARE),
        &card(),
    ) {
        Err(error @ (Error::Inexpressible { .. } | Error::Request(_))) => error.to_string(),
        other => panic!("{:?}", other.map(|_| ())),
    };
    let prompts = says(&depth(json!({"prompts": {"kind": "deep", "count": 2}})), None);
    assert!(prompts.contains("prompts") && prompts.contains("--to onnx"), "{prompts}");
    let two = ["rgb", "depth_in"];
    let rgbd = model_of_patches(16, &two, vec![dpt("depth", &two, 1, "regression")], json!({}));
    assert!(says(&rgbd, None).contains("rgb, depth_in"), "{}", says(&rgbd, None));
    let patches =
        model_of_patches(8, &["rgb"], vec![dpt("depth", &["rgb"], 1, "regression")], json!({}));
    assert!(says(&patches, None).contains("patches of 8 pixels"), "{}", says(&patches, None));
    let log = model_of_patches(
        16,
        &["rgb"],
        vec![dpt("log_depth", &["rgb"], 1, "regression")],
        json!({}),
    );
    assert!(says(&log, None).contains("logarithm"), "{}", says(&log, None));
    let other = model_of_patches(16, &["rgb"], vec![light("depth", 1)], json!({}));
    assert!(says(&other, None).contains("DPT"), "{}", says(&other, None));
    assert!(
        says(&other, Some("normals")).contains("it has depth"),
        "{}",
        says(&other, Some("normals"))
    );
    let heads =
        vec![dpt("depth", &["rgb"], 1, "regression"), dpt("semseg", &["rgb"], CLASSES, "semseg")];
    let both = model_of_patches(16, &["rgb"], heads, json!({}));
    assert!(says(&both, None).contains("--task"), "{}", says(&both, None));
    assert!(transformers::export(&both, (Some("semseg"), SQUARE), &card()).is_ok());
    let oblong =
        transformers::export(&both, (Some("semseg"), None), &card()).unwrap_err().to_string();
    assert!(oblong.contains("32 x 64") && oblong.contains("--size 64x64"), "{oblong}");
    let error = timm::export(&rgbd, &card()).unwrap_err().to_string();
    assert!(error.contains("rgb, depth_in"), "{error}");
    let error = peft::export(&depth(json!({})), None, &card()).unwrap_err().to_string();
    assert!(error.contains("without LoRA"), "{error}");
}

#[test]
fn encoders_have_the_names_of_timm() {
    let folder = timm::export(&depth(json!({"lora": {"rank": 2}})), &card()).unwrap();
    let config = json_of(&folder, "config.json");
    assert_eq!(config["model_args"]["embed_dim"], 24);
    assert_eq!(config["pretrained_cfg"]["input_size"], json!([3, 32, 64]));
    let shapes = shapes(&folder, "model.safetensors");
    assert_eq!(shapes["pos_embed"], [1, 8, 24]);
    assert_eq!(shapes["blocks.3.attn.qkv.weight"], [72, 24]);
    assert_eq!(shapes.len(), 4 + 4 * 12);
}

#[test]
fn lora_is_beside_its_frozen_encoder() {
    let saved = depth(json!({"lora": {"rank": 2, "alpha": 6.0, "targets": ["qkv", "fc1"]}}));
    let folder = peft::export(&saved, None, &card()).unwrap();
    let config = json_of(&folder, "adapter_config.json");
    assert_eq!(config["lora_alpha"], 6.0);
    assert_eq!(config["target_modules"], json!(["attn.qkv", "mlp.fc1"]));
    let adapter = shapes(&folder, "adapter_model.safetensors");
    assert_eq!(adapter["base_model.model.blocks.0.attn.qkv.lora_A.weight"], [2, 24]);
    assert_eq!(adapter["base_model.model.blocks.0.mlp.fc1.lora_B.weight"], [48, 2]);
    assert_eq!(adapter.len(), 4 * 4);
    assert_eq!(shapes(&folder, "base/model.safetensors").len(), 4 + 4 * 12);
}

/// A model whose block norms were tuned, and the backbone before that.
fn tuned_norms(peft: Value) -> (SavedModel, StateDict) {
    let mut saved = depth(peft);
    let before = state_dict(&saved.model);
    let backbone =
        |(name, _): &(String, _)| name.starts_with("encoder.") && !name.contains(".lora.");
    let before: StateDict = before.into_iter().filter(backbone).collect();
    saved.model = update(saved.model, |name, value| {
        (name.contains(".norm1.") || name == "encoder.2.norm2.bias").then(|| value.add_scalar(0.5))
    });
    (saved, before)
}

fn first(folder: &ExportFolder, file: &str, tensor: &str) -> f32 {
    tensors(folder, file)[tensor].iter::<f32>().next().unwrap()
}

#[test]
fn tuned_norms_are_beside_the_encoder_as_it_was() {
    let (saved, before) = tuned_norms(json!({}));
    let folder = peft::export(&saved, Some(&before), &card()).unwrap();
    assert_eq!(json_of(&folder, "adapter_config.json")["peft_type"], "LN_TUNING");
    let adapter = shapes(&folder, "adapter_model.safetensors");
    assert_eq!(adapter.len(), 2 * 4 + 1, "only what changed: {adapter:?}");
    assert_eq!(adapter["base_model.model.blocks.0.norm1.ln_tuning_layers.weight"], [24]);
    let tuned = "base_model.model.blocks.2.norm2.ln_tuning_layers.bias";
    let base = first(&folder, "base/model.safetensors", "blocks.2.norm2.bias");
    assert_eq!(first(&folder, "adapter_model.safetensors", tuned), base + 0.5);
}

#[test]
fn lora_with_tuned_norms_saves_these_whole() {
    let (saved, before) = tuned_norms(json!({"lora": {"rank": 2}}));
    let folder = peft::export(&saved, Some(&before), &card()).unwrap();
    let config = json_of(&folder, "adapter_config.json");
    assert_eq!(
        (&config["peft_type"], &config["modules_to_save"]),
        (&json!("LORA"), &json!(["norm1", "norm2"]))
    );
    let adapter = shapes(&folder, "adapter_model.safetensors");
    assert_eq!(adapter["base_model.model.blocks.3.norm1.bias"], [24]);
    // Anything else that changed has no place.
    let (mut saved, before) = tuned_norms(json!({"lora": {"rank": 2}}));
    saved.model = update(saved.model, |name, value| {
        (name == "encoder.1.mlp.fc1.bias").then(|| value.add_scalar(0.5))
    });
    let error = peft::export(&saved, Some(&before), &card()).unwrap_err().to_string();
    assert!(error.contains("encoder.1.mlp.fc1.bias") && error.contains("--to onnx"), "{error}");
}

#[test]
fn files_that_are_there_stay_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs_err::write(&path, "mine").unwrap();
    let folder = timm::export(&depth(json!({})), &card()).unwrap();
    let error = folder.write(dir.path(), false).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("--force"), "{error}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "mine");
    assert!(!dir.path().join("model.safetensors").exists(), "nothing is half-written");
    folder.write(dir.path(), true).unwrap();
    assert!(fs_err::read_to_string(&path).unwrap().contains("architecture"));
}
