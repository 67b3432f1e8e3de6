//! Files, overrides and errors.

use super::*;
use crate::{BalancerChoice, Names, PretrainRecipe, check_same};

fn load(text: &str, overrides: &[&str]) -> Result<Resolved<PretrainRecipe>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipe.yaml");
    fs::write(&path, text).unwrap();
    let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().unwrap()).collect();
    Resolved::load(Some(&path), &overrides)
}

/// The keys of the published pre-training files, with their values.
const PUBLISHED: &str = "
in_domains: rgb-depth-semseg
out_domains: rgb-depth-semseg
standardize_depth: True
extra_norm_pix_loss: True
model: pretrain_multimae_base
decoder_dim: 256
input_size: 224
patch_size: 16
alphas: 1.0 # Dirichlet concentration
num_encoded_tokens: 98
num_global_tokens: 1
decoder_use_task_queries: True
decoder_depth: 2
epochs: 1600
opt: adamw
blr: 0.0001
warmup_lr: 0.000001
min_lr: 0.
warmup_epochs: 40
warmup_steps: -1
batch_size: 256
hflip: 0.5
loss_on_unmasked: False
fp32_output_adapters: semseg
log_wandb: False
wandb_project: multimae-pretrain
wandb_entity: null
wandb_run_name: multimae-b_98_rgb+-depth-semseg_1600e
output_dir: 'output/pretrain/multimae-b_98_rgb+-depth-semseg_1600e'
";

#[test]
fn published_files_load_unchanged() {
    let Resolved { recipe, notices } = load(PUBLISHED, &[]).unwrap();
    assert_eq!(recipe.tasks.in_domains, Names::joined("rgb-depth-semseg"));
    assert!(recipe.tasks.standardize_depth && recipe.extra_norm_pix_loss);
    assert_eq!((recipe.optim.epochs, recipe.num_encoded_tokens), (1600, 98));
    assert_eq!(recipe.arch.model.config.width, 768);
    assert!((recipe.lr() - 1e-4).abs() < 1e-12);
    let named: Vec<&str> = notices.iter().filter_map(|notice| notice.split('`').nth(1)).collect();
    let without_meaning = ["warmup_lr", "fp32_output_adapters", "wandb_project", "wandb_run_name"];
    // The published batch is that of 8 processes.
    assert_eq!(named, [&without_meaning[..], &["update_freq"]].concat());
}

#[test]
fn a_recipe_builds_on_others() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let read = |name: &str| Resolved::<PretrainRecipe>::load(Some(&dir.path().join(name)), &[]);
    fs::create_dir(dir.path().join("more")).unwrap();
    write("first.yaml", "epochs: 3\nblr: 1e-3\nmodalities: {depth: {divisor: 1000}}");
    write("second.yaml", "base: first.yaml\nblr: 2e-3\n");
    write("more/third.yaml", "base: ../second.yaml\nepochs: 5\nmodalities: {depth: {unit: m}}");
    let recipe = read("more/third.yaml").unwrap().recipe;
    assert_eq!((recipe.optim.epochs, recipe.blr), (5, 2e-3));
    let depth = &recipe.tasks.modalities.0["depth"];
    assert_eq!((depth.divisor, depth.unit.as_deref()), (None, Some("m")));
    write("first.yaml", "base: more/third.yaml");
    let error = read("second.yaml").unwrap_err().to_string();
    assert!(error.contains("second.yaml") && error.contains("builds on itself"), "{error}");
    write("more/third.yaml", "base: gone.yaml");
    assert!(read("first.yaml").unwrap_err().to_string().contains("gone.yaml"));
    write("first.yaml", "base: [a]");
    assert!(read("first.yaml").unwrap_err().to_string().contains("`base`"));
}

#[test]
fn a_misspelt_key_names_the_nearest() {
    let error = load("epohcs: 3", &[]).unwrap_err().to_string();
    assert!(error.contains("`epohcs`") && error.contains("did you mean `epochs`"), "{error}");
    assert!(error.contains("recipe.yaml"), "{error}");
    let error = load("zzz: 3", &[]).unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn overrides_come_last_and_reach_into_maps() {
    let text = "blr: 1e-3\nmodalities:\n  depth: {divisor: 65536, unit: m}\n";
    let overrides = ["blr=2e-3", "modalities.depth.divisor=1000", "task_balancer=uncertainty"];
    let recipe = load(text, &overrides).unwrap().recipe;
    assert_eq!(recipe.blr, 2e-3);
    let depth = &recipe.tasks.modalities.0["depth"];
    assert_eq!((depth.divisor, depth.unit.as_deref()), (Some(1000.0), Some("m")));
    assert_eq!(recipe.task_balancer, BalancerChoice::Uncertainty);
    assert!("novalue".parse::<Override>().is_err());
    for text in ["a.b=null", "a={\"b\":[1,0.001]}", "a=\"1\""] {
        let change: Override = text.parse().unwrap();
        assert_eq!(change.to_string(), text);
        assert_eq!(change.key(), "a");
    }
    assert!(load("blr: 1", &["blr.x=1"]).is_err());
}

#[test]
fn the_written_recipe_reads_back() {
    let recipe = load(PUBLISHED, &["input_size=[96, 128]", "clip_grad=3"]).unwrap().recipe;
    let again = load(&recipe.to_yaml(), &[]).unwrap();
    assert_eq!(again.recipe, recipe);
    assert!(again.notices.is_empty());
}

#[test]
fn values_that_do_not_fit_are_all_named() {
    let error = load("epochs: many\nblr: fast\n", &[]).unwrap_err().to_string();
    assert!(error.contains("`epochs`") && error.contains("`blr`"), "{error}");
    assert!(load("epochs: 0", &[]).is_err());
    assert!(load("clip_grad: 1\nskip_grad: 2", &[]).is_err());
    assert!(load("- a\n- b", &[]).is_err());
    assert!(load("epochs: 1\nepochs: 2", &[]).is_err());
}

#[test]
fn a_run_continues_with_its_own_recipe_only() {
    let recipe = load(PUBLISHED, &[]).unwrap().recipe;
    let same = load(PUBLISHED, &["num_workers=7", "data_path=elsewhere"]).unwrap().recipe;
    let map = |recipe: &PretrainRecipe| serde_json::from_str(&recipe.fingerprint()).unwrap();
    check_same::<PretrainRecipe>(&map(&recipe), &map(&same)).unwrap();
    let other = load(PUBLISHED, &["blr=3"]).unwrap().recipe;
    let error = check_same::<PretrainRecipe>(&map(&recipe), &map(&other));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`blr` was 0.0001, now 3"), "{error}");
}
