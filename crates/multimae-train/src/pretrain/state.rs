//! The whole state of a run, to and from a checkpoint.

use std::path::Path;

use indexmap::IndexMap;
use multimae::state::{Allowed, StateDict, load, state_dict};
use multimae::weights::{write_model_config, write_safetensors};
use multimae_report::atomic::write_atomically;

use super::Setting;
use crate::ema::Ema;
use crate::learner::Learner;
use crate::optim::AdamW;
use crate::run::{Checkpoint, Position};
use crate::{Error, Result};

const MODEL: &str = "model";
const BALANCER: &str = "balancer";
const OPTIMISER: &str = "optimiser";
const EMA: &str = "ema";

/// What changes during a run.
#[derive(Debug, Clone)]
pub struct State {
    /// Model, balancer, optimiser.
    pub learner: Learner,
    /// Averaged weights, if the recipe asks for them.
    pub ema: Option<Ema>,
    /// Where the run is.
    pub position: Position,
}

impl State {
    /// The state before the first step.
    ///
    /// # Errors
    /// If the model cannot be built.
    pub fn start(setting: &Setting) -> Result<Self> {
        let learner = setting.learner()?;
        let decay = setting.recipe.model_ema_decay;
        let ema = setting.recipe.model_ema.then(|| Ema::new(&learner.model, decay));
        let position = Position::start(setting.recipe.fingerprint());
        Ok(Self { learner, ema, position })
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    /// If the run was begun with another recipe, or the checkpoint lacks a part.
    pub fn restore(setting: &Setting, checkpoint: &Checkpoint) -> Result<Self> {
        setting.recipe.check_continues(&checkpoint.position.fingerprint)?;
        let mut learner = setting.learner()?;
        let strict = Allowed::default();
        learner.model = load(learner.model, &checkpoint.part(MODEL), &strict)?;
        learner.balancer = learner
            .balancer
            .map(|balancer| load(balancer, &checkpoint.part(BALANCER), &strict))
            .transpose()?;
        let optimiser = checkpoint.part(OPTIMISER);
        learner.optimiser =
            AdamW::from_state_dict(setting.optimiser(), &optimiser, &setting.device).ok_or_else(
                || Error::Recipe("the checkpoint's optimiser state is incomplete".to_owned()),
            )?;
        let ema = setting.recipe.model_ema.then(|| {
            let part = checkpoint.part(EMA);
            Ema::from_state_dict(setting.recipe.model_ema_decay, &part, &setting.device)
        });
        Ok(Self { learner, ema, position: checkpoint.position.clone() })
    }

    /// The learner as it is evaluated: averaged weights if there are, without autodiff.
    #[must_use]
    pub fn evaluated(&self) -> Learner {
        let mut learner = self.learner.clone();
        if let Some(ema) = &self.ema {
            learner.model = ema.apply(learner.model);
        }
        learner.without_autodiff()
    }

    /// Everything that [`Self::restore`] needs.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let mut checkpoint =
            Checkpoint { position: self.position.clone(), tensors: StateDict::new() };
        checkpoint.insert_part(MODEL, state_dict(&self.learner.model));
        if let Some(balancer) = &self.learner.balancer {
            checkpoint.insert_part(BALANCER, state_dict(balancer));
        }
        checkpoint.insert_part(OPTIMISER, self.learner.optimiser.state_dict());
        if let Some(ema) = &self.ema {
            checkpoint.insert_part(EMA, ema.state_dict());
        }
        checkpoint
    }

    /// Writes the trained weights with the model's configuration; the averaged ones if there are.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_model(&self, setting: &Setting, path: &Path) -> Result<()> {
        let model = self.evaluated().model;
        let mut metadata: IndexMap<String, String> = [
            ("format".to_owned(), "multimae".to_owned()),
            ("recipe".to_owned(), setting.recipe.to_yaml()),
            ("step".to_owned(), self.position.step.to_string()),
        ]
        .into_iter()
        .collect();
        write_model_config(&setting.model, &mut metadata)?;
        Ok(write_atomically(path, &write_safetensors(&state_dict(&model), &metadata)?)?)
    }
}
