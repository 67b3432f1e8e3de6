//! The other processes of a run, as one step sees them.
//!
//! Passes of a batch are dealt out over processes. Before the optimiser's step, one exchange tells
//! all of them what each did (`record.rs`), then gradients are summed (`reduce.rs`). The norm,
//! clipping and AdamW then have the same numbers everywhere.

mod record;
mod reduce;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use multimae::burn::module::Module;
use multimae::state::parameters;
use multimae_data::Batch;
use multimae_group::{Alone, Group, Wire, all_agree};

pub(crate) use record::{PassRecord, StepRecord, StepSums};

use crate::learner::Learner;
use crate::optim::GradientMap;
use crate::{Error, Result};

/// The group of a run, seen from a step.
#[derive(Debug, Clone, Copy)]
pub struct Peers<'a> {
    group: &'a dyn Group,
    stop: &'a AtomicBool,
    /// The norm of the gradients in the last step of this process.
    last_norm: f64,
    wire: Wire,
}

/// Gradients of the model and of the balancer.
#[derive(Debug, Default)]
pub(crate) struct StepGradients {
    pub(crate) of_model: GradientMap,
    pub(crate) of_balancer: GradientMap,
}

static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a> Peers<'a> {
    /// The group, a flag that asks it to stop, and the last norm of the gradients.
    #[must_use]
    pub fn new(group: &'a dyn Group, stop: &'a AtomicBool, last_norm: f64) -> Self {
        Self { group, stop, last_norm, wire: Wire::F32 }
    }

    /// Sends gradients in this form.
    #[must_use]
    pub fn with_wire(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }

    /// No other process.
    #[must_use]
    pub fn none() -> Peers<'static> {
        Peers::new(&Alone, &NEVER, 0.0)
    }

    /// Whether there are others.
    pub(crate) fn exist(&self) -> bool {
        self.group.size() > 1
    }

    /// The number of samples that the shares of passes are of. Where there are others, how many of
    /// theirs are bad is not known before the exchange.
    pub(crate) fn samples_in(&self, batch: &Batch) -> usize {
        if self.exist() { batch.planned } else { batch.samples.len() }
    }

    /// Puts together what all processes did, and sums their gradients. All continue, or none does.
    ///
    /// # Errors
    /// If a process failed, has other weights than this one, or does not answer.
    pub(crate) fn join<M: Module>(
        &self,
        learner: &Learner<M>,
        batch: &Batch,
        step: u64,
        own: Result<(StepGradients, Vec<PassRecord>)>,
    ) -> Result<(StepGradients, StepSums)> {
        let names = if self.exist() { Names::of(learner) } else { Names::default() };
        let own = own.map(|(gradients, passes)| {
            let record = StepRecord {
                passes,
                samples: batch.samples.len(),
                rejected: batch.rejected.clone(),
                stop: self.stop.load(Ordering::Relaxed),
                last_norm: self.last_norm.to_bits(),
                absent: names.absent_in(&gradients),
            };
            (gradients, record)
        });
        let (gradients, records) = all_agree::<_, _, Error>(self.group, own)?;
        StepRecord::check_norms(&records, step)?;
        let mut sums = StepSums::new(&records, batch)?;
        if !self.exist() {
            return Ok((gradients, sums));
        }
        let present = names.present_in(&records);
        let begun = Instant::now();
        let gradients = self.summed(learner, gradients, (names, &present), sums.correction)?;
        sums.communication = begun.elapsed().as_secs_f64();
        Ok((gradients, sums))
    }

    /// Fails on all processes because this one did.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let failed: Result<((), Vec<StepRecord>)> =
            all_agree::<(), StepRecord, Error>(self.group, Err(error));
        match failed {
            Err(error) => error,
            Ok(_) => Error::Group(multimae_group::Error::Message {
                rank: self.group.rank(),
                problem: "a failure was taken for a success".to_owned(),
            }),
        }
    }

    fn summed<M: Module>(
        &self,
        learner: &Learner<M>,
        own: StepGradients,
        (names, present): (Names, &[bool]),
        correction: f64,
    ) -> Result<StepGradients> {
        let device = learner.model.devices().into_iter().next().unwrap_or_default().inner();
        let reduce = reduce::Reduction { group: self.group, wire: self.wire, correction, device };
        let (of_model, of_balancer) = present.split_at(names.of_model.len());
        let wanted = |names: Vec<(String, usize)>, present: &[bool]| {
            let pairs = names.into_iter().zip(present).filter(|(_, present)| **present);
            pairs.map(|(name, _)| name).collect::<Vec<_>>()
        };
        Ok(StepGradients {
            of_model: reduce.sum(own.of_model, wanted(names.of_model, of_model))?,
            of_balancer: reduce.sum(own.of_balancer, wanted(names.of_balancer, of_balancer))?,
        })
    }
}

/// Trained parameters in the order of the modules, with their numbers of values.
#[derive(Debug, Default)]
struct Names {
    of_model: Vec<(String, usize)>,
    of_balancer: Vec<(String, usize)>,
}

impl Names {
    fn of<M: Module>(learner: &Learner<M>) -> Self {
        let trained = |parameters: Vec<multimae::state::ParameterInfo>| {
            let trained = parameters.into_iter().filter(|parameter| parameter.trainable);
            trained.map(|p| (p.name, p.shape.iter().product())).collect()
        };
        Self {
            of_model: trained(parameters(&learner.model)),
            of_balancer: learner.balancer.as_ref().map(parameters).map(trained).unwrap_or_default(),
        }
    }

    /// The places of parameters without gradient here, those of the balancer behind the model's.
    fn absent_in(&self, gradients: &StepGradients) -> Vec<u32> {
        let of_model = self.of_model.iter().map(|(name, _)| gradients.of_model.contains_key(name));
        let of_balancer =
            self.of_balancer.iter().map(|(name, _)| gradients.of_balancer.contains_key(name));
        let all = of_model.chain(of_balancer).zip(0..);
        all.filter(|(present, _)| !present).map(|(_, place)| place).collect()
    }

    /// Whether any process has a gradient of each parameter.
    fn present_in(&self, records: &[StepRecord]) -> Vec<bool> {
        let mut absent = vec![0; self.of_model.len() + self.of_balancer.len()];
        for place in records.iter().flat_map(|record| &record.absent) {
            if let Some(count) = absent.get_mut(*place as usize) {
                *count += 1;
            }
        }
        absent.into_iter().map(|count| count < records.len()).collect()
    }
}
