//! Every subset of the inputs.

use multimae_report::Table;
use serde::Serialize;

use super::results::Evaluation;
use super::run::Evaluator;
use crate::Result;
use crate::view::apply;
use multimae_infer::predict::PredictOptions;
use multimae_tasks::Protocol;

/// The scores with a part of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubsetScores {
    /// The modalities that the model gets.
    pub inputs: Vec<String>,
    /// Scores by protocol; none if the model cannot do without the others.
    pub evaluations: Vec<Evaluation>,
    /// Why there are none.
    pub problem: Option<String>,
}

/// All subsets but the empty one, the largest first, each in the given order.
#[must_use]
pub fn subsets(inputs: &[String]) -> Vec<Vec<String>> {
    let chosen = |bits: usize| {
        let inputs = inputs.iter().enumerate();
        inputs.filter(|(i, _)| bits >> i & 1 == 1).map(|(_, name)| name.clone()).collect()
    };
    let mut subsets: Vec<Vec<String>> = (1..1_usize << inputs.len()).map(chosen).collect();
    subsets.sort_by_key(|subset| std::cmp::Reverse(subset.len()));
    subsets
}

impl Evaluator<'_> {
    /// Scores all protocols with every subset of the model's inputs. `progress` is told how many
    /// of how many frames are done, of all subsets together.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_subsets(
        &self,
        protocols: &[Protocol],
        flip: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<SubsetScores>> {
        let subsets = subsets(self.predictor.inputs());
        let count = subsets.len();
        let mut scores = Vec::with_capacity(count);
        for (index, inputs) in subsets.into_iter().enumerate() {
            let mut of_all =
                |done: usize, total: usize| progress(index * total + done, count * total);
            let evaluated = self.with_inputs(&inputs, protocols, flip, &mut of_all)?;
            scores.push(match evaluated {
                Ok(evaluations) => SubsetScores { inputs, evaluations, problem: None },
                Err(problem) => {
                    SubsetScores { inputs, evaluations: Vec::new(), problem: Some(problem) }
                }
            });
        }
        Ok(scores)
    }

    /// Scores with some of the inputs, or why the model cannot do with these.
    fn with_inputs(
        &self,
        inputs: &[String],
        protocols: &[Protocol],
        flip: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Result<Vec<Evaluation>, String>> {
        let first = self.dataset.decode(0)?;
        for protocol in protocols {
            let frame = apply(protocol.view, first.clone())?;
            let canvas = protocol.view.canvas();
            let options = PredictOptions { inputs: inputs.to_vec(), canvas, flip: false };
            if let Err(multimae_infer::Error::Prediction(problem)) =
                self.predictor.predict(&frame, &options)
            {
                return Ok(Err(problem));
            }
        }
        let evaluated = self.run(protocols, inputs, flip, progress)?;
        Ok(Ok(evaluated.into_iter().map(|evaluated| evaluated.evaluation).collect()))
    }
}

/// Subsets and the scores that stand for each protocol, in one table.
#[must_use]
pub fn subsets_table(subsets: &[SubsetScores]) -> Table {
    let headline = |subset: &SubsetScores| -> Vec<(String, String)> {
        let outcomes = subset.evaluations.iter().map(|evaluation| &evaluation.outcome);
        outcomes.flat_map(|outcome| outcome.headline.clone()).collect()
    };
    let columns: Vec<String> = subsets
        .iter()
        .map(headline)
        .max_by_key(Vec::len)
        .map_or_else(Vec::new, |scores| scores.into_iter().map(|(name, _)| name).collect());
    let headers = ["inputs".to_owned()].into_iter().chain(columns.iter().cloned());
    let mut table = Table::new(headers.chain(["model input".to_owned()]));
    for subset in subsets {
        let mut cells = vec![subset.inputs.join(" + ")];
        let mut scores: Vec<String> = headline(subset).into_iter().map(|(_, cell)| cell).collect();
        scores.resize(columns.len(), "-".to_owned());
        cells.append(&mut scores);
        let seen = subset.evaluations.first().and_then(|e| e.statement.get("model input"));
        cells.push(seen.or(subset.problem.as_ref()).cloned().unwrap_or_default());
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_subsets_the_largest_first() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            subsets(&names("a b c")),
            ["a b c", "a b", "a c", "b c", "a", "b", "c"].map(names)
        );
        assert_eq!(subsets(&names("a")), [names("a")]);
        assert!(subsets(&[]).is_empty());
    }
}
