//! The masked autoencoder as a graph, run by another program.

use multimae::burn::tensor::Device;
use multimae::encoder::{EncoderConfig, Phase};
use multimae::masking::{SampleMask, TokenMasks};
use multimae::modality::Modality;
use multimae::model::{MultiMae, MultiMaeConfig};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae::positions::NonSquareTables;
use multimae_export::onnx::{ReconstructionOptions, export_reconstruction};

use crate::models::{CLASSES, SIZE, inputs, varied};
use crate::runtime::{run, tensors};

fn model(decoder: DecoderConfig) -> MultiMae {
    let inputs = vec![Modality::continuous("rgb", 3), Modality::categorical("semseg", CLASSES, 4)];
    // A task that is no input has mask tokens alone as queries.
    let outputs = inputs.iter().cloned().chain([Modality::continuous("depth", 1)]);
    let config = MultiMaeConfig {
        encoder: EncoderConfig { mlp_ratio: 2.0, ..EncoderConfig::new(24, 2, 3) },
        patch_size: 8,
        image_size: SIZE,
        num_global_tokens: 1,
        outputs: outputs.map(OutputTask::of).collect(),
        inputs,
        decoder,
        tables: NonSquareTables::RowColumn,
    };
    varied(MultiMae::new(&config, &Device::default()).unwrap())
}

#[test]
fn reconstructions_agree() {
    let small =
        DecoderConfig { width: 16, depth: 1, heads: 2, mlp_ratio: 2.0, ..Default::default() };
    let cases = [
        ("published", small.clone()),
        ("without task queries", DecoderConfig { use_task_queries: false, ..small.clone() }),
        ("without cross-attention", DecoderConfig { use_xattn: false, ..small }),
    ];
    for (what, decoder) in cases {
        let model = model(decoder);
        let exported = export_reconstruction(&model, ReconstructionOptions::default()).unwrap();
        for visible in [vec![1_usize, 5, 6, 17, 40, 63], vec![3], (0..64).collect()] {
            let names = ["rgb", "semseg"];
            let batch = inputs(&names, 2, SIZE);
            let masked = |token: usize| !visible.contains(&token);
            let mask = SampleMask::new((0..64).map(masked).collect());
            let masks = TokenMasks::new(vec![mask.clone(), mask]).unwrap();
            let ours = model.forward(batch.clone(), &masks, &mut Phase::Evaluation).unwrap();
            let mut feed = tensors(&batch);
            let indices: Vec<i64> = visible.iter().map(|token| *token as i64).collect();
            let indices = tract_onnx::prelude::Tensor::from_shape(&[visible.len()], &indices);
            feed.insert("visible".to_owned(), indices.unwrap());
            let dir = tempfile::tempdir().unwrap();
            let theirs = run(dir.path(), &exported, &feed);
            let mut largest = 0.0_f32;
            for (task, maps) in ours.predictions {
                let (shape, values) = &theirs[&format!("{task}_reconstruction")];
                assert_eq!(&maps.dims()[..], &shape[..]);
                let own: Vec<f32> = maps.into_data().iter().collect();
                let differences = own.iter().zip(values).map(|(a, b)| (a - b).abs());
                largest = differences.fold(largest, f32::max);
            }
            assert!(largest <= 1e-5, "{what}, {} tokens: {largest}", visible.len());
        }
    }
}
