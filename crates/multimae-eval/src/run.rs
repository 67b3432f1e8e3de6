//! Scoring a predictor on a data set.

use std::collections::BTreeSet;

use multimae::modality::Size;
use multimae_data::{Dataset, RawSample};
use multimae_infer::predict::{FramePrediction, PredictOptions, Predictor};
use multimae_report::Picture;
use multimae_tasks::pictures::input_picture;
use multimae_tasks::{FrameFacts, Images, Protocol, ScoredFrame, Scorer};

use crate::ground_truth::GroundTruth;
use crate::permutation::numpy_permutation;
use crate::results::Evaluation;
use crate::statement::{ProtocolFacts, statement};
use crate::view::apply;
use crate::{Error, Result};

/// The name of the protocol by which a run scores a task.
const OWN: &str = "own";

/// A predictor and the frames that it is scored on.
pub struct Evaluator<'a> {
    /// The model.
    pub predictor: &'a dyn Predictor,
    /// Its name in statements.
    pub model: String,
    /// Frames with the inputs and the annotations.
    pub dataset: &'a Dataset,
    /// Their name in statements.
    pub data: String,
    /// The list of the split, if there is one.
    pub split: Option<String>,
    /// The places of the annotations in frames.
    pub ground_truth: &'a GroundTruth,
    /// The number of worst frames that are drawn.
    pub worst: usize,
}

/// An evaluation and its pictures.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The scores.
    pub evaluation: Evaluation,
    /// Pictures with a name for files and a caption.
    pub pictures: Vec<(String, String, Picture)>,
}

impl Evaluator<'_> {
    /// The protocols by which a training run scores the model's tasks, one per task.
    #[must_use]
    pub fn own_protocols(&self) -> Vec<Protocol> {
        let tasks = self.predictor.tasks().iter();
        let own = |(name, card): (&String, &multimae_infer::saved_model::TaskCard)| {
            Protocol::of_rules(&format!("{OWN}-{name}"), card.task.rules())
        };
        tasks.map(own).collect()
    }

    /// Scores all protocols. Protocols that see the same frames share a pass. `progress` is told
    /// how many of how many frames are done.
    ///
    /// # Errors
    /// If a frame is bad, the protocols do not fit the model or the data, or nothing can be scored.
    pub fn run(
        &self,
        protocols: &[Protocol],
        inputs: &[String],
        flip: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Evaluated>> {
        let mut scorings =
            protocols.iter().map(|p| self.scoring(p)).collect::<Result<Vec<Scoring<'_>>>>()?;
        let passes = passes(protocols);
        let orders: Vec<_> =
            passes.iter().map(|pass| self.order(protocols[pass[0]].images)).collect();
        let total = orders.iter().map(Vec::len).sum();
        let mut done = 0;
        for (pass, order) in passes.iter().zip(&orders) {
            let view = protocols[pass[0]].view;
            let options = PredictOptions { inputs: inputs.to_vec(), canvas: view.canvas(), flip };
            for &index in order {
                let frame = apply(view, self.dataset.decode(index)?)?;
                let prediction = self.predictor.predict(&frame, &options)?;
                for &protocol in pass {
                    scorings[protocol].add(&frame, &prediction, self.ground_truth, &options)?;
                }
                done += 1;
                progress(done, total);
            }
        }
        scorings.into_iter().map(|scoring| self.finish(scoring, inputs, flip)).collect()
    }

    /// Starts a protocol on the task that it scores: its own one by name, else the first of its
    /// kind.
    fn scoring<'p>(&self, protocol: &'p Protocol) -> Result<Scoring<'p>> {
        let kind = protocol.rules.kind();
        let own = protocol.name.strip_prefix(OWN).and_then(|rest| rest.strip_prefix('-'));
        let found = self.predictor.tasks().iter().find(|(name, card)| match own {
            Some(own) => own == *name,
            None => card.task.kind() == kind,
        });
        let (task, card) = found.ok_or_else(|| {
            Error::Evaluation(format!(
                "protocol `{}` scores {kind}, which the model does not predict",
                protocol.name
            ))
        })?;
        let scorer = protocol.rules.scorer(&*card.task, self.worst)?;
        Ok(Scoring { protocol, task: task.clone(), scorer, sizes: BTreeSet::new(), images: 0 })
    }

    /// The images of a protocol in their order.
    fn order(&self, images: Images) -> Vec<usize> {
        let all = self.dataset.len();
        match images {
            Images::All => (0..all).collect(),
            Images::Permuted { first } => {
                let ids: Vec<_> = self.dataset.ids().collect();
                let mut sorted: Vec<usize> = (0..all).collect();
                sorted.sort_by(|&a, &b| ids[a].cmp(&ids[b]));
                numpy_permutation(0, all).into_iter().take(first).map(|i| sorted[i]).collect()
            }
        }
    }

    fn finish(&self, scoring: Scoring<'_>, inputs: &[String], flip: bool) -> Result<Evaluated> {
        let Scoring { protocol, task, scorer, sizes, images } = scoring;
        let canvas = protocol.view.canvas();
        let options = PredictOptions { inputs: inputs.to_vec(), canvas, flip };
        let (height, width) = sizes.first().copied().unwrap_or_default();
        let mut input = self.predictor.describe_input(Size::new(height, width), &options)?;
        if sizes.len() > 1 {
            input.push_str(&format!("; frames of {height}x{width}, others likewise"));
        }
        let facts = FrameFacts { sizes: &sizes, mask: self.ground_truth.mask.is_some() };
        let mut statement = statement(
            protocol,
            &ProtocolFacts {
                model: &self.model,
                data: &self.data,
                split: self.split.as_deref(),
                images,
                of_images: self.dataset.len(),
                sizes: &sizes,
                input,
                precision: self.predictor.precision(),
                flip,
                stored: self.ground_truth.stored(&task),
                rules: scorer.statement(facts)?,
            },
        );
        if let (Some(warning), Some(name)) =
            (statement.get_mut("warning"), self.ground_truth.modality_of(&task))
        {
            warning.push_str(&format!("; set it with `--set modalities.{name}.divisor=NUMBER`"));
        }
        let outcome = scorer.outcome()?;
        let pictures = scorer.pictures(&protocol.name)?;
        let evaluation = Evaluation { protocol: protocol.clone(), task, statement, outcome };
        Ok(Evaluated { evaluation, pictures })
    }
}

