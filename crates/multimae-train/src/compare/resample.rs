//! Paired bootstrap intervals of the differences to the reference.
//!
//! A draw takes seeds and scenes with replacement, the same for a cell and the reference, sums the frames'
//! counts and errors, and computes the scores and their relative differences then. A scene is the frames of
//! one place, or a frame alone where scenes are not known. Percentiles of many draws are the interval
//! (Efron and Tibshirani, 1993).

use indexmap::IndexMap;
use multimae_data::stream;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::plan::{ComparisonPlan, PlannedRun};
use super::scores::{TaskScore, mean_relative_difference};
use crate::Result;
use crate::run::{RunFolder, RunFrames, SetFrames};

/// Draws of an interval.
pub(super) const DRAWS: usize = 10_000;
/// The share of the draws that an interval leaves out on each side.
const OUTSIDE: f64 = 0.025;

/// The fewest seeds for which a difference is called resolved.
pub(super) const FEWEST_SEEDS: usize = 3;

/// An interval of a difference to the reference, in percent; positive is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The difference itself: over all frames and the seeds that both have.
    pub difference: f64,
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// 2.5 % of the draws are above.
    pub high: f64,
}

impl Interval {
    /// Whether a difference of zero is outside of it.
    #[must_use]
    pub fn is_resolved(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    /// Of a difference and its draws, in any order; `None` without draws.
    fn of(difference: f64, mut draws: Vec<f64>) -> Option<Self> {
        draws.sort_by(f64::total_cmp);
        let last = draws.len().checked_sub(1)?;
        let at = |share: f64| draws.get((share * last as f64).round() as usize).copied();
        Some(Self { difference, low: at(OUTSIDE)?, high: at(1.0 - OUTSIDE)? })
    }
}

/// The intervals of a cell's differences to the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resampled {
    /// Of the mean over the tasks.
    pub delta_m: Interval,
    /// By score.
    pub scores: IndexMap<String, Interval>,
    /// The seeds that both were trained with.
    pub seeds: Vec<u64>,
    /// Scenes, or frames, that are drawn from.
    pub scenes: usize,
}

impl Resampled {
    /// Whether a difference is resolved. One of few seeds is not, whatever its interval: it says little about
    /// training again.
    #[must_use]
    pub fn resolves(&self, interval: Interval) -> bool {
        self.seeds.len() >= FEWEST_SEEDS && interval.is_resolved()
    }
}

/// The scores of one run in every draw of the scenes.
struct DrawnScores {
    cell: String,
    seed: u64,
    /// By score; `None` where a draw has none.
    scores: Vec<Vec<Option<f64>>>,
}

/// The intervals of all cells but the reference that share seeds and frames with it.
///
/// # Errors
/// If the file of a finished run is damaged.
pub(super) fn resampled(
    plan: &ComparisonPlan,
    on_test: bool,
    draws: usize,
) -> Result<IndexMap<String, Resampled>> {
    let kept = frames_of(plan, on_test)?;
    let Some((_, first)) = kept.iter().find(|(run, _)| run.cell == plan.grid.reference) else {
        return Ok(IndexMap::new());
    };
    let Some(ids) = first.tasks.values().next().map(|sums| own_ids(sums.ids())) else {
        return Ok(IndexMap::new());
    };
    let scenes = scenes_of(&ids, first);
    let count = scenes.iter().max().map_or(0, |last| last + 1);
    // The set itself first, then the draws.
    let whole = vec![1; scenes.len()];
    let times = [vec![whole], draw_frames(&scenes, count, draws)].concat();
    let mut runs: Vec<DrawnScores> = Vec::new();
    for (run, frames) in &kept {
        if let Some(scores) = drawn_scores(&plan.scores, frames, &ids, &times) {
            runs.push(DrawnScores { cell: run.cell.clone(), seed: run.seed, scores });
        }
    }
    let cells = plan.grid.cells.keys().filter(|cell| **cell != plan.grid.reference);
    Ok(cells
        .filter_map(|cell| {
            let pairs: Vec<(&DrawnScores, &DrawnScores)> = of_cell(&runs, cell)
                .filter_map(|own| {
                    let mut same = of_cell(&runs, &plan.grid.reference);
                    Some((own, same.find(|run| run.seed == own.seed)?))
                })
                .collect();
            Some((cell.clone(), intervals(&plan.scores, &pairs, draws, count)?))
        })
        .collect())
}

