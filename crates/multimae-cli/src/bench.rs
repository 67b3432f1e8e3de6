//! `multimae bench`, and the worker that it times.

use std::ffi::OsString;
use std::io::{stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;
use indexmap::IndexMap;
use multimae_bench::case::{BenchmarkCase, BenchmarkKind, EncoderSizes, Files};
use multimae_bench::limits::Limits;
use multimae_bench::measure::{Measurement, measure};
use multimae_bench::process::Program;
use multimae_bench::report::{Growth, Results};
use multimae_bench::workloads::WorkloadOptions;
use multimae_bench::{material, startup, worker};
use multimae_config::keys::RecipeValue as _;
use multimae_config::{OptimiserStateChoice, PrecisionChoice};
use multimae_infer::device::{self, device};
use multimae_infer::predict::InputPath;
use multimae_kernels::precision::Precision;

use crate::engines::{Engine, EngineOptions};
use crate::model::precision;
use crate::predict::Predict;
use crate::terminal;

/// The name of this program in tables.
const OURS: &str = "multimae";
/// Rounds of growth curves: they have many points.
const GROWTH_ROUNDS: usize = 3;

/// Time the usual work of this program, in turn with PyTorch where that is installed.
///
/// Every kind of work is done by a process of each program, a step by one, a step by the other; all
/// must first compute the same loss from the same weights. Writes table.md, results.json and report.html.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Only these kinds of work; --list names them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Name the kinds of work
    #[arg(long)]
    list: bool,
    /// Only what the processor can do at most, and how near our GEMM comes to it
    #[arg(long)]
    limits: bool,
    /// Steps of each program
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Threads of each program; all processors if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    threads: Option<u64>,
    /// Precision of the operands of GEMMs, in all programs: fp32; bf16 where the processor has it; or
    /// int8, of inference alone and of this program, which is then timed in fp32 as well
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: PrecisionChoice,
    /// Storage of the optimiser's moments in training: fp32, bf16 or 8bit; that of PyTorch is fp32
    #[arg(long, value_name = "STORAGE", default_value = "fp32", value_parser = optimizer_state)]
    optimizer_state: OptimiserStateChoice,
    /// A Python that has PyTorch
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// Folder of the PyTorch scripts
    #[arg(long, value_name = "DIR", default_value = "benches/pytorch")]
    scripts: PathBuf,
    #[command(flatten)]
    engines: EngineOptions,
    /// This program alone
    #[arg(long)]
    alone: bool,
    /// A data set in folders rgb, depth and --labels, for the time of loading
    #[arg(long, value_name = "DIR", requires = "split")]
    data: Option<PathBuf>,
    /// The list of its frames
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The folder of its labels
    #[arg(long, value_name = "NAME", default_value = "label40")]
    labels: String,
    /// Also how times grow with batch, tokens, prompts and threads
    #[arg(long)]
    grow: bool,
    /// Sizes that take no time, to see that all works
    #[arg(long)]
    quick: bool,
    /// Leave the weights and inputs of the work in OUT/cases, for a profiler
    #[arg(long)]
    keep: bool,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = "runs/bench")]
    out: PathBuf,
}

/// Do the work of a benchmark's case; for `multimae bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchWorker {
    /// The case's folder
    dir: PathBuf,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Precision of the operands of GEMMs
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: PrecisionChoice,
    /// Storage of the optimiser's moments
    #[arg(long, default_value = "fp32", value_parser = optimizer_state)]
    optimizer_state: OptimiserStateChoice,
    /// Predict the case's picture once
    #[arg(long)]
    once: bool,
}

