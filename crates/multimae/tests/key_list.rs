//! The published models: names, shapes and counts of their parameters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::tensor::{Device, TensorData};
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::multivit::{MultiVit, MultiVitConfig};
use multimae::output_adapters::{
    ConvNeXtConfig, DecoderConfig, DptConfig, DptOutput, HeadConfig, LightConfig, LinearConfig,
    OutputTask, SegmenterConfig, TaskHead, with_aliases,
};
use multimae::positions::NonSquareTables;
use multimae::state::{ParameterInfo, parameters};

fn published(encoder: EncoderConfig, norm_rgb: bool) -> Vec<ParameterInfo> {
    let inputs = vec![
        Modality::continuous("rgb", 3),
        Modality::continuous("depth", 1),
        Modality::categorical("semseg", 133, 4),
    ];
    let extra =
        norm_rgb.then(|| OutputTask { name: "norm_rgb".to_owned(), modality: inputs[0].clone() });
    let config = MultiMaeConfig {
        encoder,
        patch_size: 16,
        image_size: Size::square(224),
        num_global_tokens: 1,
        outputs: inputs.iter().cloned().map(OutputTask::of).chain(extra).collect(),
        inputs,
        decoder: DecoderConfig::default(),
        tables: NonSquareTables::default(),
    };
    parameters(&MultiMae::new(&config, &Device::default().autodiff()).unwrap())
}

fn count(parameters: &[ParameterInfo], select: impl Fn(&ParameterInfo) -> bool) -> usize {
    let size = |p: &ParameterInfo| p.shape.iter().product::<usize>();
    parameters.iter().filter(|p| select(p)).map(size).sum()
}

#[test]
fn base_with_four_decoders() {
    let parameters = published(EncoderConfig::base(), true);
    assert_eq!(parameters.len(), 351);
    assert_eq!(count(&parameters, |_| true), 98_569_360);
    assert_eq!(count(&parameters, |p| p.trainable), 97_917_072);
    let with = |prefix: &'static str| count(&parameters, |p| p.name.starts_with(prefix));
    assert_eq!(with("encoder."), 85_054_464);
    assert_eq!(with("input_adapters.rgb."), 741_120);
    assert_eq!(with("input_adapters.depth."), 347_904);
    assert_eq!(with("input_adapters.semseg."), 946_240);
    assert_eq!(with("output_adapters.rgb."), 2_815_232);
    assert_eq!(with("output_adapters.depth."), 2_683_648);
    assert_eq!(with("output_adapters.semseg."), 3_164_752);
    assert_eq!(with("output_adapters.norm_rgb."), 2_815_232);
    for (name, shape) in [
        ("global_tokens", &[1, 1, 768][..]),
        ("input_adapters.semseg.class_emb.weight", &[133, 64]),
        ("input_adapters.semseg.proj.weight", &[768, 64, 4, 4]),
        ("input_adapters.rgb.pos_emb", &[1, 768, 14, 14]),
        ("output_adapters.semseg.out_proj.weight", &[2128, 256]),
        ("output_adapters.depth.task_embeddings.semseg", &[1, 1, 256]),
        ("output_adapters.rgb.decoder.kv.weight", &[512, 256]),
        ("output_adapters.rgb.decoder_transformer.1.attn.qkv.bias", &[768]),
        ("encoder.11.mlp.fc1.weight", &[3072, 768]),
    ] {
        let found = parameters.iter().find(|p| p.name == name);
        assert_eq!(found.map(|p| p.shape.as_slice()), Some(shape), "{name}");
    }
}

#[test]
fn base_without_norm_rgb() {
    let parameters = published(EncoderConfig::base(), false);
    assert_eq!(parameters.len(), 302);
    assert_eq!(count(&parameters, |_| true), 95_754_128);
    assert_eq!(count(&parameters, |p| p.trainable), 95_152_016);
}

#[test]
fn large_with_four_decoders() {
    let parameters = published(EncoderConfig::large(), true);
    assert_eq!(parameters.len(), 495);
    assert_eq!(count(&parameters, |_| true), 316_762_256);
    assert_eq!(count(&parameters, |p| p.trainable), 315_959_440);
}

/// A published fine-tuning model: ViT-B, heads that read `main_tasks`.
fn finetuned(
    inputs: Vec<Modality>,
    image_size: usize,
    main_tasks: &[&str],
    heads: Vec<(&str, HeadConfig)>,
) -> Vec<ParameterInfo> {
    let main_tasks: Vec<String> = main_tasks.iter().map(|name| (*name).to_owned()).collect();
    let head = |(name, head): (&str, HeadConfig)| TaskHead {
        name: name.to_owned(),
        main_tasks: main_tasks.clone(),
        head,
    };
    let config = MultiVitConfig {
        encoder: EncoderConfig::base(),
        patch_size: 16,
        image_size: Size::square(image_size),
        num_global_tokens: 1,
        inputs,
        heads: heads.into_iter().map(head).collect(),
        tables: NonSquareTables::default(),
    };
    parameters(&MultiVit::new(&config, &Device::default().autodiff()).unwrap())
}

