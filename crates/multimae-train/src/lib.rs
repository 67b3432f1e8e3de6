//! From a recipe to a run.
//!
//! * A [recipe](recipe::PretrainRecipe) is what a person writes: defaults, a YAML file, overrides.
//! * A [`Setting`](pretrain::Setting) is what follows from it: model, losses, masks, data.
//! * A [`Pretraining`](pretrain::Pretraining) is a run in its [folder](run::RunFolder), which tells
//!   an [`Observer`](observer::Observer) what it does.
//!
//! ```
//! use multimae_train::pretrain::Setting;
//! use multimae_train::recipe::{Override, PretrainRecipe, Resolved};
//!
//! let overrides: Vec<Override> = ["model=tiny", "input_size=[96, 128]", "num_encoded_tokens=48"]
//!     .iter()
//!     .map(|text| text.parse())
//!     .collect::<Result<_, _>>()?;
//! let setting = Setting::new(Resolved::load(None, &overrides)?.recipe)?;
//! // Three modalities of 6 x 8 patches; a decoder each, and one for standardised RGB.
//! assert_eq!(setting.layout.num_tokens(), 144);
//! assert_eq!(setting.objective.tasks.len(), 4);
//! // The learning rate starts from 0 and decays to 0.
//! let (lr, _) = setting.schedules(100);
//! assert_eq!(lr.at(0), 0.0);
//!
//! let misspelt = Resolved::<PretrainRecipe>::load(None, &["epohcs=3".parse()?]).unwrap_err();
//! assert!(misspelt.to_string().contains("did you mean `epochs`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod batch;
mod classes;
pub mod compare;
pub mod demo;
pub mod device;
pub mod ema;
mod error;
pub mod evaluate;
pub mod finetune;
pub mod learner;
pub mod observer;
pub mod optim;
pub mod predict;
pub mod pretrain;
pub mod pretrained;
pub mod recipe;
mod report_parts;
pub mod run;
pub mod saved_model;
pub mod schedule;
pub mod step;
pub mod trainer;
pub mod visualize;

pub use error::{Error, Result};
