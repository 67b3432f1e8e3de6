//! Scoring a predictor on a data set.

use std::collections::BTreeSet;

use multimae::modality::Size;
use multimae_data::{Dataset, RawSample};
use multimae_report::Picture;

use super::depth::{DepthFrame, DepthScorer};
use super::labels::LabelSet;
use super::permutation::numpy_permutation;
use super::pictures::{Shown, class_bars, depth_grid, input_picture, label_grid};
use super::protocol::{DepthProtocol, Images, Protocol, Scores};
use super::results::{Evaluation, Outcome, percent};
use super::semseg::{SemsegFrame, SemsegScorer};
use super::statement::Facts;
use super::truth::Truth;
use super::worst::Worst;
use crate::{Error, Result};
use multimae_infer::predict::{FramePrediction, Predictor, Request};

/// What is evaluated on what.
pub struct Evaluator<'a> {
    /// The model.
    pub predictor: &'a dyn Predictor,
    /// What the statement calls it.
    pub model: String,
    /// Frames with the inputs and what predictions are compared with.
    pub dataset: &'a Dataset,
    /// What the statement calls them.
    pub data: String,
    /// The list of the split, if there is one.
    pub split: Option<String>,
    /// Where in the frames predictions find what they are compared with.
    pub truth: &'a Truth,
    /// How many of the worst frames are drawn.
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
            let request = Request { inputs: inputs.to_vec(), canvas: view.canvas(), flip };
            for &index in order {
                let frame = view.apply(self.dataset.decode(index)?)?;
                let prediction = self.predictor.predict(&frame, &request)?;
                for &protocol in pass {
                    scorings[protocol].add(&frame, &prediction, self.truth, &request)?;
                }
                done += 1;
                progress(done, total);
            }
        }
        scorings.into_iter().map(|scoring| self.finish(scoring, inputs, flip)).collect()
    }

    fn scoring<'p>(&self, protocol: &'p Protocol) -> Result<Scoring<'p>> {
        let missing = |what: &str| {
            Error::Evaluation(format!(
                "protocol `{}` scores {what}, which the model does not predict",
                protocol.name
            ))
        };
        let scorer = match &protocol.scores {
            Scores::Depth(depth) if self.predictor.predicts_depth() => {
                Scorer::Depth(depth, DepthScorer::new(depth), Worst::new(self.worst))
            }
            Scores::Depth(_) => return Err(missing("depth")),
            Scores::Semseg(semseg) => {
                let labels = self.predictor.labels().ok_or_else(|| missing("labels"))?;
                Scorer::Semseg(SemsegScorer::new(semseg, labels)?, Worst::new(self.worst))
            }
        };
        Ok(Scoring { protocol, scorer, sizes: BTreeSet::new(), images: 0 })
    }

    /// The images of a protocol in their order.
    fn order(&self, images: Images) -> Vec<usize> {
        let all = self.dataset.len();
        match images {
            Images::All => (0..all).collect(),
            Images::Permuted { first } => {
                let samples = self.dataset.samples();
                let mut sorted: Vec<usize> = (0..all).collect();
                sorted.sort_by(|&a, &b| samples[a].id.cmp(&samples[b].id));
                numpy_permutation(0, all).into_iter().take(first).map(|i| sorted[i]).collect()
            }
        }
    }

    fn finish(&self, scoring: Scoring<'_>, inputs: &[String], flip: bool) -> Result<Evaluated> {
        let Scoring { protocol, scorer, sizes, images } = scoring;
        let canvas = protocol.view.canvas();
        let request = Request { inputs: inputs.to_vec(), canvas, flip };
        let label_sets: Vec<LabelSet> = match &scorer {
            Scorer::Depth(..) => Vec::new(),
            Scorer::Semseg(scorer, _) => scorer.label_sets().collect(),
        };
        let (height, width) = sizes.first().copied().unwrap_or_default();
        let mut input = self.predictor.describe_input(Size::new(height, width), &request)?;
        if sizes.len() > 1 {
            input.push_str(&format!("; so frames of {height}x{width}, others alike"));
        }
        let facts = Facts {
            model: &self.model,
            data: &self.data,
            split: self.split.as_deref(),
            images,
            of_images: self.dataset.len(),
            sizes: &sizes,
            input,
            flip,
            mask: self.truth.mask.is_some(),
            labels: self.predictor.labels(),
            label_sets: &label_sets,
        };
        let statement = protocol.statement(&facts)?;
        let (outcome, pictures) = scorer.finish(&protocol.name, self.predictor)?;
        let evaluation = Evaluation { protocol: protocol.clone(), statement, outcome };
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

/// A protocol at work.
struct Scoring<'p> {
    protocol: &'p Protocol,
    scorer: Scorer<'p>,
    sizes: BTreeSet<(usize, usize)>,
    images: usize,
}

