//! The model of Enhanced MultiMAE, a multi-modal masked autoencoder (Bachmann et al., ECCV 2022,
//! arXiv 2204.01678).
//!
//! Four nouns carry the crate:
//!
//! * a [`Modality`](modality::Modality) is data: a name, channels or classes, a stride;
//! * [`TokenMasks`](masking::TokenMasks) say which tokens of which modality the encoder sees;
//! * a [`MultiMae`](model::MultiMae) turns inputs and masks into a
//!   [`Reconstruction`](model::Reconstruction), one map per task;
//! * a [`MultiVit`](multivit::MultiVit) turns whole inputs into the outputs of its layers, and its
//!   [`Head`](output_adapters::Head)s turn those into depth, labels, classes.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use multimae::encoder::{EncoderConfig, Phase};
//! use multimae::input_adapters::ModalityTensor;
//! use multimae::masking::{SampleMask, TokenMasks};
//! use multimae::modality::{Modality, Size};
//! use multimae::model::{Inputs, MultiMae, MultiMaeConfig};
//! use multimae::output_adapters::{DecoderConfig, OutputTask};
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//!
//! let (rgb, depth) = (Modality::continuous("rgb", 3), Modality::continuous("depth", 1));
//! let config = MultiMaeConfig {
//!     encoder: EncoderConfig::new(32, 2, 2),
//!     patch_size: 8,
//!     image_size: Size::new(16, 24),
//!     num_global_tokens: 1,
//!     inputs: vec![rgb.clone()],
//!     outputs: vec![OutputTask::of(rgb), OutputTask::of(depth)],
//!     decoder: DecoderConfig { width: 16, depth: 1, heads: 2, ..DecoderConfig::default() },
//!     tables: Default::default(),
//! };
//! let device = Device::default();
//! let model = MultiMae::new(&config, &device)?;
//! let model = multimae::init::initialise(model, |_name| ChaCha8Rng::seed_from_u64(0));
//!
//! // RGB in, RGB and depth out, four of the six patches hidden.
//! let mut inputs = Inputs::new();
//! inputs.insert("rgb".into(), ModalityTensor::Continuous(Tensor::zeros([1, 3, 16, 24], &device)));
//! let masks = TokenMasks::new(vec![SampleMask::new(vec![true, false, true, true, false, true])])?;
//! let output = model.forward(inputs, &masks, &mut Phase::Evaluation)?;
//! assert_eq!(output.predictions["depth"].dims(), [1, 1, 16, 24]);
//! # Ok::<(), multimae::Error>(())
//! ```

pub mod encoder;
pub mod encoder_output;
mod error;
pub mod init;
pub mod input_adapters;
pub mod interpolate;
mod limits;
pub mod losses;
pub mod masking;
pub mod metrics;
pub mod modality;
pub mod model;
pub mod multivit;
pub mod nn;
pub mod output_adapters;
mod patches;
pub mod peft;
mod phase;
pub mod positions;
pub mod prompts;
pub mod state;
pub mod tokens;
pub mod tuning;
pub mod weights;

pub use error::{Error, Result};

// The engine's types are part of this crate's interface.
pub use burn;
