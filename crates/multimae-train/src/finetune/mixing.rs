//! Mixing of images and their classes: mixup (Zhang et al., 2018) and cutmix (Yun et al., 2019).

use multimae::burn::tensor::{Tensor, TensorData};
use multimae::input_adapters::ModalityTensor;
use multimae::model::Inputs;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution};

use crate::{Error, Result};
use multimae_config::FinetuneRecipe;
use multimae_infer::saved_model::ModelCard;

/// The mixing of a batch's images: each with the one at the same place from the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixing {
    /// Parameter of the beta distribution of mixup; 0 for none.
    pub mixup: f64,
    /// Parameter of the beta distribution of cutmix; 0 for none.
    pub cutmix: f64,
    /// Smallest and largest side of cutmix's rectangle over the image's, instead of a share from
    /// the beta distribution.
    pub minmax: Option<[f64; 2]>,
    /// Probability that a batch is mixed.
    pub probability: f64,
    /// Share of cutmix where both are on.
    pub switch: f64,
    /// Share of the mass that is spread over all classes.
    pub smoothing: f64,
    /// Number of classes.
    pub classes: usize,
}

/// The mix of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mix {
    Nothing,
    /// The share of the image itself.
    Pixels(f64),
    /// Top, left, height and width as shares of the image.
    Rectangle([f64; 4]),
}

impl Mixing {
    /// Returns the mixing of a recipe, if it classifies images.
    pub(super) fn of(recipe: &FinetuneRecipe, card: &ModelCard) -> Result<Option<Self>> {
        let classes = card.tasks.values().next().map_or(0, |card| card.task.image_classes().len());
        if classes == 0 {
            return Ok(None);
        }
        let cutmix = if recipe.cutmix_minmax.is_some() { 1.0 } else { recipe.cutmix };
        if recipe.mixup_prob == 0.0 || (recipe.mixup <= 0.0 && cutmix <= 0.0) {
            return Ok(None);
        }
        if let Some([low, high]) = recipe.cutmix_minmax
            && !(0.0 < low && low <= high && high < 1.0)
        {
            return Err(Error::Recipe(
                "`cutmix_minmax` must be [low, high] with 0 < low <= high < 1".to_owned(),
            ));
        }
        let categorical = card.model.inputs.iter().any(|modality| {
            matches!(modality.kind, multimae::modality::ModalityKind::Categorical { .. })
        });
        if categorical && recipe.mixup > 0.0 {
            return Err(Error::Recipe(
                "labels cannot be mixed by pixels; set `mixup: 0` where labels are an input"
                    .to_owned(),
            ));
        }
        Ok(Some(Self {
            mixup: recipe.mixup.max(0.0),
            cutmix: cutmix.max(0.0),
            minmax: recipe.cutmix_minmax,
            probability: recipe.mixup_prob,
            switch: recipe.mixup_switch_prob,
            smoothing: recipe.smoothing,
            classes,
        }))
    }

    /// Mixes inputs and gives the distributions of their classes `(B, classes)`.
    ///
    /// # Errors
    /// If the parameters of the distributions make no sense.
    pub fn mix(
        &self,
        inputs: Inputs,
        classes: &[usize],
        rng: &mut dyn Rng,
    ) -> Result<(Inputs, Vec<f32>)> {
        let mix = self.draw(rng)?;
        let mut share = 1.0;
        let mut mixed = Inputs::new();
        for (name, input) in inputs {
            let (input, own) = apply(mix, input);
            share = own;
            mixed.insert(name, input);
        }
        Ok((mixed, self.distributions(classes, share)))
    }

    fn draw(&self, rng: &mut dyn Rng) -> Result<Mix> {
        if rng.random::<f64>() >= self.probability {
            return Ok(Mix::Nothing);
        }
        let both = self.mixup > 0.0 && self.cutmix > 0.0;
        let cut = if both { rng.random::<f64>() < self.switch } else { self.cutmix > 0.0 };
        let mut beta = |alpha: f64| -> Result<f64> {
            Beta::new(alpha, alpha).map(|beta| beta.sample(&mut *rng)).map_err(|_| {
                Error::Recipe(format!("`mixup` or `cutmix`: {alpha} is no parameter of mixing"))
            })
        };
        if !cut {
            return Ok(Mix::Pixels(beta(self.mixup)?));
        }
        if let Some([low, high]) = self.minmax {
            let (height, width) = (rng.random_range(low..=high), rng.random_range(low..=high));
            let top = rng.random_range(0.0..=1.0 - height);
            let left = rng.random_range(0.0..=1.0 - width);
            return Ok(Mix::Rectangle([top, left, height, width]));
        }
        let side = (1.0 - beta(self.cutmix)?).max(0.0).sqrt();
        // The centre is anywhere; what lies outside is cut off.
        let centre = [rng.random::<f64>(), rng.random::<f64>()];
        let [top, left] = centre.map(|c| (c - side / 2.0).max(0.0));
        let [bottom, right] = centre.map(|c| (c + side / 2.0).min(1.0));
        Ok(Mix::Rectangle([top, left, bottom - top, right - left]))
    }

