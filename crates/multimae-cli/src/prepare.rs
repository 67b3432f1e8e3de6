//! `multimae prepare`: a command per data set, generated from the registry.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context;
use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use multimae_datasets::{
    Choice, OptionInfo, OptionKind, OptionValues, Outcome, PrepareDataset, PrepareRun, Progress,
    Statistics, Summary, registry,
};

use crate::{interrupt, terminal};

const ABOUT: &str = "Bring a published data set into a folder that can be trained on";
/// The end of the description of every data set.
const RESUMING: &str =
    "Stopped by Ctrl-C, the same command resumes; a finished folder is left alone.";

/// A data set to prepare, with its options.
#[derive(Debug)]
pub(crate) struct Prepare {
    dataset: &'static dyn PrepareDataset,
    options: OptionValues,
    out: PathBuf,
    overwrite: bool,
    threads: usize,
}

impl Args for Prepare {
    fn augment_args(command: Command) -> Command {
        let datasets = registry().iter().map(|dataset| dataset_command(*dataset));
        command
            .about(ABOUT)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommands(datasets)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Prepare {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = |what: &str| clap::Error::raw(ErrorKind::MissingRequiredArgument, what);
        let (name, matches) = matches.subcommand().ok_or_else(|| missing("no data set"))?;
        let dataset = registry().iter().copied().find(|dataset| dataset.name() == name);
        let dataset = dataset.ok_or_else(|| missing("no such data set"))?;
        let out = matches.get_one::<PathBuf>("out").ok_or_else(|| missing("no --out"))?;
        Ok(Self {
            dataset,
            options: dataset.needs().iter().fold(OptionValues::default(), |values, option| {
                with_value(values, option, matches)
            }),
            out: out.clone(),
            overwrite: matches.get_flag("overwrite"),
            threads: matches.get_one("threads").copied().unwrap_or(0),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The command of a data set: its own options, and those that all share.
fn dataset_command(dataset: &dyn PrepareDataset) -> Command {
    let is_required = |option: &&OptionInfo| {
        matches!(option.kind, OptionKind::RequiredFile | OptionKind::RequiredFolder)
    };
    let (required, other): (Vec<_>, Vec<_>) = dataset.needs().iter().partition(is_required);
    let out = Arg::new("out").long("out").value_name("DIR").help("Folder to write").required(true);
    let overwrite = Arg::new("overwrite")
        .long("overwrite")
        .action(ArgAction::SetTrue)
        .help("Write the folder again if it was prepared before");
    let threads = Arg::new("threads")
        .long("threads")
        .value_name("THREADS")
        .value_parser(value_parser!(usize))
        .default_value("0")
        .help("Threads; all processors if 0");
    Command::new(dataset.name())
        .about(dataset.title())
        .long_about(format!("{}.\n\n{} {RESUMING}", dataset.title(), dataset.writes()))
        .args(required.into_iter().map(argument))
        .arg(out.value_parser(value_parser!(PathBuf)))
        .args(other.into_iter().map(argument))
        .arg(overwrite)
        .arg(threads)
}

fn argument(option: &OptionInfo) -> Arg {
    let argument = Arg::new(option.name).long(option.name).help(option.help);
    let path = |argument: Arg, name: &'static str| {
        argument.value_name(name).value_parser(value_parser!(PathBuf))
    };
    match option.kind {
        OptionKind::RequiredFile => path(argument, "FILE").required(true),
        OptionKind::OptionalFile => path(argument, "FILE"),
        OptionKind::RequiredFolder => path(argument, "DIR").required(true),
        OptionKind::OptionalFolder => path(argument, "DIR"),
        OptionKind::OptionalPath => path(argument, "PATH"),
        OptionKind::Flag => argument.action(ArgAction::SetTrue),
        OptionKind::Choice(choices) => argument
            .value_name(option.name.to_uppercase())
            .value_parser(choices.iter().map(possible_value).collect::<Vec<_>>())
            .default_value(choices.first().map_or("", |choice| choice.word)),
    }
}

fn possible_value(choice: &Choice) -> PossibleValue {
    let value = PossibleValue::new(choice.word);
    if choice.help.is_empty() { value } else { value.help(choice.help) }
}

/// Adds the value of an option, if it is given.
fn with_value(values: OptionValues, option: &OptionInfo, matches: &ArgMatches) -> OptionValues {
    let name = option.name;
    match option.kind {
        OptionKind::RequiredFile
        | OptionKind::OptionalFile
        | OptionKind::RequiredFolder
        | OptionKind::OptionalFolder
        | OptionKind::OptionalPath => match matches.get_one::<PathBuf>(name) {
            Some(path) => values.with_file(name, path.clone()),
            None => values,
        },
        OptionKind::Choice(_) => match matches.get_one::<String>(name) {
            Some(word) => values.with_choice(name, word),
            None => values,
        },
        OptionKind::Flag if matches.get_flag(name) => values.with_flag(name),
        OptionKind::Flag => values,
    }
}

impl Prepare {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let stop = interrupt::flag()?;
        let bars = Mutex::new(Bars::default());
        let progress = |progress| {
            if let Ok(bars) = bars.lock() {
                bars.show(progress);
            }
        };
        let run = PrepareRun {
            out: &self.out,
            overwrite: self.overwrite,
            threads: self.threads,
            progress: &progress,
            stop: &stop,
        };
        let summary = self.dataset.prepare(&self.options, &run).with_context(|| {
            format!("preparing {} in {}", self.dataset.name(), self.out.display())
        })?;
        if let Ok(bars) = bars.lock() {
            bars.clear();
        }
        self.report(&summary);
        Ok(())
    }

    fn report(&self, summary: &Summary) {
        let (frames, out) = (summary.frames, self.out.display());
        for note in &summary.notes {
            terminal::line(&format!("note: {note}"));
        }
        if summary.outcome == Outcome::CompleteBefore {
            terminal::line(&format!(
                "{out} is complete already, {frames} frames; --overwrite writes it again"
            ));
            return;
        }
        for (list, frames) in &summary.lists {
            terminal::line(&describe(list, *frames, summary.statistics.get(list)));
        }
        let written = summary.written;
        let end = match summary.outcome {
            Outcome::Stopped => "; stopped: the same command resumes",
            _ => "",
        };
        terminal::line(&format!("{written} of {frames} frames written now, in {out}{end}"));
    }
}

/// A line about the frames of a list, and the statistics of all or of a part of them.
fn describe(list: &str, frames: usize, of: Option<&Statistics>) -> String {
    let mut line = format!("{list:<9}  {frames:>4} frames");
    let Some(of) = of else { return line };
    if of.frames < frames {
        line += &format!(" (statistics of {})", of.frames);
    }
    if of.depth_valid > 0.0 {
        line += &format!(
            ", depth {:.3} m on average (deviation {:.3}, from {:.3} to {:.3})",
            of.depth_mean, of.depth_std, of.depth_min, of.depth_max
        );
    }
    if let Some(void) = of.label_share.first() {
        line += &format!(", void {:.1} %", 100.0 * void);
    }
    line
}

/// A bar for each of the two parts of the work, from when it begins.
#[derive(Default)]
struct Bars {
    bytes: OnceCell<ProgressBar>,
    frames: OnceCell<ProgressBar>,
}

impl Bars {
    fn show(&self, progress: Progress) {
        match progress {
            Progress::Checksum { done, total } => {
                self.bytes.get_or_init(|| bytes_bar(total, "MD5")).set_position(done);
            }
            Progress::Unpacked { done, total } => {
                self.bytes.get_or_init(|| bytes_bar(total, "unpacked")).set_position(done);
            }
            Progress::Frames { done, total } => {
                self.bytes.get().inspect(|bar| bar.finish_and_clear());
                self.frames.get_or_init(|| terminal::bar(total, "frames")).set_position(done);
            }
        }
    }

    fn clear(&self) {
        for bar in [&self.bytes, &self.frames].into_iter().filter_map(OnceCell::get) {
            bar.finish_and_clear();
        }
    }
}

fn bytes_bar(total: u64, message: &'static str) -> ProgressBar {
    let bar = terminal::bar(total, message);
    let template = "{wide_bar} {bytes}/{total_bytes} {msg}  {bytes_per_sec}  ETA {eta}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
