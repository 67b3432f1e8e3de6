//! Both heads on given layers, forward and backward.

use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::encoder_output::EncoderOutput;
use multimae::peft::PeftModel;
use multimae::state::{StateDict, take_gradients};
use multimae::tokens::TokenLayout;

use super::{Targets, Workload, number, peft_model};
use crate::Result;
use crate::folder::CaseFolder;

pub(super) struct Heads {
    model: PeftModel,
    /// Of the blocks that heads read; the others stand empty.
    layers: Vec<Tensor<3>>,
    read: Vec<usize>,
    layout: TokenLayout,
    targets: Targets,
}

impl Heads {
    pub(super) fn new(folder: &CaseFolder, weights: StateDict) -> Result<Self> {
        let (case, device) = (&folder.case, Device::default().autodiff());
        let model = peft_model(folder, weights, &device)?;
        let grid = case.size().grid(case.patch)?;
        let mut read = Vec::new();
        let layers = (0..case.sizes.depth)
            .map(|block| {
                let name = format!("layer.{block}");
                if !folder.inputs.contains_key(&name) {
                    return Ok(Tensor::zeros([1, 1, 1], &device));
                }
                read.push(block);
                folder.values(&name, &device)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            layout: TokenLayout::new(case.in_domains.iter().map(String::as_str), grid),
            model,
            layers,
            read,
            targets: Targets::read(folder, &device)?,
        })
    }
}

impl Workload for Heads {
    fn step(&mut self) -> Result<f64> {
        let mut layers = self.layers.clone();
        for &block in &self.read {
            layers[block] = layers[block].clone().detach().require_grad();
        }
        let config = self.model.vit.config();
        let output = EncoderOutput {
            layers,
            layout: self.layout.clone(),
            num_global_tokens: config.num_global_tokens,
            image_size: config.image_size,
        };
        let predictions = self.model.vit.forward_heads(&output, &mut Phase::Evaluation)?;
        let loss = self.targets.total(&predictions)?;
        let mut gradients = loss.backward();
        let of_heads = take_gradients(&self.model, &mut gradients);
        let of_layers: Vec<_> =
            self.read.iter().map(|&block| output.layers[block].grad(&gradients)).collect();
        debug_assert!(!of_heads.is_empty() && of_layers.iter().all(Option::is_some));
        Ok(number(&loss))
    }
}
