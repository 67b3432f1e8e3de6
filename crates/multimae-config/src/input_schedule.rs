//! The input of pre-training over a run: the size of the images and the number of visible tokens.

use multimae::modality::Size;

use super::keys::RecipeValue as _;
use super::shared::problem;
use super::values::PiecewiseConstant;
use crate::Result;

/// A part of a run whose images have one size and whose samples have one number of visible tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputStage {
    /// The share of the run's steps that come before the stage, in `[0, 1)`.
    pub from: f64,
    /// The size of the images.
    pub size: Size,
    /// Visible tokens per sample, over all modalities together.
    pub num_encoded_tokens: usize,
}

impl InputStage {
    /// Returns the first step of the stage, counted from 0, in a run of `total` steps. It is beyond
    /// the last step where the run is too short for the stage.
    #[must_use]
    pub fn first_step(&self, total: u64) -> u64 {
        (self.from * total as f64).round() as u64
    }
}

/// The keys of a recipe that the input depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputSchedule<'a> {
    /// Side of a patch.
    pub(crate) patch_size: usize,
    /// The final size of the images, which evaluation uses.
    pub(crate) input_size: Size,
    /// The final number of visible tokens, which evaluation uses.
    pub(crate) num_encoded_tokens: usize,
    /// Input modalities.
    pub(crate) modalities: usize,
    /// `input_size_schedule`.
    pub(crate) sizes: Option<&'a PiecewiseConstant<Size>>,
    /// `num_encoded_tokens_schedule`.
    pub(crate) tokens: Option<&'a PiecewiseConstant<usize>>,
}

