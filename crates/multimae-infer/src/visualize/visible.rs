//! The visible patches.

use indexmap::IndexMap;
use multimae::masking::{MaskingStrategy, SampleMask, TokenMasks};
use multimae_data::stream;

use super::{PretrainView, Pretrained};
use crate::{Error, Result};

/// A choice of visible patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisiblePatches {
    /// This many over all modalities, distributed as in pre-training.
    Sampled(usize),
    /// This many of each modality, drawn uniformly; none of the others.
    Counts(IndexMap<String, usize>),
    /// These patches of each modality, numbered row by row from 0; none of the others.
    Patches(IndexMap<String, Vec<usize>>),
}

impl VisiblePatches {
    /// The mask of a view; `number` and the seed choose among masks that are drawn.
    ///
    /// # Errors
    /// If the model or the view has no such modality or patch, or nothing is visible.
    pub fn mask(
        &self,
        model: &Pretrained,
        view: &PretrainView,
        seed: u64,
        number: u64,
    ) -> Result<TokenMasks> {
        let inputs = model.inputs();
        let masked = match self {
            Self::Sampled(count) => sampled(*count, model, view, &inputs, (seed, number))?,
            Self::Counts(counts) => {
                check(counts.keys(), &inputs, view)?;
                let mut all = Vec::new();
                for (place, (name, tokens)) in inputs.iter().enumerate() {
                    let count = counts.get(*name).copied().unwrap_or(0);
                    all.extend(some(count, *tokens, name, (seed, number, place))?);
                }
                all
            }
            Self::Patches(patches) => {
                check(patches.keys(), &inputs, view)?;
                let mut all = Vec::new();
                for (name, tokens) in &inputs {
                    let chosen = patches.get(*name).map(Vec::as_slice).unwrap_or_default();
                    if let Some(patch) = chosen.iter().find(|patch| *patch >= tokens) {
                        let (rows, columns) = model.grid();
                        return Err(Error::Prediction(format!(
                            "`{name}` has no patch {patch}: its {rows} rows of {columns} are numbered 0 \
                             to {}",
                            tokens - 1
                        )));
                    }
                    all.extend((0..*tokens).map(|patch| !chosen.contains(&patch)));
                }
                all
            }
        };
        if masked.iter().all(|masked| *masked) {
            return Err(Error::Prediction(
                "no patch is visible; show one of a modality at least".to_owned(),
            ));
        }
        Ok(TokenMasks::new(vec![SampleMask::new(masked)])?)
    }
}

/// Errors unless model and view have the modalities.
fn check<'a>(
    names: impl Iterator<Item = &'a String>,
    inputs: &[(&str, usize)],
    view: &PretrainView,
) -> Result<()> {
    for name in names {
        if !inputs.iter().any(|(input, _)| input == name) {
            let known: Vec<&str> = inputs.iter().map(|(input, _)| *input).collect();
            return Err(Error::Prediction(format!(
                "the model has no input `{name}`; its inputs are {}",
                known.join(", ")
            )));
        }
        if !view.has(name) {
            return Err(Error::Prediction(format!(
                "patches of `{name}` are to be visible, which frame `{}` does not have; give it with \
                 --input {name}=FILE",
                view.id()
            )));
        }
    }
    Ok(())
}

/// Draws among the modalities that the view has as pre-training does among all.
fn sampled(
    count: usize,
    model: &Pretrained,
    view: &PretrainView,
    inputs: &[(&str, usize)],
    (seed, number): (u64, u64),
) -> Result<Vec<bool>> {
    let strategy = &model.spec().masking;
    let given: Vec<bool> = inputs.iter().map(|(name, _)| view.has(name)).collect();
    let kept = |values: &mut dyn Iterator<Item = (f64, usize)>| -> (Vec<f64>, Vec<usize>) {
        values.zip(&given).filter(|(_, given)| **given).map(|(value, _)| value).unzip()
    };
    let tokens = inputs.iter().map(|(_, tokens)| *tokens);
    let (alphas, tokens) = kept(&mut strategy.alphas.iter().copied().zip(tokens));
    let most: usize = tokens.iter().sum();
    let strategy = MaskingStrategy {
        num_encoded_tokens: count.min(most),
        alphas,
        sample_tasks_uniformly: strategy.sample_tasks_uniformly,
    };
    let mask = SampleMask::sample(&strategy, &tokens, &mut stream(seed, "visible", 0, number))?;
    let mut drawn = mask.masked().iter().copied();
    let all = inputs.iter().zip(given).flat_map(|((_, tokens), given)| {
        (0..*tokens)
            .map(|_| if given { drawn.next().unwrap_or(true) } else { true })
            .collect::<Vec<bool>>()
    });
    Ok(all.collect())
}

/// Flags of `tokens` tokens, `count` of them visible.
fn some(
    count: usize,
    tokens: usize,
    name: &str,
    (seed, number, place): (u64, u64, usize),
) -> Result<Vec<bool>> {
    if count > tokens {
        return Err(Error::Prediction(format!(
            "{count} patches of `{name}` are to be visible, and it has {tokens}"
        )));
    }
    if count == 0 {
        return Ok(vec![true; tokens]);
    }
    let strategy = MaskingStrategy {
        num_encoded_tokens: count,
        alphas: vec![1.0],
        sample_tasks_uniformly: false,
    };
    let mut random = stream(seed, "visible_patches", place as u64, number);
    Ok(SampleMask::sample(&strategy, &[tokens], &mut random)?.masked().to_vec())
}

/// Numbers of patches from a text such as `0,5,17-30`.
///
/// # Errors
/// Names the part that is neither a number nor a range.
pub fn patches_of(text: &str) -> std::result::Result<Vec<usize>, String> {
    let mut patches = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = |_| format!("`{part}` is neither a number nor a range such as 17-30");
        match part.split_once('-') {
            None => patches.push(part.parse().map_err(wrong)?),
            Some((first, last)) => {
                let first: usize = first.trim().parse().map_err(wrong)?;
                let last: usize = last.trim().parse().map_err(wrong)?;
                if first > last || last - first > 1_000_000 {
                    return Err(format!("`{part}` is no range"));
                }
                patches.extend(first..=last);
            }
        }
    }
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        assert_eq!(patches_of("0, 5,17-19,").unwrap(), [0, 5, 17, 18, 19]);
        assert_eq!(patches_of("").unwrap(), Vec::<usize>::new());
        assert!(patches_of("3-1").unwrap_err().contains("no range"));
        assert!(patches_of("x").unwrap_err().contains("neither"));
    }
}