    fn distributions(&self, classes: &[usize], share: f64) -> Vec<f32> {
        let spread = self.smoothing / self.classes.max(1) as f64;
        let mut out = vec![spread as f32; classes.len() * self.classes];
        let on = 1.0 - self.smoothing;
        let mut add = |row: usize, class: usize, mass: f64| {
            if let Some(value) = out.get_mut(row * self.classes + class) {
                *value += mass as f32;
            }
        };
        for (row, (&own, &other)) in classes.iter().zip(classes.iter().rev()).enumerate() {
            add(row, own, on * share);
            add(row, other, on * (1.0 - share));
        }
        out
    }
}

/// The mixed input, and the share of itself that each image keeps.
fn apply(mix: Mix, input: ModalityTensor) -> (ModalityTensor, f64) {
    match (mix, input) {
        (Mix::Nothing, input) => (input, 1.0),
        (Mix::Pixels(share), ModalityTensor::Continuous(maps)) => {
            let other = maps.clone().flip([0]);
            let mixed = maps.mul_scalar(share) + other.mul_scalar(1.0 - share);
            (ModalityTensor::Continuous(mixed), share)
        }
        (Mix::Pixels(share), labels) => (labels, share),
        (Mix::Rectangle(place), ModalityTensor::Continuous(maps)) => {
            let [batch, channels, height, width] = maps.dims();
            let (cut, share) = rectangle(place, height, width);
            let cut = Tensor::<2>::from_data(TensorData::new(cut, [height, width]), &maps.device());
            let cut = cut.greater_elem(0.5).reshape([1, 1, height, width]);
            let other = maps.clone().flip([0]);
            let mixed = maps.mask_where(cut.expand([batch, channels, height, width]), other);
            (ModalityTensor::Continuous(mixed), share)
        }
        (Mix::Rectangle(place), ModalityTensor::Categorical(labels)) => {
            let [batch, height, width] = labels.dims();
            let (cut, share) = rectangle(place, height, width);
            let device = labels.device();
            let cut = Tensor::<2>::from_data(TensorData::new(cut, [height, width]), &device);
            let cut = cut.greater_elem(0.5).reshape([1, height, width]);
            let other = labels.clone().flip([0]);
            let mixed = labels.mask_where(cut.expand([batch, height, width]), other);
            (ModalityTensor::Categorical(mixed), share)
        }
    }
}

/// The pixels of a rectangle as ones, and the share of the others.
fn rectangle([top, left, rows, columns]: [f64; 4], height: usize, width: usize) -> (Vec<f32>, f64) {
    let pixels = |from: f64, length: f64, side: usize| {
        let start = (from * side as f64) as usize;
        let end = ((from + length) * side as f64) as usize;
        start..end.min(side)
    };
    let (y, x) = (pixels(top, rows, height), pixels(left, columns, width));
    let mut cut = vec![0.0; height * width];
    for row in y.clone() {
        cut[row * width..][x.clone()].fill(1.0);
    }
    let share = 1.0 - (y.len() * x.len()) as f64 / (height * width).max(1) as f64;
    (cut, share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae::burn::tensor::Device;
    use multimae_data::stream;

    fn mixing(mixup: f64, cutmix: f64) -> Mixing {
        Mixing {
            mixup,
            cutmix,
            minmax: None,
            probability: 1.0,
            switch: 0.5,
            smoothing: 0.1,
            classes: 4,
        }
    }

    /// Two images of one channel, of zeros and of ones.
    fn inputs() -> Inputs {
        let device = Device::default();
        let data = [vec![0.0_f32; 64], vec![1.0; 64]].concat();
        let maps = Tensor::from_data(TensorData::new(data, [2, 1, 8, 8]), &device);
        [("rgb".to_owned(), ModalityTensor::Continuous(maps))].into_iter().collect()
    }

    #[test]
    fn classes_are_mixed_as_the_pixels_are() {
        for (mixup, cutmix) in [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)] {
            let mixing = mixing(mixup, cutmix);
            let mut lambdas = Vec::new();
            for index in 0..40 {
                let mut rng = stream(1, "mixing", 0, index);
                let (mixed, targets) = mixing.mix(inputs(), &[0, 2], &mut rng).unwrap();
                let ModalityTensor::Continuous(maps) = &mixed["rgb"] else { panic!() };
                let values: Vec<f32> = maps.clone().into_data().iter().collect();
                // The share of ones in the image of zeros.
                let other = values[..64].iter().sum::<f32>() / 64.0;
                lambdas.push(other);
                assert!((targets.iter().sum::<f32>() - 2.0).abs() < 1e-5);
                let expected = [0.025 + 0.9 * (1.0 - other), 0.025, 0.025 + 0.9 * other, 0.025];
                for (got, expected) in targets[..4].iter().zip(expected) {
                    assert!((got - expected).abs() < 1e-5, "{targets:?} {expected:?}");
                }
            }
            assert!(lambdas.iter().any(|share| *share > 0.2), "nothing is mixed: {lambdas:?}");
        }
    }

    #[test]
    fn unmixed_batches_keep_their_classes() {
        let never = Mixing { probability: 0.0, smoothing: 0.0, ..mixing(0.8, 1.0) };
        let (_, targets) = never.mix(inputs(), &[3, 1], &mut stream(1, "m", 0, 0)).unwrap();
        assert_eq!(targets, [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
