//! Predictions of samples, each with an adapter of its own, in as few passes as can be.

use std::borrow::Borrow;

use indexmap::IndexMap;
use multimae::encoder::Phase;
use multimae::output_adapters::Prediction;
use multimae::peft::forward_batched;
use multimae_data::Sample;

use super::{AdapterBank, Entry};
use crate::Result;

impl AdapterBank {
    /// Predicts samples of any sizes, each with the adapter that is named beside it. Samples whose
    /// adapters leave the linear layers of the backbone as they are go through the encoder together.
    ///
    /// # Errors
    /// If there is no such adapter, or samples do not fit theirs.
    pub fn predict(&self, samples: &[(&str, Sample)]) -> Result<Vec<IndexMap<String, Prediction>>> {
        let (mut cards, mut prepared) = (Vec::new(), Vec::new());
        for (name, sample) in samples {
            let card = self.card(name).ok_or_else(|| self.unknown(name))?;
            prepared.push((*name, card.prepared(sample)));
            cards.push(card);
        }
        let predictions = self.forward(&prepared)?;
        cards.iter().zip(predictions).map(|(card, own)| card.outputs(own)).collect()
    }

    /// The outputs of the heads for prepared samples, each with the adapter that is
    /// named beside it; passes are shared as in [`Self::predict`].
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn forward<S: Borrow<Sample>>(
        &self,
        prepared: &[(&str, S)],
    ) -> Result<Vec<IndexMap<String, Prediction>>> {
        let mut outputs: Vec<Option<IndexMap<String, Prediction>>> =
            prepared.iter().map(|_| None).collect();
        for pass in self.passes(prepared)? {
            let batches = pass.iter().map(|(entry, places)| {
                let own: Vec<&Sample> =
                    places.iter().map(|&place| prepared[place].1.borrow()).collect();
                Ok((&entry.saved.model, entry.card.stacked(&own, &self.device)?))
            });
            let batches = batches.collect::<Result<_>>()?;
            let forward = || forward_batched(batches, &mut Phase::Evaluation);
            let predictions = self.precision.scope(|| self.prepared.scope(forward))?;
            for ((_, places), predictions) in pass.iter().zip(predictions) {
                for (index, &place) in places.iter().enumerate() {
                    let own =
                        predictions.iter().map(|(task, of)| (task.clone(), sample(of, index)));
                    outputs[place] = Some(own.collect());
                }
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// Batches of one adapter and size, those together that share a pass.
    pub(super) fn passes<S: Borrow<Sample>>(
        &self,
        samples: &[(&str, S)],
    ) -> Result<Vec<Vec<Batch<'_>>>> {
        let mut batches: IndexMap<Kind<'_>, Vec<usize>> = IndexMap::new();
        for (place, (name, sample)) in samples.iter().enumerate() {
            let size = sample.borrow().maps.values().next().map(|map| (map.height, map.width));
            batches.entry((name, size)).or_default().push(place);
        }
        let mut passes: Vec<Vec<Batch<'_>>> = Vec::new();
        for ((name, _), places) in batches {
            let entry: &Entry = self.adapters.get(name).ok_or_else(|| self.unknown(name))?;
            let shares =
                |pass: &&mut Vec<Batch<'_>>| pass.iter().all(|(other, _)| shares(entry, other));
            match passes.iter_mut().find(shares) {
                Some(pass) => pass.push((entry, places)),
                None => passes.push(vec![(entry, places)]),
            }
        }
        Ok(passes)
    }
}

/// The properties that samples of a batch share: an adapter and a size.
type Kind<'a> = (&'a str, Option<(usize, usize)>);

/// An adapter and the places of its samples.
pub(super) type Batch<'a> = (&'a Entry, Vec<usize>);

fn shares(one: &Entry, other: &Entry) -> bool {
    std::ptr::eq(one, other)
        || (one.keeps_linear_weights
            && other.keeps_linear_weights
            && one.saved.model.can_batch_with(&other.saved.model))
}

fn sample(prediction: &Prediction, index: usize) -> Prediction {
    match prediction {
        Prediction::Maps(maps) => Prediction::Maps(maps.clone().narrow(0, index, 1)),
        Prediction::Classes(logits) => Prediction::Classes(logits.clone().narrow(0, index, 1)),
    }
}
