//! Terminal output: a progress bar on a terminal, and lasting lines anywhere.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use multimae_group::Group;
use multimae_train::observer::{Event, Observer, ScheduledInput, StepReport};

/// Weight of the past in the figures of the progress bar.
const SMOOTHING: f64 = 0.9;

/// An error that process 0 speaks of.
#[derive(Debug)]
pub(crate) struct Quiet;

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("process 0 says why")
    }
}

impl std::error::Error for Quiet {}

/// Prints an error with what caused it.
#[expect(clippy::print_stderr, reason = "errors go there")]
pub(crate) fn error(error: &anyhow::Error) {
    if error.is::<Quiet>() {
        return;
    }
    // Transparent errors repeat the text of their cause.
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !texts.iter().any(|shown| shown.contains(&text)) {
            texts.push(text);
        }
    }
    eprintln!("error: {}", texts.join(": "));
}

/// Prints a line that is worth keeping.
#[expect(clippy::print_stderr, reason = "standard output is for results")]
pub(crate) fn line(text: &str) {
    eprintln!("{text}");
}

/// Writes a result to standard output.
pub(crate) fn result(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A closed pipe, as with `head`, is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A plain progress bar over `total` things, on a terminal only.
pub(crate) fn bar(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{wide_bar} {pos}/{len} {msg}  {per_sec}  ETA {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}

/// Shows a run of training in process 0, and nothing in others.
pub(crate) fn observer(group: &dyn Group) -> Box<dyn Observer> {
    if group.rank() == 0 { Box::new(TrainingTerminal::new()) } else { Box::new(()) }
}

/// Shows indexes of shards while they are made, on a terminal only.
pub(crate) fn show_indexing() {
    let shown: Mutex<Option<ProgressBar>> = Mutex::new(None);
    multimae_data::shards::observe_indexing(move |indexing| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        let own = shown.get_or_insert_with(|| bar(indexing.total, "shards indexed"));
        own.set_length(indexing.total);
        own.set_position(indexing.done);
        if indexing.done == indexing.total {
            own.finish_and_clear();
            *shown = None;
        }
    });
}

/// Shows a run of training.
pub(crate) struct TrainingTerminal {
    bar: ProgressBar,
    smooth: Smooth,
    total: u64,
}

/// Figures that jump from step to step, smoothed, and the input of the last step.
#[derive(Default)]
struct Smooth {
    losses: IndexMap<String, f64>,
    seconds: f64,
    waited: f64,
    samples: f64,
    input: Option<ScheduledInput>,
}

impl Smooth {
    fn add(&mut self, report: &StepReport) {
        let first = self.losses.is_empty();
        let mix = |old: &mut f64, new: f64| {
            *old = if first { new } else { SMOOTHING * *old + (1.0 - SMOOTHING) * new };
        };
        for (task, loss) in &report.losses {
            mix(self.losses.entry(task.clone()).or_insert(*loss), *loss);
        }
        mix(&mut self.seconds, report.seconds);
        mix(&mut self.waited, report.wait_seconds);
        mix(&mut self.samples, report.samples as f64);
        self.input = report.input;
    }

    fn message(&self, epoch: u64) -> String {
        let seconds = self.seconds.max(f64::MIN_POSITIVE);
        let input = self.input.map(|input| {
            let (size, tokens) = (input.size, input.num_encoded_tokens);
            format!("{} x {}, {tokens} visible tokens  ", size.height, size.width)
        });
        format!(
            "epoch {epoch}  {}{:.1} samples/s  waiting {:.0} %  {}",
            input.unwrap_or_default(),
            self.samples / seconds,
            100.0 * self.waited / seconds,
            losses(&self.losses)
        )
    }
}

fn losses(losses: &IndexMap<String, f64>) -> String {
    losses.iter().fold(String::new(), |mut text, (task, loss)| {
        let separator = if text.is_empty() { "" } else { "  " };
        let _ = write!(text, "{separator}{task} {loss:.4}");
        text
    })
}

/// The scores that fit into a line, by the end of their name.
const SHORT: [&str; 7] = ["rmse", "delta_1", "miou", "pixel_acc", "top1", "mae", "score"];

/// The scores after losses, if there are any.
fn scores(scores: &IndexMap<String, f64>) -> String {
    let short: IndexMap<String, f64> = scores
        .iter()
        .filter(|(name, _)| SHORT.iter().any(|end| name.ends_with(end)))
        .map(|(name, score)| (name.clone(), *score))
        .collect();
    if short.is_empty() { String::new() } else { format!("  |  {}", losses(&short)) }
}

/// Scores beside those of predicting a constant, a line each.
fn table(on: &str, scores: &IndexMap<String, f64>, baseline: &IndexMap<String, f64>) -> String {
    let width = scores.keys().map(String::len).max().unwrap_or(0).max(on.len());
    let mut text = format!("{on:<width$}  {:>10}  {:>20}", "model", "predicting constant");
    for (name, score) in scores {
        let constant = baseline.get(name).map_or("–".to_owned(), |value| format!("{value:.4}"));
        let _ = write!(text, "\n{name:<width$}  {score:>10.4}  {constant:>20}");
    }
    text
}

impl TrainingTerminal {
    /// Draws on standard error, and only if that is a terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{wide_bar} {pos}/{len}  {elapsed_precise}  ETA {prefix}\n{msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, smooth: Smooth::default(), total: 0 }
    }

    /// A line that stays, above the bar.
    fn line(&self, text: &str) {
        self.bar.suspend(|| line(text));
    }

    fn step(&mut self, report: &StepReport) {
        self.smooth.add(report);
        let left = self.total.saturating_sub(report.step + 1) as f64 * self.smooth.seconds;
        self.bar.set_prefix(format!("{}", indicatif::HumanDuration(Duration::from_secs_f64(left))));
        self.bar.set_message(self.smooth.message(report.epoch));
        self.bar.set_position(report.step + 1);
    }
}

