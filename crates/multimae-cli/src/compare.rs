//! `multimae compare`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use fs_err as fs;
use indicatif::{HumanDuration, ProgressBar};
use multimae_config::{Override, Recipe as _};
use multimae_io::atomic::write_atomically;
use multimae_report::metrics_log;
use multimae_train::compare::{
    Columns, Comparison, ComparisonPlan, ComparisonRequest, PlannedRun, RunState, Search, table,
    write_outputs,
};

use crate::{interrupt, processes, terminal};

/// The interval of looking at a running cell.
const LOOK: Duration = Duration::from_millis(50);
/// The interval of reading its progress from its records.
const READ: Duration = Duration::from_secs(2);
/// Part of the error of a run whose loss or gradient is not finite.
const NOT_FINITE: &str = "clip gradients (`clip_grad`)";
/// Lines of a failed run's output that are kept.
const TAIL: usize = 20;

/// Train a grid of tuning modes from one backbone and compare what they cost and reach.
///
/// Every cell and seed is an ordinary run of fine-tuning in DIR/cells/, in a process of its own,
/// one after the other. Where the grid has a `search`, trials in DIR/search/ choose keys of each cell on the
/// validation set first. Writes table.md, results.json and report.html after each. Finished runs are
/// not trained again, unfinished ones are resumed. Ctrl-C stops at a checkpoint.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The grid in YAML: the recipe of every cell, and what is changed in it
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the comparison
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder of the data (`data_path` in the recipe)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Set a key of all recipes, over the grid; dots go into maps
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
    /// Train only these cells; the table shows all
    #[arg(long, value_name = "CELL", value_delimiter = ',')]
    only: Vec<String>,
    /// Print what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        processes::alone("compare")?;
        let request = ComparisonRequest {
            grid: self.config,
            out: self.out,
            data: self.data,
            set: self.overrides,
            only: self.only,
        };
        let mut plan = ComparisonPlan::new(&request)?;
        if self.dry_run {
            return Ok(terminal::result(&plan.describe())?);
        }
        let stop = interrupt::flag()?;
        if let Some(search) = Search::new(&request)? {
            terminal::line(&search.describe());
            if !searched(&search, &stop)? {
                terminal::line("stopped; the same command resumes");
                return Ok(());
            }
            plan = ComparisonPlan::new(&request)?;
        }
        let (comparison, report) = train_all(&mut plan, &stop)?;
        terminal::result(&table(&comparison, Columns::All).markdown())
            .context("printing the table")?;
        terminal::line(&format!("look at {}", report.display()));
        if stop.load(Ordering::Relaxed) {
            terminal::line("stopped; the same command resumes");
        }
        failures(&plan)
    }
}

/// Trains the trials of a search, rung by rung, and says what was chosen. Whether it came to its end.
fn searched(search: &Search<'_>, stop: &AtomicBool) -> anyhow::Result<bool> {
    loop {
        let mut runs = search.next_runs()?;
        if runs.is_empty() {
            break;
        }
        let count = runs.len();
        let bar = terminal::bar(count as u64, "");
        bar.enable_steady_tick(Duration::from_secs(1));
        for (number, run) in runs.iter_mut().enumerate() {
            bar.set_position(number as u64);
            let trial = run.dir.file_name().unwrap_or_default().display().to_string();
            let place = format!("[{} of {count}] trial {trial}", number + 1);
            let start = Instant::now();
            train_one(run, (&bar, &place), stop)?;
            let text = outcome(&run.state, start.elapsed());
            bar.suspend(|| terminal::line(&format!("{place}: {text}")));
            if stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return Ok(false);
            }
            if let RunState::Failed(error) = &run.state {
                if error.contains(NOT_FINITE) {
                    // The worst of all: the search continues without it.
                    write_atomically(&run.diverged(), error.as_bytes())?;
                    continue;
                }
                bail!("the trial {trial} failed; the same command tries it again\n{error}");
            }
        }
        bar.finish_and_clear();
    }
    let chosen = search.chosen()?;
    if let Some(cell) = search.cells().find(|cell| !chosen.contains_key(*cell)) {
        bail!("every trial of cell {cell} diverged: search lower rates, in another --out");
    }
    for (cell, changes) in chosen {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        terminal::line(&format!("chosen for {cell}: {}", changes.join(" ")));
    }
    Ok(true)
}

/// Trains what is chosen and not finished, and writes what the runs say; also the report's path.
pub(crate) fn train_all(
    plan: &mut ComparisonPlan,
    stop: &AtomicBool,
) -> anyhow::Result<(Comparison, PathBuf)> {
    train(plan, stop)?;
    let comparison = Comparison::of(plan).with_intervals(plan)?;
    let report = write_outputs(plan, &comparison)?;
    Ok((comparison, report))
}

/// An error that names the runs that failed, if some did.
pub(crate) fn failures(plan: &ComparisonPlan) -> anyhow::Result<()> {
    let failed: Vec<String> = plan
        .runs
        .iter()
        .filter(|run| matches!(run.state, RunState::Failed(_)))
        .map(PlannedRun::name)
        .collect();
    match failed.as_slice() {
        [] => Ok(()),
        [only] => bail!("the run {only} failed; the same command tries it again"),
        _ => bail!(
            "{} runs failed: {}; the same command tries them again",
            failed.len(),
            failed.join("; ")
        ),
    }
}

