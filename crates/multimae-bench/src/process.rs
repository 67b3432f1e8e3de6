//! A program that is timed, from the outside.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::workloads::StepTime;
use crate::{Error, Result};

/// Characters of a failed program's error output that are kept.
const TAIL: usize = 2000;

/// The command line of a program.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in tables and messages.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The arguments before the case's folder.
    pub arguments: Vec<OsString>,
    /// The arguments behind it.
    pub options: Vec<OsString>,
    /// Threads, for the environment.
    pub threads: usize,
}

impl Program {
    /// The command for a case.
    #[must_use]
    pub fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.file);
        let threads = self.threads.to_string();
        command.args(&self.arguments).arg(dir).args(&self.options);
        for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, &threads);
        }
        command
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Worker { program: self.name.clone(), problem: problem.into() }
    }
}

/// A running program. It ends with this value.
#[derive(Debug)]
pub struct Worker {
    program: Program,
    child: Child,
    output: BufReader<ChildStdout>,
    errors: Option<JoinHandle<String>>,
    /// The first loss.
    pub first_loss: f64,
    /// All that it said of itself.
    pub about: Value,
}

impl Worker {
    /// Starts a program on a case and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn start(program: &Program, dir: &Path) -> Result<Self> {
        let mut child = program
            .command(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| program.error(format!("{}: {error}", program.file.display())))?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(program.error("has no output"));
        };
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // An unreadable error output is left out of the message.
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut worker = Self {
            program: program.clone(),
            child,
            output: BufReader::new(stdout),
            errors: Some(errors),
            first_loss: f64::NAN,
            about: Value::Null,
        };
        worker.about = worker.answer()?;
        worker.first_loss = worker.number(&worker.about, "loss")?;
        Ok(worker)
    }

    /// Has it do a step.
    ///
    /// # Errors
    /// If it fails.
    pub fn step(&mut self) -> Result<StepTime> {
        self.say("step")?;
        let answer = self.answer()?;
        Ok(StepTime {
            seconds: self.number(&answer, "seconds")?,
            loss: self.number(&answer, "loss")?,
        })
    }

    /// Ends it; its peak memory in bytes, where it is known.
    ///
    /// # Errors
    /// If it fails.
    pub fn end(mut self) -> Result<Option<u64>> {
        self.say("end")?;
        let answer = self.answer()?;
        Ok(answer.get("peak_memory").and_then(Value::as_u64))
    }

    fn say(&mut self, word: &str) -> Result<()> {
        match self.child.stdin.as_mut().map(|input| writeln!(input, "{word}")) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(read) if read > 0 => serde_json::from_str(&line)
                .map_err(|_| self.program.error(format!("said `{}`, no JSON", line.trim()))),
            _ => Err(self.failure()),
        }
    }

    fn number(&self, answer: &Value, key: &str) -> Result<f64> {
        answer
            .get(key)
            .and_then(Value::as_f64)
            .ok_or_else(|| self.program.error(format!("`{key}` is missing in {answer}")))
    }

    /// Why it does not answer.
    fn failure(&mut self) -> Error {
        // It may hang instead of having failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let text = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        let start = text.char_indices().rev().nth(TAIL).map_or(0, |(at, _)| at);
        let tail = text.get(start..).unwrap_or_default().trim();
        self.program.error(if tail.is_empty() { "ended without a word" } else { tail })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