impl Observer for TrainingTerminal {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Notice(text) => self.line(&format!("note: {text}")),
            Event::Started { total_steps, done_steps, samples, parameters, baseline } => {
                self.total = *total_steps;
                self.bar.set_length(*total_steps);
                self.bar.set_position(*done_steps);
                let from = if *done_steps > 0 {
                    format!(", resuming at step {done_steps}")
                } else {
                    String::new()
                };
                self.line(&format!(
                    "{samples} samples, {:.2} million parameters, {total_steps} steps{from}",
                    *parameters as f64 / 1e6
                ));
                if let Some(baseline) = baseline {
                    self.line(&format!(
                        "predicting the mean ({} samples): {}{}",
                        baseline.on,
                        losses(&baseline.losses),
                        scores(&baseline.scores)
                    ));
                }
            }
            Event::Step(report) => self.step(report),
            Event::Evaluated { epoch, losses: measured, scores: scored, best } => {
                let mark = if *best { "  (best so far)" } else { "" };
                let measured = losses(measured);
                self.line(&format!("epoch {epoch}: {measured}{}{mark}", scores(scored)));
            }
            Event::Scored { on, scores, baseline } => {
                // The scores are in the run's folder too.
                let text = table(on, scores, baseline) + "\n";
                let _ = self.bar.suspend(|| result(&text));
            }
            Event::Ended(outcome) => {
                self.bar.finish_and_clear();
                self.line(&format!(
                    "{} at step {} of {} after {:.1} minutes of training; {:.1} samples/s, \
                     waiting for data {:.1} % of the time, {} samples left out as bad",
                    if outcome.interrupted { "stopped" } else { "done" },
                    outcome.step,
                    outcome.total_steps,
                    outcome.seconds / 60.0,
                    outcome.samples_per_second,
                    100.0 * outcome.wait_share,
                    outcome.rejected,
                ));
                if outcome.interrupted {
                    self.line("a checkpoint was written; continue with --resume");
                }
                if let Some(report) = &outcome.report {
                    self.line(&format!("look at {}", report.display()));
                }
            }
            _ => {}
        }
    }
}
