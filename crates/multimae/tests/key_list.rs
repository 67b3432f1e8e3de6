//! The published models: names, shapes and counts of their parameters.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use multimae::burn::tensor::Device;
use multimae::encoder::EncoderConfig;
use multimae::modality::{Modality, Size};
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
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
