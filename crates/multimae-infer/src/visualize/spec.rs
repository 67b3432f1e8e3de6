//! From a recipe of pre-training to the model's shape and its losses.

use indexmap::IndexMap;
use multimae::losses::{Objective, ReconstructionLoss, TaskObjective};
use multimae::masking::MaskingStrategy;
use multimae::model::{MultiMaeConfig, TokenLayout};
use multimae::output_adapters::{DecoderConfig, OutputTask};
use multimae_config::{
    self as config, NORM_RGB, NanSamplesChoice, PretrainRecipe, Recipe as _, TaskModality,
};

use crate::Result;

/// The parts of a pre-trained model that its recipe fixes.
#[derive(Debug)]
pub struct PretrainSpec {
    /// The recipe.
    pub recipe: PretrainRecipe,
    /// All modalities that are loaded, by name.
    pub modalities: IndexMap<String, TaskModality>,
    /// The model's shape.
    pub model: MultiMaeConfig,
    /// The losses.
    pub objective: Objective,
    /// The distribution of masks.
    pub masking: MaskingStrategy,
    /// The places of the inputs' tokens.
    pub layout: TokenLayout,
}

impl PretrainSpec {
    /// Derives the model and its losses from a recipe.
    ///
    /// # Errors
    /// If the recipe describes no possible model.
    pub fn new(recipe: PretrainRecipe) -> Result<Self> {
        recipe.check()?;
        let modalities = recipe
            .domains()
            .into_iter()
            .map(|name| Ok((name.clone(), recipe.modality(&name)?)))
            .collect::<Result<IndexMap<_, _>>>()?;
        let model = model_config(&recipe, &modalities);
        let layout = model.layout(recipe.arch.input_size)?;
        let masking = masking(&recipe, &layout)?;
        let objective = objective(&recipe, &model, &modalities)?;
        Ok(Self { recipe, modalities, model, objective, masking, layout })
    }
}

fn masking(recipe: &PretrainRecipe, layout: &TokenLayout) -> config::Result<MaskingStrategy> {
    let alphas = recipe
        .alphas
        .for_modalities(recipe.tasks.in_domains.0.len())
        .map_err(config::Error::Recipe)?;
    let masking = MaskingStrategy {
        num_encoded_tokens: recipe.num_encoded_tokens,
        alphas,
        sample_tasks_uniformly: recipe.sample_tasks_uniformly,
    };
    if masking.num_encoded_tokens == 0 || masking.num_encoded_tokens > layout.num_tokens() {
        return Err(config::Error::Recipe(format!(
            "`num_encoded_tokens: {}`: {} modalities of {} tokens have {}; choose at most that",
            masking.num_encoded_tokens,
            layout.tasks.len(),
            layout.grid.area(),
            layout.num_tokens(),
        )));
    }
    Ok(masking)
}

fn model_config(
    recipe: &PretrainRecipe,
    modalities: &IndexMap<String, TaskModality>,
) -> MultiMaeConfig {
    let models = |names: &[String]| -> Vec<_> {
        names.iter().filter_map(|name| modalities.get(name)).map(|m| m.model.clone()).collect()
    };
    let mut outputs: Vec<OutputTask> =
        models(&recipe.tasks.out_domains.0).into_iter().map(OutputTask::of).collect();
    if recipe.extra_norm_pix_loss
        && let Some(rgb) = modalities.get(NORM_RGB.1)
    {
        outputs.push(OutputTask { name: NORM_RGB.0.to_owned(), modality: rgb.model.clone() });
    }
    let mut encoder = recipe.arch.model.config.clone();
    encoder.drop_path = recipe.drop_path;
    MultiMaeConfig {
        encoder,
        patch_size: recipe.arch.patch_size,
        image_size: recipe.arch.input_size,
        num_global_tokens: recipe.arch.num_global_tokens,
        inputs: models(&recipe.tasks.in_domains.0),
        outputs,
        decoder: DecoderConfig {
            width: recipe.arch.decoder_dim,
            depth: recipe.arch.decoder_depth,
            heads: recipe.decoder_num_heads,
            use_task_queries: recipe.decoder_use_task_queries,
            use_xattn: recipe.decoder_use_xattn,
            ..DecoderConfig::default()
        },
        tables: recipe.arch.nonsquare_tables.into(),
    }
}

fn objective(
    recipe: &PretrainRecipe,
    model: &MultiMaeConfig,
    modalities: &IndexMap<String, TaskModality>,
) -> Result<Objective> {
    let tasks = model
        .outputs
        .iter()
        .filter_map(|task| Some((task, modalities.get(&task.modality.name)?)))
        .map(|(task, modality)| {
            let loss = if task.name == NORM_RGB.0 {
                ReconstructionLoss::Mse { norm_pix: true }
            } else {
                modality.loss
            };
            Ok(TaskObjective {
                name: task.name.clone(),
                target: task.modality.name.clone(),
                loss,
                patch: task.modality.patch(recipe.arch.patch_size)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Objective {
        tasks,
        loss_on_unmasked: recipe.loss_on_unmasked,
        ignore_nan_samples: recipe.nan_samples == NanSamplesChoice::Ignore,
    })
}