fn of_cell<'a>(
    runs: &'a [DrawnScores],
    cell: &'a str,
) -> impl Iterator<Item = &'a DrawnScores> + 'a {
    runs.iter().filter(move |run| run.cell == cell)
}

fn own_ids(ids: Vec<&str>) -> Vec<String> {
    ids.into_iter().map(str::to_owned).collect()
}

/// The sums of finished runs on a set, where they were kept.
fn frames_of(plan: &ComparisonPlan, on_test: bool) -> Result<Vec<(&PlannedRun, SetFrames)>> {
    let mut found = Vec::new();
    for run in plan.runs.iter().filter(|run| run.result().is_some()) {
        let Some(frames) = RunFrames::read(&RunFolder::frames_in(&run.dir))? else { continue };
        let set = if on_test { frames.test } else { frames.validation };
        found.extend(set.map(|set| (run, set)));
    }
    Ok(found)
}

/// The number of the scene of every frame, counted in the order of the frames.
fn scenes_of(ids: &[String], frames: &SetFrames) -> Vec<usize> {
    let mut numbers: IndexMap<&str, usize> = IndexMap::new();
    ids.iter()
        .map(|id| {
            let scene = frames.scenes.get(id).unwrap_or(id);
            let next = numbers.len();
            *numbers.entry(scene).or_insert(next)
        })
        .collect()
}

/// The number of times that each frame is in each draw.
fn draw_frames(scenes: &[usize], count: usize, draws: usize) -> Vec<Vec<u32>> {
    let mut rng = stream(0, "bootstrap of scenes", 0, 0);
    let mut draw = |_| {
        let mut of_scenes = vec![0_u32; count];
        (0..count).for_each(|_| of_scenes[rng.random_range(0..count)] += 1);
        scenes.iter().map(|scene| of_scenes[*scene]).collect()
    };
    (0..draws).map(&mut draw).collect()
}

/// The scores of a run in all draws; `None` if it was measured on other frames or has no such score.
fn drawn_scores(
    scores: &[TaskScore],
    frames: &SetFrames,
    ids: &[String],
    times: &[Vec<u32>],
) -> Option<Vec<Vec<Option<f64>>>> {
    scores
        .iter()
        .map(|score| {
            let sums = frames.tasks.get(&score.task)?;
            let name = score.name.strip_prefix(&score.task)?.strip_prefix('_')?;
            if sums.ids() != *ids || sums.score(name, &vec![1; ids.len()]).is_none() {
                return None;
            }
            Some(times.iter().map(|times| sums.score(name, times)).collect())
        })
        .collect()
}

/// The intervals over draws of seeds and scenes.
fn intervals(
    scores: &[TaskScore],
    pairs: &[(&DrawnScores, &DrawnScores)],
    draws: usize,
    scenes: usize,
) -> Option<Resampled> {
    if pairs.is_empty() {
        return None;
    }
    let all: Vec<usize> = (0..pairs.len()).collect();
    let (delta, differences) = differences_of(scores, pairs, (0, &all))?;
    let mut rng: ChaCha8Rng = stream(0, "bootstrap of seeds", 0, 0);
    let mut delta_m = Vec::new();
    let mut by_score: Vec<Vec<f64>> = vec![Vec::new(); scores.len()];
    for draw in 1..=draws {
        let seeds: Vec<usize> = all.iter().map(|_| rng.random_range(0..pairs.len())).collect();
        // A draw without a pixel that counts says nothing.
        if let Some((delta, differences)) = differences_of(scores, pairs, (draw, &seeds)) {
            delta_m.push(delta);
            by_score.iter_mut().zip(differences).for_each(|(all, one)| all.push(one));
        }
    }
    let by_score = scores.iter().zip(differences).zip(by_score);
    let by_score = by_score.map(|((score, difference), draws)| {
        Some((score.name.clone(), Interval::of(difference, draws)?))
    });
    Some(Resampled {
        delta_m: Interval::of(delta, delta_m)?,
        scores: by_score.collect::<Option<_>>()?,
        seeds: pairs.iter().map(|(own, _)| own.seed).collect(),
        scenes,
    })
}

