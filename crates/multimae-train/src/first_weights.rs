//! The weights that a recipe begins with.

use multimae::state::AllowedKeys;
use multimae_config::WeightKeys;
use multimae_infer::weights_source::WeightsSource;

/// The source of the weights that a recipe names, if it does, and the keys that may not fit.
pub(crate) fn first_weights(keys: &WeightKeys) -> Option<(WeightsSource, AllowedKeys)> {
    let source = WeightsSource::from(keys.finetune.as_deref()?).with_key(keys.weights_key.clone());
    let allowed = AllowedKeys {
        missing: keys.allow_missing.0.clone(),
        unexpected: keys.allow_unexpected.0.clone(),
    };
    Some((source, allowed))
}
