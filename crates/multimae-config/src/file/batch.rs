//! The batch of published recipes: they are written for several processes.

use serde_json::{Map, Value};

use crate::recipe::Recipe;

/// The published key with the number of processes, each with a batch of its own.
const WORLD_SIZE: &str = "world_size";

/// Notices that a run takes fewer samples per step than its recipe was written for.
///
/// The number of processes is what `world_size` says. Without it, a file with keys that only the
/// published code reads is taken for a published one, which is launched on as many GPUs as its kind
/// of training. `file` holds the keys of the file, `all` those with overrides.
pub(super) fn notice<R: Recipe>(
    file: &Map<String, Value>,
    all: &Map<String, Value>,
    recipe: &R,
) -> Option<String> {
    let (processes, reason) = match all.get(WORLD_SIZE).and_then(Value::as_u64) {
        Some(said) => (usize::try_from(said).ok()?, format!("`{WORLD_SIZE}` is {said}")),
        None => {
            let key =
                R::without_meaning().map(|(key, _)| key).find(|key| file.contains_key(*key))?;
            let processes = recipe.published_processes();
            (
                processes,
                format!(
                    "`{key}` is a key of the published code, which trains this on {processes} GPUs"
                ),
            )
        }
    };
    let usual = R::start(file).ok()?.0;
    let number = |key: &str, usual: usize| {
        let said = file.get(key).and_then(Value::as_u64);
        said.and_then(|said| usize::try_from(said).ok()).unwrap_or(usual)
    };
    let batch = number("batch_size", usual.optimisation().batch_size);
    let passes = number("update_freq", usual.optimisation().update_freq);
    let written_for = processes.checked_mul(batch)?.checked_mul(passes)?;
    let (own, size) = (recipe.optimisation().samples_per_step(), recipe.optimisation().batch_size);
    if own >= written_for || size == 0 {
        return None;
    }
    let restoring = written_for.div_ceil(size);
    let inexact = match restoring * size {
        same if same == written_for => String::new(),
        more => format!(" ({more}, the nearest multiple of `batch_size` above)"),
    };
    let rate = if recipe.scales_lr() {
        "; the learning rate is scaled with the batch, as `blr` is set"
    } else {
        "; the learning rate stays, as `lr` is set for the larger batch"
    };
    Some(format!(
        "`update_freq`: the recipe is written for {written_for} samples per step, {processes} x \
         {}, as {reason}; this run takes {own}. Set `update_freq={restoring}` for the written \
         batch{inexact}{rate}",
        batch * passes
    ))
}

#[cfg(test)]
mod tests {
    use crate::{FinetuneRecipe, Override, PretrainRecipe, Recipe, Resolved};

    fn notice<R: Recipe>(text: &str, overrides: &[&str]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.yaml");
        fs_err::write(&path, text).unwrap();
        let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
        let notices = Resolved::<R>::load(Some(&path), &overrides).unwrap().notices;
        notices.into_iter().find(|notice| notice.starts_with("`update_freq`"))
    }

    #[test]
    fn a_published_recipe_names_the_update_freq_of_its_batch() {
        let text = "blr: 0.0001\nbatch_size: 256\nlog_wandb: False\n";
        let found = notice::<PretrainRecipe>(text, &[]).unwrap();
        assert!(found.contains("2048 samples per step, 8 x 256"), "{found}");
        assert!(found.contains("this run takes 256") && found.contains("`update_freq=8`"));
        // The default is a rate per 256 samples, too.
        let found = notice::<PretrainRecipe>("batch_size: 256\nlog_wandb: False\n", &[]).unwrap();
        assert!(found.contains("scaled with the batch"), "{found}");
        // Smaller passes need more of them; the whole batch needs no word.
        let found = notice::<PretrainRecipe>(text, &["batch_size=100"]).unwrap();
        assert!(found.contains("`update_freq=21`") && found.contains("2100"), "{found}");
        assert_eq!(notice::<PretrainRecipe>(text, &["update_freq=8"]), None);
        assert_eq!(notice::<PretrainRecipe>(text, &["world_size=1"]), None);
        assert_eq!(notice::<PretrainRecipe>("blr: 0.0001\nbatch_size: 256\n", &[]), None);
    }

    #[test]
    fn the_number_of_processes_is_said_or_that_of_the_kind() {
        let of = |task: &str, extra: &str| {
            let text = format!("out_domains: {task}\nbatch_size: 2\nlr: 1e-4\n{extra}\n");
            notice::<FinetuneRecipe>(&text, &[])
        };
        assert!(of("semseg", "dist_eval: True").unwrap().contains("`update_freq=4`"));
        let depth = of("depth", "dist_eval: True").unwrap();
        assert!(depth.contains("`update_freq=2`") && depth.contains("rate stays"), "{depth}");
        assert!(of("cls", "dist_eval: True").unwrap().contains("`update_freq=8`"));
        assert_eq!(of("normal", "dist_eval: True\nmodalities: {normal: {channels: 3}}"), None);
        let said = of("depth", "world_size: 6").unwrap();
        assert!(said.contains("`update_freq=6`") && said.contains("`world_size` is 6"), "{said}");
        assert_eq!(of("depth", "world_size: 1\ndist_eval: True"), None);
        assert_eq!(of("semseg", ""), None);
    }
}