impl InputSchedule<'_> {
    /// The stages of both schedules in one list, the first from 0; none without a schedule.
    pub(crate) fn stages(&self) -> Vec<InputStage> {
        let of_sizes = self.sizes.iter().flat_map(|sizes| sizes.stages()).map(|stage| stage.from);
        let of_tokens = self.tokens.iter().flat_map(|list| list.stages()).map(|stage| stage.from);
        let mut beginnings: Vec<f64> = of_sizes.chain(of_tokens).collect();
        beginnings.sort_by(f64::total_cmp);
        beginnings.dedup();
        beginnings.into_iter().map(|from| self.stage(from)).collect()
    }

    fn stage(&self, from: f64) -> InputStage {
        let size = self.sizes.and_then(|sizes| sizes.at(from)).unwrap_or(self.input_size);
        let scheduled = self.tokens.and_then(|tokens| tokens.at(from));
        let num_encoded_tokens = scheduled.unwrap_or_else(|| self.scaled_tokens(size));
        InputStage { from, size, num_encoded_tokens }
    }

    /// The number of visible tokens at a size with the final share of visible tokens, rounded, at
    /// least 1.
    fn scaled_tokens(&self, size: Size) -> usize {
        if size == self.input_size {
            return self.num_encoded_tokens;
        }
        let (patches, of_all) = (self.patches(size), self.patches(self.input_size).max(1));
        ((self.num_encoded_tokens * patches + of_all / 2) / of_all).max(1)
    }

    /// Patches of one modality.
    fn patches(&self, size: Size) -> usize {
        let patch = self.patch_size.max(1);
        (size.height / patch) * (size.width / patch)
    }

    /// Checks that both schedules fit the model and end as evaluation needs.
    ///
    /// # Errors
    /// Names the stage and the keys that do not fit together.
    pub(crate) fn check(&self) -> Result<()> {
        self.sizes.map_or(Ok(()), |sizes| self.check_sizes(sizes))?;
        self.tokens.map_or(Ok(()), |tokens| self.check_tokens(tokens))
    }

    fn check_sizes(&self, sizes: &PiecewiseConstant<Size>) -> Result<()> {
        let whole = self.input_size.write();
        for size in sizes.stages().iter().map(|stage| stage.value) {
            let text = size.write();
            if size.grid(self.patch_size).is_err() {
                return problem(format!(
                    "`input_size_schedule`: {text} is not a multiple of `patch_size: {}`; use one, \
                     such as {}",
                    self.patch_size,
                    self.multiple_near(size).write()
                ));
            }
            if size.height > self.input_size.height || size.width > self.input_size.width {
                return problem(format!(
                    "`input_size_schedule`: {text} is larger than `input_size: {whole}`; use at \
                     most that, or raise `input_size`"
                ));
            }
        }
        match sizes.stages().last().map(|stage| stage.value) {
            Some(last) if last != self.input_size => problem(format!(
                "`input_size_schedule` ends with {0}, but evaluation and the trained model use \
                 `input_size: {whole}`; add a last stage of {whole}, or set `input_size: {0}`",
                last.write()
            )),
            _ => Ok(()),
        }
    }

    fn multiple_near(&self, size: Size) -> Size {
        let near = |side: usize| (side / self.patch_size.max(1)).max(1) * self.patch_size;
        Size::new(near(size.height), near(size.width))
    }

    fn check_tokens(&self, tokens: &PiecewiseConstant<usize>) -> Result<()> {
        let last = tokens.stages().last().map(|stage| stage.value);
        if let Some(last) = last.filter(|last| *last != self.num_encoded_tokens) {
            let whole = self.num_encoded_tokens;
            return problem(format!(
                "`num_encoded_tokens_schedule` ends with {last}, but evaluation uses \
                 `num_encoded_tokens: {whole}`; add a last stage of {whole}, or set \
                 `num_encoded_tokens: {last}`"
            ));
        }
        self.stages().iter().try_for_each(|stage| self.check_visible(stage))
    }

    fn check_visible(&self, stage: &InputStage) -> Result<()> {
        let all = self.modalities * self.patches(stage.size);
        if (1..=all).contains(&stage.num_encoded_tokens) {
            return Ok(());
        }
        problem(format!(
            "`num_encoded_tokens_schedule`: {} visible tokens from {} of the steps on, where the {} \
             modalities have {all} tokens at size {}; use 1 to {all}",
            stage.num_encoded_tokens,
            stage.from,
            self.modalities,
            stage.size.write()
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Override, PretrainRecipe, Resolved};

    /// A recipe of three modalities of 14 x 14 patches with further keys.
    fn load(keys: &[&str]) -> Result<PretrainRecipe, String> {
        let overrides: Vec<Override> = keys.iter().map(|key| key.parse().unwrap()).collect();
        Resolved::load(None, &overrides).map(|r| r.recipe).map_err(|error| error.to_string())
    }

    /// Beginnings, heights and numbers of visible tokens.
    fn stages(keys: &[&str]) -> Vec<(f64, usize, usize)> {
        let stages = load(keys).unwrap().input_stages();
        stages.iter().map(|s| (s.from, s.size.height, s.num_encoded_tokens)).collect()
    }

    #[test]
    fn without_a_schedule_there_is_no_stage() {
        assert_eq!(stages(&[]), []);
    }

    #[test]
    fn visible_tokens_are_scaled_with_the_number_of_patches() {
        let sizes = "input_size_schedule=[[0, 112], [0.25, 160], [0.75, 224]]";
        // 98 / 196 of 7 x 7 and of 10 x 10 patches; halves are rounded up.
        let expected = [(0.0, 112, 25), (0.25, 160, 50), (0.75, 224, 98)];
        assert_eq!(stages(&[sizes]), expected);
        assert_eq!(stages(&[sizes, "num_encoded_tokens=1"])[0], (0.0, 112, 1));
    }

    #[test]
    fn both_schedules_meet_in_one_list() {
        let keys = [
            "input_size_schedule=[[0, 112], [0.5, 224]]",
            "num_encoded_tokens_schedule=[[0, 20], [0.25, 40], [0.5, 98]]",
        ];
        assert_eq!(stages(&keys), [(0.0, 112, 20), (0.25, 112, 40), (0.5, 224, 98)]);
        assert_eq!(stages(&keys[1..]), [(0.0, 224, 20), (0.25, 224, 40), (0.5, 224, 98)]);
    }

    #[test]
    fn stages_begin_at_whole_steps() {
        let recipe = load(&["input_size_schedule=[[0, 112], [0.6, 224]]"]).unwrap();
        let first = |total| recipe.input_stages()[1].first_step(total);
        // Of one step and of none, the second stage has nothing.
        assert_eq!([0, 1, 2, 10, 1001].map(first), [0, 1, 1, 6, 601]);
    }

    #[test]
    fn schedules_that_do_not_fit_say_what_to_do() {
        let cases: [(&[&str], &str); 8] = [
            (
                &["input_size_schedule=[[0, 120], [0.5, 224]]"],
                "120 is not a multiple of `patch_size: 16`; use one, such as 112",
            ),
            (
                &["input_size_schedule=[[0, [8, 112]], [0.5, 224]]"],
                "[8,112] is not a multiple of `patch_size: 16`; use one, such as [16,112]",
            ),
            (
                &["input_size_schedule=[[0, 256], [0.5, 224]]"],
                "256 is larger than `input_size: 224`; use at most that, or raise `input_size`",
            ),
            (
                &["input_size_schedule=[[0, 112], [0.5, 192]]"],
                "add a last stage of 224, or set `input_size: 192`",
            ),
            (
                &["num_encoded_tokens_schedule=[[0, 20], [0.5, 40]]"],
                "add a last stage of 98, or set `num_encoded_tokens: 40`",
            ),
            (
                &["num_encoded_tokens_schedule=[[0, 0], [0.5, 98]]"],
                "0 visible tokens from 0 of the steps on",
            ),
            (
                &[
                    "num_encoded_tokens_schedule=[[0, 98]]",
                    "input_size_schedule=[[0, 64], [0.5, 224]]",
                ],
                "3 modalities have 48 tokens at size 64; use 1 to 48",
            ),
            (
                &["input_size_schedule=[[0.2, 112], [0.5, 224]]"],
                "`input_size_schedule`: the first stage begins at 0.2; let it begin at 0",
            ),
        ];
        for (keys, words) in cases {
            let problem = load(keys).unwrap_err();
            assert!(problem.contains(words), "{keys:?}: {problem}");
        }
    }

    #[test]
    fn runs_from_before_the_keys_resume_without_them() {
        let recipe = load(&[]).unwrap();
        let now = serde_json::from_str(&crate::Recipe::fingerprint(&recipe)).unwrap();
        let mut before: serde_json::Map<_, _> = serde_json::Map::clone(&now);
        for key in ["input_size_schedule", "num_encoded_tokens_schedule"] {
            assert!(before.shift_remove(key).is_some());
        }
        let same = crate::check_same::<PretrainRecipe>(&before, &now).unwrap();
        assert_eq!(same, [""; 0]);
        let scheduled = load(&["input_size_schedule=[[0, 112], [0.5, 224]]"]).unwrap();
        let scheduled = serde_json::from_str(&crate::Recipe::fingerprint(&scheduled)).unwrap();
        let error = crate::check_same::<PretrainRecipe>(&before, &scheduled).unwrap_err();
        let words = "`input_size_schedule` was null, now [[0.0,112],[0.5,224]]";
        assert!(error.to_string().contains(words), "{error}");
    }
}