impl BenchWorker {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if !self.once {
            let options = WorkloadOptions {
                threads: self.threads,
                precision: on_processor(self.precision)?,
                optimizer_state: self.optimizer_state,
            };
            let (input, output) = (stdin().lock(), stdout().lock());
            return Ok(worker::serve(&self.dir, options, input, output)?);
        }
        let input: InputPath = self
            .dir
            .join(startup::PICTURE)
            .to_string_lossy()
            .parse()
            .map_err(|problem| anyhow::anyhow!("{}: {problem}", self.dir.display()))?;
        let model = self.dir.join(startup::MODEL);
        Predict::of(model, input, self.dir.join(startup::PREDICTIONS)).run()
    }
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.grow && self.precision == PrecisionChoice::Int8 {
            bail!("--grow times training, which is not done in int8; leave out one of both");
        }
        let cases = self.cases()?;
        if self.list {
            let names: String = cases.iter().map(|case| format!("{}\n", case.name)).collect();
            return Ok(terminal::result(&names)?);
        }
        let threads = self.threads();
        let others = if self.alone || self.limits {
            OtherPrograms::default()
        } else {
            let engines = self.engines.find(self.precision)?;
            OtherPrograms { torch: self.find_torch()?, engines }
        };
        let precision = on_processor(self.precision)?;
        let about = self.about(threads, &others);
        let limits = Limits::measure(precision, threads)?;
        if self.limits {
            return Ok(terminal::result(&format!("{}\n", limits.table().markdown()))?);
        }
        let mut results = Results { about, limits, measured: Vec::new(), growth: Vec::new() };
        // Written after each: what was measured stays, whatever comes.
        for case in &cases {
            let measured = self.measure(case, threads, &others, self.rounds as usize)?;
            results.measured.push(measured);
            results.write(&self.out)?;
        }
        if self.grow {
            results.growth = self.growth(threads, &others)?;
            results.write(&self.out)?;
        }
        let (table, limits) = (results.table(), results.limits.table());
        terminal::result(&format!("{}\n{}\n", table.markdown(), limits.markdown()))?;
        terminal::line(&format!("look at {}", self.out.join("report.html").display()));
        Ok(())
    }

    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, |threads| threads as usize)
    }

    /// All kinds of work, or those asked for.
    fn cases(&self) -> anyhow::Result<Vec<BenchmarkCase>> {
        let mut cases = BenchmarkCase::models();
        cases.push(BenchmarkCase::with_heads(
            "startup",
            BenchmarkKind::Startup,
            EncoderSizes::BASE,
            1,
        ));
        if let (Some(data), Some(list)) = (&self.data, &self.split) {
            let data = std::path::absolute(data)?.to_string_lossy().into_owned();
            let files = Files { data, list: list.clone(), labels: self.labels.clone() };
            cases.push(BenchmarkCase::loading("loading", files));
        }
        if self.quick {
            cases = BenchmarkCase::toys(&cases);
        }
        if self.precision == PrecisionChoice::Int8 {
            cases.retain(|case| case.kind == BenchmarkKind::Inference);
        }
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(&name.as_str())) {
            let loading = if self.data.is_none() { "; loading needs --data" } else { "" };
            bail!("--only: there is no work `{unknown}`, but {}{loading}", names.join(", "));
        }
        cases.retain(|case| self.only.is_empty() || self.only.contains(&case.name));
        Ok(cases)
    }

    /// PyTorch's version, if it is there.
    fn find_torch(&self) -> anyhow::Result<Option<Torch>> {
        let code = "import torch; print(torch.__version__)";
        let output = Command::new(&self.python).args(["-c", code]).output();
        let Some(output) = output.ok().filter(|output| output.status.success()) else {
            terminal::line(&format!(
                "note: {} has no PyTorch, which is not timed then; --python names another",
                self.python.display()
            ));
            return Ok(None);
        };
        if !self.scripts.join("worker.py").is_file() {
            bail!(
                "{}: the PyTorch scripts are not there; they are in benches/pytorch of the project's \
                 sources, name it with --scripts, or say --alone",
                self.scripts.display()
            );
        }
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let scripts = std::path::absolute(&self.scripts)?;
        Ok(Some(Torch { version, scripts }))
    }

    fn measure(
        &self,
        case: &BenchmarkCase,
        threads: usize,
        others: &OtherPrograms,
        rounds: usize,
    ) -> anyhow::Result<Measurement> {
        let passing = tempfile::tempdir().context("a folder for the case")?;
        let dir = if self.keep {
            self.out.join("cases").join(&case.name)
        } else {
            passing.path().to_owned()
        };
        match case.kind {
            BenchmarkKind::Startup => startup::prepare(&dir, case)?,
            _ => material::prepare(&dir, case)?,
        }
        let mut programs = vec![self.ours(case, threads)?];
        programs.extend(self.ours_in_fp32(case, threads)?);
        programs.extend(others.torch.iter().map(|torch| self.torch(torch, case, threads)));
        if case.kind == BenchmarkKind::Inference {
            programs.extend(others.engines.iter().map(|engine| engine.program(threads)));
        }
        let bar = terminal::bar(rounds as u64, &case.name);
        let mut done = |_| bar.inc(1);
        let precision = on_processor(self.precision)?;
        let measured = measure((case, &dir), &programs, rounds, precision, &mut done);
        bar.finish_and_clear();
        let measured = measured.with_context(|| case.name.clone())?;
        for (other, ratios) in measured.ratios() {
            if let Some(ratio) = multimae_bench::statistic::Quartiles::of(&ratios) {
                let median = ratio.median;
                terminal::line(&format!("{}: {other} takes {median:.2} times as long", case.name));
            }
        }
        Ok(measured)
    }

    /// The growth curves of pre-training and prompt tuning.
    fn growth(&self, threads: usize, others: &OtherPrograms) -> anyhow::Result<Vec<Growth>> {
        let mut curves = Vec::new();
        for (axis, cases) in growing_cases(self.quick, threads) {
            let mut curve = Growth {
                axis: axis.to_owned(),
                work: cases.first().map(|(_, case)| case.name.clone()).unwrap_or_default(),
                values: Vec::new(),
                measured: Vec::new(),
            };
            for (value, case) in cases {
                let threads = if axis == "threads" { value } else { threads };
                curve.measured.push(self.measure(&case, threads, others, GROWTH_ROUNDS)?);
                curve.values.push(value as f64);
            }
            curves.push(curve);
        }
        Ok(curves)
    }

    /// This program on a case.
    fn ours(&self, case: &BenchmarkCase, threads: usize) -> anyhow::Result<Program> {
        let file = std::env::current_exe().context("where this program is")?;
        let mut options = options(threads, self.precision);
        options.extend(["--optimizer-state", self.optimizer_state.word()].map(OsString::from));
        if case.kind == BenchmarkKind::Startup {
            options.push("--once".into());
        }
        let arguments = vec!["bench-worker".into()];
        Ok(Program { name: OURS.to_owned(), file, arguments, options, threads })
    }

    /// This program in fp32, beside which one in 8 bits is timed.
    fn ours_in_fp32(
        &self,
        case: &BenchmarkCase,
        threads: usize,
    ) -> anyhow::Result<Option<Program>> {
        let options = options(threads, PrecisionChoice::Fp32);
        let exact = |ours| Program { name: format!("{OURS} in fp32"), options, ..ours };
        let is_quantised = self.precision == PrecisionChoice::Int8;
        is_quantised.then(|| self.ours(case, threads).map(exact)).transpose()
    }

    /// PyTorch on a case.
    fn torch(&self, torch: &Torch, case: &BenchmarkCase, threads: usize) -> Program {
        let startup = case.kind == BenchmarkKind::Startup;
        // Others have no 8 bits without a calibration of their own.
        let of_others = match self.precision {
            PrecisionChoice::Int8 => PrecisionChoice::Fp32,
            precision => precision,
        };
        let script = if startup { "predict_once.py" } else { "worker.py" };
        Program {
            name: "PyTorch".to_owned(),
            file: self.python.clone(),
            arguments: vec![torch.scripts.join(script).into()],
            options: if startup { Vec::new() } else { options(threads, of_others) },
            threads,
        }
    }

    /// The machine and the programs of the measurement.
    fn about(&self, threads: usize, others: &OtherPrograms) -> IndexMap<String, String> {
        let precision = self.precision.write().as_str().unwrap_or_default().to_owned();
        let torch = others.torch.iter().map(|torch| ("PyTorch", torch.version.clone()));
        let engines = others.engines.iter().map(|engine| (engine.name, engine.version.clone()));
        let processor = processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let entries = [
            ("Processor", processor),
            ("Threads", threads.to_string()),
            ("Precision", precision),
            ("Optimizer state", self.optimizer_state.word().to_owned()),
            ("multimae", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let entries = entries.into_iter().chain(torch).chain(engines);
        entries.map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Per axis, the sizes and the cases.
fn growing_cases(quick: bool, threads: usize) -> Vec<(&'static str, Vec<(usize, BenchmarkCase)>)> {
    let pretrain = BenchmarkCase::pretrain("pretrain-small", EncoderSizes::SMALL, 8);
    let prompts =
        BenchmarkCase::with_heads("prompts-small", BenchmarkKind::Prompts, EncoderSizes::SMALL, 2);
    let [pretrain, prompts] =
        match BenchmarkCase::toys(&[pretrain.clone(), prompts.clone()]).try_into() {
            Ok(toys) if quick => toys,
            _ => [pretrain, prompts],
        };
    let vary = |case: &BenchmarkCase, values: &[usize], change: fn(&mut BenchmarkCase, usize)| {
        let changed = |&value: &usize| {
            let mut case = case.clone();
            change(&mut case, value);
            (value, case)
        };
        values.iter().map(changed).collect::<Vec<_>>()
    };
    let keep = |case: &mut BenchmarkCase, value| {
        case.decoders = case
            .decoders
            .map(|decoders| multimae_bench::case::Decoders { keep: value, ..decoders });
    };
    let prompt_length = |case: &mut BenchmarkCase, value| case.prompt_length = Some(value);
    let batch = |case: &mut BenchmarkCase, value| case.batch = value;
    let (tokens, batches): (&[usize], &[usize]) =
        if quick { (&[6, 12], &[1, 2]) } else { (&[49, 98, 196, 392], &[2, 4, 8, 16, 32]) };
    let lengths: &[usize] = if quick { &[1, 3] } else { &[1, 10, 50, 100] };
    let counts: Vec<usize> = (1..=threads).collect();
    vec![
        ("batch", vary(&pretrain, batches, batch)),
        ("visible tokens", vary(&pretrain, tokens, keep)),
        ("threads", vary(&pretrain, &counts, |_, _| {})),
        ("batch", vary(&prompts, &batches[..batches.len() - 1], batch)),
        ("prompts", vary(&prompts, lengths, prompt_length)),
        ("threads", vary(&prompts, &counts, |_, _| {})),
    ]
}

/// The options that both this program and PyTorch's understand.
fn options(threads: usize, precision: PrecisionChoice) -> Vec<OsString> {
    let precision = precision.write().as_str().unwrap_or_default().to_owned();
    ["--threads", &threads.to_string(), "--precision", &precision].map(OsString::from).to_vec()
}

/// A storage of the optimiser's moments by its name in recipes.
fn optimizer_state(text: &str) -> Result<OptimiserStateChoice, String> {
    OptimiserStateChoice::read(&text.into())
}

/// A precision that the processor has.
fn on_processor(choice: PrecisionChoice) -> anyhow::Result<Precision> {
    Ok(device::precision(choice, "cpu", &device("cpu")?)?)
}

/// The programs that are timed beside this one.
#[derive(Default)]
struct OtherPrograms {
    torch: Option<Torch>,
    /// In cases of inference.
    engines: Vec<Engine>,
}

/// A PyTorch that was found.
struct Torch {
    version: String,
    scripts: PathBuf,
}

/// The processor's name, where the system tells.
fn processor() -> Option<String> {
    let text = fs_err::read_to_string(Path::new("/proc/cpuinfo")).ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