fn rgb() -> Vec<Modality> {
    vec![Modality::continuous("rgb", 3)]
}

fn rgb_depth() -> Vec<Modality> {
    vec![Modality::continuous("rgb", 3), Modality::continuous("depth", 1)]
}

/// The parameters below a prefix, in order, named without it: `name [shape]`.
fn listing(parameters: &[ParameterInfo], prefix: &str) -> Vec<String> {
    let line = |p: &ParameterInfo| Some(format!("{} {:?}", p.name.strip_prefix(prefix)?, p.shape));
    parameters.iter().filter_map(line).collect()
}

fn shape_of(parameters: &[ParameterInfo], name: &str) -> Vec<usize> {
    parameters.iter().find(|p| p.name == name).map(|p| p.shape.clone()).unwrap_or_default()
}

/// Lines with `#` replaced by each of the numbers.
fn repeated(lines: &[&str], numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.flat_map(|k| lines.iter().map(move |line| line.replace('#', &k.to_string()))).collect()
}

fn assert_listing(got: Vec<String>, parts: &[Vec<String>]) {
    assert_eq!(got, parts.concat());
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn convnext_on_rgb() {
    let head = HeadConfig::ConvNeXt(ConvNeXtConfig::new(40));
    let parameters = finetuned(rgb(), 640, &["rgb"], vec![("semseg", head)]);
    assert_eq!(parameters.len(), 184);
    assert_eq!(parameters[0].name, "global_tokens");
    assert_eq!(shape_of(&parameters, "input_adapters.rgb.pos_emb"), [1, 768, 40, 40]);
    let prefix = "output_adapters.semseg.";
    assert_eq!(count(&parameters, |p| p.name.starts_with(prefix)), 9_546_280);
    let block = [
        "blocks.#.dwconv.weight [384, 1, 7, 7]",
        "blocks.#.dwconv.bias [384]",
        "blocks.#.norm.weight [384]",
        "blocks.#.norm.bias [384]",
        "blocks.#.pwconv1.weight [1536, 384]",
        "blocks.#.pwconv1.bias [1536]",
        "blocks.#.pwconv2.weight [384, 1536]",
        "blocks.#.pwconv2.bias [384]",
    ];
    let rest = [
        "final_layer.weight [40, 384, 1, 1]",
        "final_layer.bias [40]",
        "proj_dec.weight [6144, 768]",
        "proj_dec.bias [6144]",
    ];
    assert_listing(listing(&parameters, prefix), &[repeated(&block, 0..=3), lines(&rest)]);
}

#[test]
fn convnext_on_more_inputs() {
    let head = || vec![("semseg", HeadConfig::ConvNeXt(ConvNeXtConfig::new(40)))];
    let weight = "output_adapters.semseg.proj_dec.weight";
    let parameters = finetuned(rgb_depth(), 640, &["rgb"], head());
    assert_eq!(parameters.len(), 187);
    assert_eq!(shape_of(&parameters, weight), [6144, 768]);
    let parameters = finetuned(rgb_depth(), 640, &["rgb", "depth"], head());
    assert_eq!(parameters.len(), 187);
    assert_eq!(shape_of(&parameters, weight), [6144, 1536]);
}

#[test]
fn dpt_for_depth() {
    let head = HeadConfig::Dpt(DptConfig::new(1, DptOutput::Regression));
    let parameters = finetuned(rgb(), 256, &["rgb"], vec![("depth", head)]);
    assert_eq!(parameters.len(), 230 - 18);
    let prefix = "output_adapters.depth.";
    assert_eq!(count(&parameters, |p| p.name.starts_with(prefix)), 20_065_921);
    let scratch = [
        "scratch.layer1_rn.weight [256, 96, 3, 3]",
        "scratch.layer2_rn.weight [256, 192, 3, 3]",
        "scratch.layer3_rn.weight [256, 384, 3, 3]",
        "scratch.layer4_rn.weight [256, 768, 3, 3]",
    ];
    let fusion = [
        "scratch.refinenet#.out_conv.weight [256, 256, 1, 1]",
        "scratch.refinenet#.out_conv.bias [256]",
        "scratch.refinenet#.resConfUnit1.conv1.weight [256, 256, 3, 3]",
        "scratch.refinenet#.resConfUnit1.conv1.bias [256]",
        "scratch.refinenet#.resConfUnit1.conv2.weight [256, 256, 3, 3]",
        "scratch.refinenet#.resConfUnit1.conv2.bias [256]",
        "scratch.refinenet#.resConfUnit2.conv1.weight [256, 256, 3, 3]",
        "scratch.refinenet#.resConfUnit2.conv1.bias [256]",
        "scratch.refinenet#.resConfUnit2.conv2.weight [256, 256, 3, 3]",
        "scratch.refinenet#.resConfUnit2.conv2.bias [256]",
    ];
    let rest = [
        "head.0.weight [128, 256, 3, 3]",
        "head.0.bias [128]",
        "head.2.weight [32, 128, 3, 3]",
        "head.2.bias [32]",
        "head.4.weight [1, 32, 1, 1]",
        "head.4.bias [1]",
        "act_1_postprocess.0.weight [96, 768, 1, 1]",
        "act_1_postprocess.0.bias [96]",
        "act_1_postprocess.1.weight [96, 96, 4, 4]",
        "act_1_postprocess.1.bias [96]",
        "act_2_postprocess.0.weight [192, 768, 1, 1]",
        "act_2_postprocess.0.bias [192]",
        "act_2_postprocess.1.weight [192, 192, 2, 2]",
        "act_2_postprocess.1.bias [192]",
        "act_3_postprocess.0.weight [384, 768, 1, 1]",
        "act_3_postprocess.0.bias [384]",
        "act_4_postprocess.0.weight [768, 768, 1, 1]",
        "act_4_postprocess.0.bias [768]",
        "act_4_postprocess.1.weight [768, 768, 3, 3]",
        "act_4_postprocess.1.bias [768]",
    ];
    let expected = [lines(&scratch), repeated(&fusion, 1..=4), lines(&rest)];
    assert_listing(listing(&parameters, prefix), &expected);
}

#[test]
fn dpt_under_both_names() {
    let written = |head_type, outputs| {
        let head = HeadConfig::Dpt(DptConfig::new(outputs, head_type));
        let parameters = finetuned(rgb(), 256, &["rgb"], vec![("t", head)]);
        let empty = |p: ParameterInfo| (p.name, TensorData::new(Vec::<f32>::new(), [0]));
        with_aliases(parameters.into_iter().map(empty).collect())
    };
    let regression = written(DptOutput::Regression, 1);
    assert_eq!(regression.len(), 230);
    for name in
        ["scratch.layer_rn.3.weight", "act_postprocess.0.1.bias", "act_postprocess.2.0.bias"]
    {
        assert!(regression.contains_key(&format!("output_adapters.t.{name}")), "{name}");
    }
    assert_eq!(written(DptOutput::Semseg, 40).len(), 227);
}

#[test]
fn dpt_for_labels_and_on_more_inputs() {
    let head = HeadConfig::Dpt(DptConfig::new(40, DptOutput::Semseg));
    let parameters = finetuned(rgb_depth(), 256, &["rgb", "depth"], vec![("semseg", head)]);
    let first = "output_adapters.semseg.act_2_postprocess.0.weight";
    assert_eq!(shape_of(&parameters, first), [192, 1536, 1, 1]);
    assert_eq!(
        listing(&parameters, "output_adapters.semseg.head."),
        ["0.weight [256, 256, 3, 3]", "4.weight [40, 256, 1, 1]", "4.bias [40]"]
    );
}

#[test]
fn linear_and_segmenter() {
    let linear = LinearConfig { num_classes: 1000, use_mean_pooling: true };
    let parameters = finetuned(rgb(), 224, &["rgb"], vec![("cls", HeadConfig::Linear(linear))]);
    assert_eq!(parameters.len(), 152);
    assert_eq!(
        listing(&parameters, "output_adapters.cls."),
        ["norm.weight [768]", "norm.bias [768]", "head.weight [1000, 768]", "head.bias [1000]"]
    );
    let head = HeadConfig::Segmenter(SegmenterConfig::new(40));
    let parameters = finetuned(rgb(), 512, &["rgb"], vec![("semseg", head)]);
    let head = listing(&parameters, "output_adapters.semseg.");
    assert_eq!(head.len(), 3 + 2 * 12 + 6);
    for line in [
        "cls_emb [1, 40, 768]",
        "patch_proj.weight [768, 768]",
        "classes_proj.weight [768, 768]",
        "blocks.1.attn.qkv.weight [2304, 768]",
        "decoder_norm.bias [768]",
        "mask_norm.weight [40]",
        "proj_dec.weight [768, 768]",
        "proj_dec.bias [768]",
    ] {
        assert!(head.iter().any(|found| found == line), "{line}");
    }
}

/// Depth and 40 classes together, from RGB: less than a million parameters.
#[test]
fn light_heads_are_light() {
    let heads = vec![
        ("depth", HeadConfig::Light(LightConfig::new(1))),
        ("semseg", HeadConfig::Light(LightConfig::new(40))),
    ];
    let parameters = finetuned(rgb(), 256, &["rgb"], heads);
    let total = count(&parameters, |p| p.name.starts_with("output_adapters."));
    assert_eq!(total, 876_201);
}