/// The differences in percent in one draw of scenes and of pairs: of the mean over the scores, and of each.
fn differences_of(
    scores: &[TaskScore],
    pairs: &[(&DrawnScores, &DrawnScores)],
    (draw, seeds): (usize, &[usize]),
) -> Option<(f64, Vec<f64>)> {
    let mean = |score: usize, of_reference: bool| -> Option<f64> {
        let of_seed = |seed: &usize| {
            let (own, reference) = pairs[*seed];
            let run = if of_reference { reference } else { own };
            run.scores[score][draw]
        };
        let values: Vec<f64> = seeds.iter().map(of_seed).collect::<Option<_>>()?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    };
    let both: Vec<(&TaskScore, f64, f64)> = (scores.iter().enumerate())
        .map(|(index, score)| Some((score, mean(index, false)?, mean(index, true)?)))
        .collect::<Option<_>>()?;
    let of_score = |(score, own, reference): &(&TaskScore, f64, f64)| {
        Some(100.0 * score.relative_difference(*own, *reference)?)
    };
    let by_score = both.iter().map(of_score).collect::<Option<_>>()?;
    Some((100.0 * mean_relative_difference(&both)?, by_score))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(name: &str, higher_is_better: bool) -> TaskScore {
        let task = name.split('_').next().unwrap_or(name).to_owned();
        TaskScore { task, name: name.to_owned(), higher_is_better }
    }

    fn run(cell: &str, seed: u64, scores: Vec<Vec<f64>>) -> DrawnScores {
        let scores = scores.into_iter().map(|draws| draws.into_iter().map(Some).collect());
        DrawnScores { cell: cell.to_owned(), seed, scores: scores.collect() }
    }

    #[test]
    fn what_is_common_to_both_cancels() {
        // Both vary by a factor of two from draw to draw, together; one is always better by 10 %.
        let draws = 400;
        let varying: Vec<f64> = (0..=draws).map(|d| 1.0 + (d % 11) as f64 / 10.0).collect();
        let better: Vec<f64> = varying.iter().map(|value| 0.9 * value).collect();
        let (own, reference) = (run("a", 0, vec![better]), run("full", 0, vec![varying]));
        let scores = [score("depth_rmse", false)];
        let got = intervals(&scores, &[(&own, &reference)], draws, 7).unwrap();
        assert!((got.delta_m.low - 10.0).abs() < 1e-9 && (got.delta_m.high - 10.0).abs() < 1e-9);
        assert!((got.delta_m.difference - 10.0).abs() < 1e-9);
        // One seed says nothing of others.
        assert!(got.delta_m.is_resolved() && !got.resolves(got.delta_m));
        assert_eq!((got.seeds.as_slice(), got.scenes), (&[0][..], 7));
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let draws = 2000;
        let flat = |value: f64| vec![vec![value; draws + 1]];
        let runs = [run("a", 0, flat(1.1)), run("a", 1, flat(0.9)), run("full", 0, flat(1.0))];
        let scores = [score("semseg_miou", true)];
        let pairs = [(&runs[0], &runs[2]), (&runs[1], &runs[2])];
        let got = intervals(&scores, &pairs, draws, 5).unwrap();
        assert!(got.delta_m.low < -9.9 && got.delta_m.high > 9.9, "{got:?}");
        assert!(!got.delta_m.is_resolved());
        assert!(intervals(&scores, &[], draws, 5).is_none());
    }

    #[test]
    fn scenes_are_drawn_whole() {
        let scenes = [0, 1, 1, 2];
        let times = draw_frames(&scenes, 3, 200);
        assert!(times.iter().all(|times| times[1] == times[2]));
        // Three scenes are drawn, whatever their sizes.
        assert!(times.iter().all(|times| times[0] + times[1] + times[3] == 3));
        assert!(times.iter().any(|times| times[0] == 0) && times.iter().any(|t| t[0] == 2));
        let mean = times.iter().map(|times| f64::from(times[3])).sum::<f64>() / 200.0;
        assert!((mean - 1.0).abs() < 0.2, "{mean}");
    }

    #[test]
    fn an_interval_leaves_out_the_tails() {
        let draws: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
        let interval = Interval::of(480.0, draws).unwrap();
        assert_eq!((interval.low, interval.high, interval.difference), (25.0, 975.0, 480.0));
        assert_eq!(Interval::of(0.0, Vec::new()), None);
    }
}
