//! What the training annotations say before any training: their mean, their class frequencies.

use indexmap::IndexMap;
use multimae_data::{Dataset, Encoding, RawMap, RawSample};

use super::modalities::target;
use super::targets::{class_of, valid_values};
use crate::{Error, Result};
use multimae_config::{BadSamplesChoice, FinetuneRecipe};
use multimae_infer::saved_model::mask_values;

/// Annotations are looked at in no more than this many training samples, spread evenly.
const SAMPLES: usize = 1000;

/// The best constant predictions by task, and what else is known of the annotations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constants {
    /// By task.
    pub tasks: IndexMap<String, Constant>,
}

/// What is known of the annotations of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// Real values.
    Values(Moments),
    /// The share of every class among the labelled pixels or the images.
    Frequencies(Vec<f64>),
}

/// Sums over the valid values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    valid: f64,
    all: f64,
    sums: Vec<f64>,
    squares: f64,
    log_sum: f64,
    log_squares: f64,
}

impl Moments {
    fn add(&mut self, channels: usize, data: &[f32], valid: &[bool]) {
        self.sums.resize(channels.max(self.sums.len()), 0.0);
        let pixels = (data.len() / channels.max(1)).max(1);
        self.all += data.len() as f64;
        for (index, (&value, _)) in data.iter().zip(valid).enumerate().filter(|(_, (_, v))| **v) {
            let value = f64::from(value);
            self.valid += 1.0;
            self.sums[index / pixels] += value;
            self.squares += value * value;
            let log = value.max(f64::MIN_POSITIVE).ln();
            self.log_sum += log;
            self.log_squares += log * log;
        }
    }

    /// Share of the values that are valid.
    #[must_use]
    pub fn valid_share(&self) -> f64 {
        self.valid / self.all.max(1.0)
    }

    /// Mean of each channel.
    #[must_use]
    pub fn means(&self) -> Vec<f64> {
        let channels = self.sums.len().max(1) as f64;
        self.sums.iter().map(|sum| sum * channels / self.valid.max(1.0)).collect()
    }

    /// Mean and standard deviation over all channels.
    #[must_use]
    pub fn linear(&self) -> (f64, f64) {
        mean_and_deviation(self.sums.iter().sum(), self.squares, self.valid)
    }

    /// Mean and standard deviation of the natural logarithm.
    #[must_use]
    pub fn log(&self) -> (f64, f64) {
        mean_and_deviation(self.log_sum, self.log_squares, self.valid)
    }
}

fn mean_and_deviation(sum: f64, squares: f64, count: f64) -> (f64, f64) {
    let count = count.max(1.0);
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}

/// Looks at the annotations of training samples. `data` holds the modalities of the tasks and the
/// mask; `classes` are the names of the classes of images, if there are any.
///
/// # Errors
/// If a sample cannot be read and is not to be left out, or a task has no annotation at all.
pub(super) fn look_at(
    recipe: &FinetuneRecipe,
    data: &Dataset,
    mask: Option<&str>,
    classes: &[String],
) -> Result<Constants> {
    let mut found: IndexMap<String, Found> = IndexMap::new();
    let stride = data.len().div_ceil(SAMPLES).max(1);
    let skips = recipe.bad_samples == BadSamplesChoice::Skip;
    for index in (0..data.len()).step_by(stride) {
        if recipe.classifies() {
            let id = data.samples().get(index).map(|sample| sample.id.as_str()).unwrap_or_default();
            let class = class_of(classes, id)?;
            found.entry(recipe.out_domains.0[0].clone()).or_default().label(class, classes.len());
            continue;
        }
        let raw = match data.decode(index) {
            Ok(raw) => raw,
            Err(error) if skips && error.is_bad_sample() => continue,
            Err(error) => return Err(error.into()),
        };
        add_sample(recipe, &mut found, data, &raw, mask);
    }
    let mut constants = Constants::default();
    for task in &recipe.out_domains.0 {
        let constant = found.swap_remove(task).unwrap_or_default().constant();
        let problem = match target(recipe, task).map(|target| target.data.encoding) {
            Ok(Encoding::Labels { .. }) => "no pixel is labelled",
            _ if recipe.classifies() => "there is no sample",
            _ => {
                "no value is valid; look at the `divisor` of the modality (depth is in metres \
                 after it), `depth_min`, `depth_max` and the masks"
            }
        };
        let constant = constant.ok_or_else(|| {
            Error::Recipe(format!("task `{task}`: in the training samples, {problem}"))
        })?;
        constants.tasks.insert(task.clone(), constant);
    }
    Ok(constants)
}

fn add_sample(
    recipe: &FinetuneRecipe,
    found: &mut IndexMap<String, Found>,
    data: &Dataset,
    raw: &RawSample,
    mask: Option<&str>,
) {
    let valid = mask.and_then(|name| match raw.maps.get(name) {
        Some(RawMap::Labels(mask)) => Some(mask_values(mask)),
        _ => None,
    });
    for modality in data.modalities() {
        if !recipe.out_domains.0.contains(&modality.name) {
            continue;
        }
        let found = found.entry(modality.name.clone()).or_default();
        match (raw.maps.get(&modality.name), &modality.encoding) {
            (Some(RawMap::Continuous { channels, data }), encoding) => {
                let values = encoding.decoded_values(data, *channels);
                let range = if modality.name == "depth" {
                    (recipe.depth_min, recipe.depth_max)
                } else {
                    (f64::NEG_INFINITY, f64::INFINITY)
                };
                let pixels = raw.height * raw.width;
                let flags = valid_values(&values, pixels, range, valid.as_deref());
                found.moments.add(*channels, &values, &flags);
            }
            (Some(RawMap::Labels(labels)), Encoding::Labels { classes, ignore, .. }) => {
                for &label in labels.iter().filter(|label| Some(**label) != *ignore) {
                    if let Ok(label) = usize::try_from(label) {
                        found.label(label, *classes);
                    }
                }
            }
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct Found {
    moments: Moments,
    counts: Vec<f64>,
}

impl Found {
    fn label(&mut self, label: usize, classes: usize) {
        self.counts.resize(classes.max(self.counts.len()), 0.0);
        if let Some(count) = self.counts.get_mut(label) {
            *count += 1.0;
        }
    }

    fn constant(self) -> Option<Constant> {
        let total: f64 = self.counts.iter().sum();
        if total > 0.0 {
            let shares = self.counts.iter().map(|count| count / total).collect();
            return Some(Constant::Frequencies(shares));
        }
        (self.moments.valid > 0.0).then_some(Constant::Values(self.moments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_valid_values() {
        let mut moments = Moments::default();
        moments.add(1, &[1.0, 3.0, f32::NAN, 900.0], &[true, true, false, false]);
        assert_eq!(moments.linear(), (2.0, 1.0));
        assert_eq!(moments.means(), [2.0]);
        assert_eq!(moments.valid_share(), 0.5);
        let (mean, deviation) = moments.log();
        assert!((mean - 3.0_f64.ln() / 2.0).abs() < 1e-12);
        assert!((deviation - 3.0_f64.ln() / 2.0).abs() < 1e-12);
        let mut colours = Moments::default();
        colours.add(2, &[1.0, 3.0, 10.0, 20.0], &[true; 4]);
        assert_eq!(colours.means(), [2.0, 15.0]);
    }
}