fn train(plan: &mut ComparisonPlan, stop: &AtomicBool) -> anyhow::Result<()> {
    let chosen: Vec<usize> =
        (0..plan.runs.len()).filter(|&index| plan.runs[index].chosen).collect();
    let bar = terminal::bar(chosen.len() as u64, "");
    bar.enable_steady_tick(Duration::from_secs(1));
    let mut seconds: Vec<f64> = Vec::new();
    for (number, &index) in chosen.iter().enumerate() {
        bar.set_position(number as u64);
        let place = format!("[{} of {}] {}", number + 1, chosen.len(), plan.runs[index].name());
        if let Some(result) = plan.runs[index].result() {
            seconds.push(result.training_seconds);
            bar.suspend(|| terminal::line(&format!("{place}: finished before")));
            continue;
        }
        let start = Instant::now();
        train_one(&mut plan.runs[index], (&bar, &place), stop)?;
        if plan.runs[index].result().is_some() {
            seconds.push(start.elapsed().as_secs_f64());
        }
        let to_do = |&&index: &&usize| plan.runs[index].result().is_none();
        let left = chosen[number + 1..].iter().filter(to_do).count();
        let text = outcome(&plan.runs[index].state, start.elapsed());
        let left = time_left(&seconds, left);
        bar.suspend(|| terminal::line(&format!("{place}: {text}{left}")));
        write_outputs(plan, &Comparison::of(plan))?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn outcome(state: &RunState, took: Duration) -> String {
    match state {
        RunState::Finished(_) => format!("done in {:.1} minutes", took.as_secs_f64() / 60.0),
        RunState::Failed(error) => {
            format!("FAILED: {}", error.lines().last().unwrap_or("without a word"))
        }
        RunState::Unfinished => "stopped at a checkpoint".to_owned(),
        RunState::Absent => "stopped before its first step".to_owned(),
    }
}

/// Returns the expected time of the remaining runs, from those so far.
fn time_left(seconds: &[f64], left: usize) -> String {
    if left == 0 || seconds.is_empty() {
        return String::new();
    }
    let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
    format!("; about {} left", HumanDuration(Duration::from_secs_f64(mean * left as f64)))
}

/// Trains a run in a process of its own, and looks at what became of it.
fn train_one(
    run: &mut PlannedRun,
    (bar, place): (&ProgressBar, &str),
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    fs::create_dir_all(&run.dir)?;
    let mut log = fs::OpenOptions::new().create(true).append(true).open(run.log())?;
    let mut command = command(run)?;
    writeln!(log, "$ {}", shown(&command))?;
    let begin = log.metadata()?.len();
    let (log, path) = log.into_parts();
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().with_context(|| format!("{}: cannot train", path.display()))?;
    let status = wait(child, run, bar, place)?;
    run.look()?;
    if run.result().is_none() && !stop.load(Ordering::Relaxed) {
        let output = fs::read(run.log())?;
        let output = output.get(begin as usize..).unwrap_or_default();
        run.state = RunState::Failed(failure(&String::from_utf8_lossy(output), status));
    }
    Ok(())
}

/// The command of a run. Its recipe is written down as it was resolved: changing the files that it
/// comes from, while other cells are trained, changes nothing.
fn command(run: &PlannedRun) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("this program does not find itself")?;
    let recipe = run.dir.with_added_extension("yaml");
    write_atomically(&recipe, run.recipe.to_yaml().as_bytes())?;
    let mut command = Command::new(program);
    command.arg("finetune").arg("--config").arg(&recipe).arg("--out").arg(&run.dir);
    if run.state == RunState::Unfinished {
        command.arg("--resume");
    }
    Ok(command)
}

/// A command as one would type it.
fn shown(command: &Command) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./+:,".contains(c);
    let quoted = |text: String| {
        if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let words = command.get_args().map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("multimae".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Waits for a process. Ctrl-C reaches it too, as it is of the same group; it stops in order.
fn wait(
    mut child: Child,
    run: &PlannedRun,
    bar: &ProgressBar,
    place: &str,
) -> anyhow::Result<ExitStatus> {
    let mut read = Instant::now();
    bar.set_message(place.to_owned());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if !bar.is_hidden() && read.elapsed() >= READ {
            read = Instant::now();
            if let Some(epoch) = epoch(run) {
                bar.set_message(format!("{place}: epoch {epoch} of {}", run.recipe.optim.epochs));
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// The epoch that a run is in, from 1.
fn epoch(run: &PlannedRun) -> Option<u64> {
    let records = metrics_log::read(&run.dir.join("metrics.jsonl")).ok()?;
    Some(records.last()?.get("epoch")?.as_u64()? + 1)
}

/// The end of what a failed run said.
fn failure(output: &str, status: ExitStatus) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut text = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    // A killed process has no last word of its own.
    if status.code() != Some(1) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("the process ended with {status}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_one_types_them() {
        let mut command = Command::new("/x/multimae");
        command.args(["finetune", "--set", "heads={\"a\":1}", "--set", "it's=1"]);
        assert_eq!(shown(&command), "multimae finetune --set 'heads={\"a\":1}' --set 'it'\\''s=1'");
    }

    #[test]
    fn what_is_left_is_told_by_what_is_done() {
        assert_eq!(time_left(&[60.0, 120.0], 0), "");
        assert_eq!(time_left(&[], 3), "");
        assert_eq!(time_left(&[60.0, 120.0], 4), "; about 6 minutes left");
    }
}
