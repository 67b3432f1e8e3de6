//! From a recipe to a run.
//!
//! * A [`PretrainSetup`](pretrain::PretrainSetup) is what follows from it: model, losses, masks, data.
//! * A [`Pretraining`](pretrain::Pretraining) is a run in its [folder](run::RunFolder), which tells
//!   an [`Observer`](observer::Observer) what it does.
//!
//! ```
//! use multimae_train::pretrain::PretrainSetup;
//! use multimae_config::{Override, PretrainRecipe, Resolved};
//!
//! let overrides: Vec<Override> = ["model=tiny", "input_size=[96, 128]", "num_encoded_tokens=48"]
//!     .iter()
//!     .map(|text| text.parse())
//!     .collect::<Result<_, _>>()?;
//! let setup = PretrainSetup::new(Resolved::load(None, &overrides)?.recipe)?;
//! // Three modalities of 6 x 8 patches; a decoder each, and one for standardised RGB.
//! assert_eq!(setup.spec.layout.num_tokens(), 144);
//! assert_eq!(setup.spec.objective.tasks.len(), 4);
//! // The learning rate starts from 0 and decays to 0.
//! let (lr, _) = setup.schedules(100);
//! assert_eq!(lr.at(0), 0.0);
//!
//! let misspelt = Resolved::<PretrainRecipe>::load(None, &["epohcs=3".parse()?]).unwrap_err();
//! assert!(misspelt.to_string().contains("did you mean `epochs`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod compare;
pub mod demo;
pub mod ema;
mod error;
pub mod finetune;
mod first_weights;
pub mod head_loss;
mod labels;
pub mod learner;
pub mod observer;
pub mod optim;
pub mod peers;
pub mod pretrain;
mod report_parts;
pub mod run;
mod sample_order;
pub mod schedule;
mod set_sums;
pub mod step;
pub mod together;
pub mod trainer;

pub use error::{Error, Result};