/// Indices of protocols that see the same frames alike, together.
fn passes(protocols: &[Protocol]) -> Vec<Vec<usize>> {
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for (index, protocol) in protocols.iter().enumerate() {
        let alike = |pass: &&mut Vec<usize>| {
            let first = &protocols[pass[0]];
            (first.images, first.view) == (protocol.images, protocol.view)
        };
        match passes.iter_mut().find(alike) {
            Some(pass) => pass.push(index),
            None => passes.push(vec![index]),
        }
    }
    passes
}

/// A protocol in progress.
struct Scoring<'p> {
    protocol: &'p Protocol,
    task: String,
    scorer: Box<dyn Scorer>,
    sizes: BTreeSet<(usize, usize)>,
    images: usize,
}

impl Scoring<'_> {
    fn add(
        &mut self,
        frame: &RawSample,
        prediction: &FramePrediction,
        ground_truth: &GroundTruth,
        options: &PredictOptions,
    ) -> Result<()> {
        self.sizes.insert((frame.height, frame.width));
        self.images += 1;
        let prediction = prediction.tasks.get(&self.task).ok_or_else(|| {
            Error::Evaluation(format!(
                "frame `{}`: the model predicted no `{}`",
                frame.id, self.task
            ))
        })?;
        let annotation = ground_truth.of(frame, &self.task)?;
        let valid = ground_truth.valid_of(frame);
        Ok(self.scorer.add(&ScoredFrame {
            id: &frame.id,
            size: Size::new(frame.height, frame.width),
            prediction,
            annotation: annotation.as_ref(),
            valid: valid.as_deref(),
            input: &|| input_picture(frame, &options.inputs),
        })?)
    }
}
