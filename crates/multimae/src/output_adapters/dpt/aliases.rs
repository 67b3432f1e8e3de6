//! Parameters of the DPT head that published checkpoints hold under two names.
//!
//! The published module registers the same layers twice, so its state dict has every weight of
//! them twice. Our head has the first name; readers take either, writers can give both.

use burn::tensor::TensorData;

use crate::state::StateDict;
use crate::{Error, Result};

/// First and second name, from after the head's own name on.
const ALIASES: [(&str, &str); 8] = [
    ("scratch.layer1_rn.", "scratch.layer_rn.0."),
    ("scratch.layer2_rn.", "scratch.layer_rn.1."),
    ("scratch.layer3_rn.", "scratch.layer_rn.2."),
    ("scratch.layer4_rn.", "scratch.layer_rn.3."),
    ("act_1_postprocess.", "act_postprocess.0."),
    ("act_2_postprocess.", "act_postprocess.1."),
    ("act_3_postprocess.", "act_postprocess.2."),
    ("act_4_postprocess.", "act_postprocess.3."),
];

/// The key with its head-relative prefix replaced, `from` and `to` of a pair of names.
fn rename(
    key: &str,
    from_to: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
) -> Option<String> {
    let (task, inside) = key.strip_prefix("output_adapters.")?.split_once('.')?;
    ALIASES.iter().find_map(|pair| {
        let (from, to) = from_to(pair);
        let rest = inside.strip_prefix(from)?;
        Some(format!("output_adapters.{task}.{to}{rest}"))
    })
}

/// Brings every second name to the first.
///
/// # Errors
/// If the two names hold different values.
pub fn merge_aliases(weights: StateDict) -> Result<StateDict> {
    let mut merged = StateDict::with_capacity(weights.len());
    let mut aliases: Vec<(String, String, TensorData)> = Vec::new();
    for (key, data) in weights {
        match rename(&key, |&(first, second)| (second, first)) {
            Some(first) => aliases.push((first, key, data)),
            None => {
                merged.insert(key, data);
            }
        }
    }
    for (first, second, data) in aliases {
        match merged.get(&first) {
            Some(known) if *known != data => {
                return Err(Error::Weights(format!(
                    "`{first}` and `{second}` are two names of one parameter, but differ"
                )));
            }
            Some(_) => {}
            None => {
                merged.insert(first, data);
            }
        }
    }
    Ok(merged)
}

/// Adds the second names, for readers that expect the published state dict.
#[must_use]
pub fn with_aliases(weights: StateDict) -> StateDict {
    let aliases: Vec<(String, TensorData)> = weights
        .iter()
        .filter_map(|(key, data)| Some((rename(key, |&pair| pair)?, data.clone())))
        .collect();
    weights.into_iter().chain(aliases).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(entries: &[(&str, f32)]) -> StateDict {
        let tensor = |value: f32| TensorData::new(vec![value], [1]);
        entries.iter().map(|(key, value)| ((*key).to_owned(), tensor(*value))).collect()
    }

    const FIRST: &str = "output_adapters.depth.act_1_postprocess.0.bias";
    const SECOND: &str = "output_adapters.depth.act_postprocess.0.0.bias";

    #[test]
    fn either_name_is_read() {
        let expected = dict(&[(FIRST, 1.0)]);
        assert_eq!(merge_aliases(dict(&[(FIRST, 1.0)])).unwrap(), expected);
        assert_eq!(merge_aliases(dict(&[(SECOND, 1.0)])).unwrap(), expected);
        assert_eq!(merge_aliases(dict(&[(SECOND, 1.0), (FIRST, 1.0)])).unwrap(), expected);
        assert!(merge_aliases(dict(&[(SECOND, 1.0), (FIRST, 2.0)])).is_err());
    }

    #[test]
    fn both_names_are_written() {
        let both = with_aliases(dict(&[(FIRST, 1.0), ("global_tokens", 2.0)]));
        assert_eq!(both, dict(&[(FIRST, 1.0), ("global_tokens", 2.0), (SECOND, 1.0)]));
    }
}
