//! Published files and rules between keys.

use super::*;
use crate::Resolved;
use crate::keys::Keys as _;

fn load(text: &str) -> Result<Resolved<FinetuneRecipe>> {
    let value: Value = serde_saphyr::from_str(text).unwrap();
    let Value::Object(map) = value else { panic!("{text}") };
    Resolved::from_map(&map, "recipe.yaml")
}

fn named(resolved: &Resolved<FinetuneRecipe>) -> Vec<&str> {
    resolved.notices.iter().filter_map(|notice| notice.split('`').nth(1)).collect()
}

/// The keys that the published files share.
const SHARED: &str = "
model: multivit_base
patch_size: 16
num_global_tokens: 1
opt: adamw
warmup_lr: 0.000001
fp16: True
find_unused_params: False
log_wandb: False
wandb_project: null
wandb_entity: null
wandb_run_name: ft
dist_eval: True
finetune: '/path/to/weights'
output_dir: 'output/finetune/ft'
";

#[test]
fn the_published_segmentation_files_load_unchanged() {
    let text = format!(
        "{SHARED}
in_domains: rgb-depth
decoder_main_tasks: rgb
use_mask_valid: True
drop_path_encoder: 0.1
learnable_pos_emb: False
output_adapter: convnext
decoder_dim: 6144
decoder_preds_per_patch: 16
decoder_depth: 4
epochs: 200
lr: 0.0001
min_lr: 0.
warmup_epochs: 1
batch_size: 2
input_size: 640
layer_decay: 0.75
aug_name: simple
num_classes: 40
dataset_name: nyu
eval_freq: 20
seg_reduce_zero_label: True
seg_use_void_label: False
log_images_wandb: True
log_images_freq: 20
test_data_path: null
data_path: /d/train
eval_data_path: /d/test
"
    );
    let resolved = load(&text).unwrap();
    let recipe = &resolved.recipe;
    assert_eq!(recipe.tasks.out_domains.0, ["semseg"]);
    assert_eq!(
        (recipe.num_classes, recipe.optim.epochs, recipe.optim.weight_decay),
        (Some(40), 200, 0.05)
    );
    assert!(
        recipe.tasks.standardize_depth && recipe.use_mask_valid && recipe.seg_reduce_zero_label
    );
    assert_eq!((recipe.peak_lr(), recipe.layer_decay), (1e-4, 0.75));
    let expected =
        ["out_domains", "warmup_lr", "fp16", "wandb_run_name", "dist_eval", "log_images_wandb"];
    assert_eq!(named(&resolved), expected);
}

#[test]
fn the_published_depth_files_load_unchanged() {
    let text = format!(
        "{SHARED}
in_domains: rgb
decoder_main_tasks: rgb
use_mask_valid: True
drop_path_encoder: 0.0
output_adapter: dpt
loss: berhu
epochs: 2000
lr: 0.0001
warmup_epochs: 100
batch_size: 64
input_size: 256
layer_decay: 0.75
weight_decay: 0.0001
aug_name: nyu-augs
color_augs: True
dataset_name: nyu
standardize_depth: False
eval_freq: 250
log_images_freq: 250
"
    );
    let recipe = load(&text).unwrap().recipe;
    assert_eq!(recipe.tasks.out_domains.0, ["depth"]);
    assert_eq!((recipe.optim.epochs, recipe.optim.weight_decay), (2000, 1e-4));
    assert_eq!((recipe.aug_name, recipe.color_augs), (Augmentation::NyuAugs, Some(true)));
    // Absent keys have the depth script's defaults.
    assert_eq!((recipe.decoder_preds_per_patch, recipe.run.save_ckpt_freq), (64, 200));
}

#[test]
fn the_published_classification_files_load_unchanged() {
    let text = format!(
        "{SHARED}
use_mean_pooling: True
drop_path: 0.1
epochs: 100
blr: 0.0005
weight_decay: 0.05
warmup_epochs: 5
batch_size: 128
layer_decay: 0.65
nb_classes: 1000
data_set: IMNET
mixup: 0.8
cutmix: 1.0
aa: rand-m9-mstd0.5-inc1
"
    );
    let resolved = load(&text).unwrap();
    let recipe = &resolved.recipe;
    assert_eq!(recipe.tasks.out_domains.0, [CLASSES]);
    assert!((recipe.peak_lr() - 2.5e-4).abs() < 1e-12 && recipe.lr.is_none());
    assert_eq!((recipe.drop_path_encoder, recipe.num_classes), (0.1, Some(1000)));
    assert_eq!((recipe.smoothing, recipe.optim.min_lr), (0.1, 1e-6));
    assert!(named(&resolved).contains(&"aa"));
}