enum Scorer<'p> {
    Depth(&'p DepthProtocol, DepthScorer, Worst<Shown<f32>>),
    Semseg(SemsegScorer, Worst<Shown<i64>>),
}

impl Scoring<'_> {
    fn add(
        &mut self,
        frame: &RawSample,
        prediction: &FramePrediction,
        truth: &Truth,
        request: &Request,
    ) -> Result<()> {
        self.sizes.insert((frame.height, frame.width));
        self.images += 1;
        let missing = |what: &str| {
            Error::Evaluation(format!("frame `{}`: the model predicted no {what}", frame.id))
        };
        match &mut self.scorer {
            Scorer::Depth(protocol, scorer, worst) => {
                let predicted = prediction.depth().ok_or_else(|| missing("depth"))?;
                add_depth(protocol, scorer, worst, frame, predicted, truth, request)
            }
            Scorer::Semseg(scorer, worst) => {
                let predicted = prediction.labels().ok_or_else(|| missing("labels"))?;
                add_labels(scorer, worst, frame, predicted, truth, request)
            }
        }
    }
}

fn add_depth(
    protocol: &DepthProtocol,
    scorer: &mut DepthScorer,
    worst: &mut Worst<Shown<f32>>,
    frame: &RawSample,
    prediction: &[f32],
    truth: &Truth,
    request: &Request,
) -> Result<()> {
    let (target, valid) = (truth.depth_of(frame)?, truth.valid_of(frame));
    let size = Size::new(frame.height, frame.width);
    let scored =
        DepthFrame { id: &frame.id, size, prediction, target: &target, valid: valid.as_deref() };
    let Some(scores) = scorer.add(&scored)? else { return Ok(()) };
    worst.offer(scores.rel, || {
        let counted = scored.counted(protocol);
        let known = |(&t, c): (&f32, bool)| if c { t } else { f32::NAN };
        Ok(Shown {
            title: format!("{} abs rel {:.3}", frame.id, scores.rel),
            input: input_picture(frame, &request.inputs),
            size,
            target: target.iter().zip(counted).map(known).collect(),
            prediction: prediction.to_vec(),
        })
    })
}

fn add_labels(
    scorer: &mut SemsegScorer,
    worst: &mut Worst<Shown<i64>>,
    frame: &RawSample,
    prediction: &[i64],
    truth: &Truth,
    request: &Request,
) -> Result<()> {
    let target = truth.labels_of(frame)?;
    let size = Size::new(frame.height, frame.width);
    let scored = SemsegFrame { id: &frame.id, size, prediction, target };
    let Some(scores) = scorer.add(&scored)? else { return Ok(()) };
    worst.offer(1.0 - scores.miou, || {
        let (target, prediction) = scorer.drawn(target, prediction);
        Ok(Shown {
            title: format!("{} mIoU {} %", frame.id, percent(scores.miou)),
            input: input_picture(frame, &request.inputs),
            size,
            target,
            prediction,
        })
    })
}

type Pictures = Vec<(String, String, Picture)>;

impl Scorer<'_> {
    fn finish(self, name: &str, predictor: &dyn Predictor) -> Result<(Outcome, Pictures)> {
        let mut pictures = Pictures::new();
        let outcome = match self {
            Self::Depth(_, scorer, worst) => {
                let frames = worst.into_worst_first();
                if !frames.is_empty() {
                    let caption = "The frames with the largest abs rel.".to_owned();
                    pictures.push((format!("{name}-worst"), caption, depth_grid(&frames)?));
                }
                Outcome::Depth(scorer.result()?)
            }
            Self::Semseg(scorer, worst) => {
                let result = scorer.result()?;
                for row in &result.rows {
                    let palette = predictor.labels().map(|labels| row.label_set.palette(labels));
                    let bars = class_bars(row, &palette.unwrap_or_default());
                    let set = row.label_set.name().to_lowercase().replace(' ', "-");
                    let caption = "Classes that neither predictions nor labels have are left out.";
                    pictures.push((format!("{name}-iou-{set}"), caption.to_owned(), bars));
                }
                let frames = worst.into_worst_first();
                if let Some(palette) = scorer.palette().filter(|_| !frames.is_empty()) {
                    let caption = "The frames with the least mIoU.".to_owned();
                    let grid = label_grid(&frames, &palette)?;
                    pictures.push((format!("{name}-worst"), caption, grid));
                }
                Outcome::Semseg(result)
            }
        };
        Ok((outcome, pictures))
    }
}
