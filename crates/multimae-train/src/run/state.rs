//! The whole state of a run, to and from a checkpoint.

use multimae::burn::module::Module;
use multimae::burn::tensor::Device;
use multimae::state::{AllowedKeys, StateDict, load, state_dict};

use multimae_infer::checkpoint::{EMA, MODEL};

use super::{Checkpoint, Position};
use crate::Result;
use crate::ema::Ema;
use crate::learner::Learner;
use crate::optim::{AdamW, AdamWConfig};

const BALANCER: &str = "balancer";
const OPTIMISER: &str = "optimiser";

/// The changing state of a run.
#[derive(Debug, Clone)]
pub struct State<M> {
    /// Model, balancer, optimiser.
    pub learner: Learner<M>,
    /// Averaged weights, if the recipe asks for them.
    pub ema: Option<Ema>,
    /// The position of the run.
    pub position: Position,
}

impl<M: Module> State<M> {
    /// The state before the first step, with averaged weights if a decay is given.
    #[must_use]
    pub fn start(learner: Learner<M>, ema_decay: Option<f64>) -> Self {
        let ema = ema_decay.map(|decay| Ema::new(&learner.model, decay));
        Self { learner, ema, position: Position::start() }
    }

    /// The state that a checkpoint holds, in the shape of `fresh`.
    ///
    /// # Errors
    /// If the checkpoint lacks a part or does not fit.
    pub fn restore(
        fresh: Learner<M>,
        ema_decay: Option<f64>,
        optimiser: AdamWConfig,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<Self> {
        let strict = AllowedKeys::default();
        let mut learner = fresh;
        learner.model = load(learner.model, checkpoint.part(MODEL), &strict)?;
        learner.balancer = learner
            .balancer
            .map(|balancer| load(balancer, checkpoint.part(BALANCER), &strict))
            .transpose()?;
        learner.optimiser = AdamW::from_state_dict(optimiser, &checkpoint.part(OPTIMISER), device)?;
        let ema = ema_decay.map(|decay| Ema::from_state_dict(decay, &checkpoint.part(EMA), device));
        Ok(Self { learner, ema, position: checkpoint.position.clone() })
    }

    /// The learner as it is evaluated: averaged weights if there are, without autodiff.
    #[must_use]
    pub fn evaluated(&self) -> Learner<M> {
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
}
