//! Recipes of both kinds.

#![no_main]

use multimae_config::{FinetuneRecipe, PretrainRecipe, Recipe as _, Resolved};
use multimae_fuzz::{bounded, with_file};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    with_file(data, |path| {
        bounded(64, || {
            if let Ok(resolved) = Resolved::<PretrainRecipe>::load(Some(path), &[]) {
                drop((resolved.recipe.to_yaml(), resolved.recipe.fingerprint()));
            }
            if let Ok(resolved) = Resolved::<FinetuneRecipe>::load(Some(path), &[]) {
                drop((resolved.recipe.to_yaml(), resolved.recipe.fingerprint()));
            }
        });
    });
});