#[test]
fn the_published_joint_and_regression_files_load_unchanged() {
    let joint = "
in_domains: rgb
use_mask_valid: False
decoder_dim: 256
decoder_preds_per_patch: 16
decoder_depth: 4
drop_path_encoder: 0.0
loss: berhu
epochs: 200
warmup_epochs: 100
batch_size: 32
input_size: 256
aug_name: simple
color_augs: True
num_classes: 40
seg_reduce_zero_label: True
freeze_transformer: True
";
    let recipe = load(joint).unwrap().recipe;
    assert_eq!(recipe.tasks.out_domains.0, ["depth", "semseg"]);
    assert!(recipe.freeze_transformer);
    let text = format!(
        "{SHARED}
out_domains: principal_curvature
epochs: 100
lr: 0.0003
warmup_epochs: 5
batch_size: 8
input_size: 384
drop_path_encoder: 0.1
max_train_images: 800
max_val_images: 200
max_test_images: 54514
eval_freq: 5
"
    );
    let recipe = load(&text).unwrap().recipe;
    assert_eq!((recipe.loss, recipe.max_train_images), (DownstreamLoss::L1, Some(800)));
}

#[test]
fn the_written_recipe_reads_back() {
    for text in ["num_classes: 4\n", "out_domains: cls\n", "loss: silog\nlr: 0.01\n"] {
        let recipe = load(text).unwrap().recipe;
        let again = load(&recipe.to_yaml()).unwrap();
        assert_eq!(again.recipe, recipe);
        assert!(again.notices.is_empty(), "{:?}", again.notices);
    }
}

#[test]
fn numbers_out_of_range_are_named_with_the_range() {
    let problem =
        |text: &str| load(&format!("out_domains: depth\n{text}")).unwrap_err().to_string();
    for (text, range) in [
        ("layer_decay: 1.5", "in (0, 1]"),
        ("drop_path_encoder: 1.0", "in [0, 1)"),
        ("smoothing: 1.0", "in [0, 1)"),
        ("batch_size: 0", "at least 1"),
        ("lr: -0.1", "at least 0"),
        ("opt_betas: [0.9,1.0]", "in [0, 1)"),
        ("crop_scale: [0.5,0.1]", "in (0, 1], the smaller number first"),
        ("warmup_steps: -2", "at least -1"),
        ("clip_grad: 0.0", "above 0"),
        ("mixup_prob: 2.0", "in [0, 1]"),
    ] {
        let expected = format!("recipe.yaml: `{text}` must be {range}");
        assert!(problem(text).contains(&expected), "{}", problem(text));
    }
    let both = problem("layer_decay: 2.0\nhflip: 3.0");
    assert!(both.contains("`layer_decay: 2.0`") && both.contains("`hflip: 3.0`"), "{both}");
    assert!(problem("depth_min: 20").contains("below `depth_max: 10`"));
}

#[test]
fn prompts_and_low_rank_adaptation_are_checked_with_the_recipe() {
    let problem =
        |text: &str| load(&format!("out_domains: depth\n{text}")).unwrap_err().to_string();
    let lora = |sizes: &str| problem(&format!("tuning: lora\nlora: {sizes}"));
    assert!(lora("{rank: 0}").contains("`lora.rank: 0` must be at least 1"));
    assert!(lora("{alpha: -1}").contains("`lora.alpha: -1.0` must be above 0"));
    assert!(lora("{targets: []}").contains("`lora.targets`"));
    assert!(lora("{rnak: 2}").contains("expected one of `rank`, `alpha`, `targets`"));
    let prompts = |sizes: &str| problem(&format!("tuning: prompts\nprompts: {sizes}"));
    assert!(prompts("{kind: deep, count: 0}").contains("`count` must be at least 1"));
    assert!(prompts("{kind: deep, first: 12}").contains("blocks from 12 on"));
    assert!(prompts("{kind: deep, cuont: 3}").contains("unknown field `cuont`"));
    assert!(prompts("{kind: keep}").contains("unknown variant `keep`"));
}

#[test]
fn the_defaults_are_in_range() {
    for tasks in ["depth", "semseg", "cls", "depth-semseg", "normal"] {
        load(&format!("out_domains: {tasks}")).unwrap();
    }
    crate::PretrainRecipe::default().check().unwrap();
}

/// Keys that both kinds of recipes have are declared once, unless they take other values in each.
#[test]
fn shared_keys_are_declared_once() {
    let pretraining = crate::PretrainRecipe::keys();
    let mut shared = 0;
    for key in FinetuneRecipe::keys() {
        let Some(other) = pretraining.iter().find(|other| other.name == key.name) else { continue };
        let other_values = ["task_balancer", "blr"].contains(&key.name) && key.kind != other.kind;
        assert!(key.declared_in == other.declared_in || other_values, "{}", key.name);
        shared += 1;
    }
    assert!(shared > 50, "{shared}");
}

#[test]
fn keys_must_fit_together() {
    let problem = |text: &str| load(text).unwrap_err().to_string();
    assert!(problem("epochs: 3").contains("out_domains"));
    assert!(problem("out_domains: depth\nlr: 1\nblr: 1").contains("`blr`"));
    assert!(problem("out_domains: cls-depth").contains("beside"));
    assert!(problem("out_domains: depth\nin_domains: depth").contains("leak the target"));
    assert!(problem("out_domains: depth\nlayer_decay: 1.5").contains("layer_decay"));
    assert!(problem("out_domains: cls\nnb_classes: 3\nnum_classes: 3").contains("same key"));
    assert!(problem("out_domains: depth\ntask_weights: {semseg: 1}").contains("task_weights"));
    assert!(problem("out_domains: depth\nmixup_mode: pair").contains("mixup_mode"));
}
