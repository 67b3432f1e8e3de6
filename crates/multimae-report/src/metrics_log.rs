//! `metrics.jsonl`: one JSON object per line, each with the `step` it belongs to.

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Map, Value};

use crate::{Error, Result};
use multimae_io::atomic::write_atomically;

/// The key that every record has: optimiser steps done, a whole number.
const STEP: &str = "step";

/// The open metrics log of a run.
#[derive(Debug)]
pub struct MetricsLog {
    file: fs::File,
}

impl MetricsLog {
    /// Starts an empty log; an old one is overwritten.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        write_atomically(path, b"")?;
        Self::open(path)
    }

    /// Resumes a log at `step`: keeps the complete records of earlier steps and drops all else,
    /// also the last line that a killed process may have torn. A missing log starts empty.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let kept: Vec<u8> = text
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| line.ends_with(b"\n") && step_of_line(line).is_some_and(|s| s < step))
            .flatten()
            .copied()
            .collect();
        write_atomically(path, &kept)?;
        Self::open(path)
    }

    /// Appends an object with a whole number `step` as one line. Numbers that are not finite are
    /// already `null` in a [`Value`].
    ///
    /// # Errors
    /// If the record is no object with a step, or the file cannot be written.
    pub fn append(&mut self, record: &Value) -> Result<()> {
        if record.get(STEP).and_then(Value::as_u64).is_none() {
            return Err(Error::MetricsLog {
                path: self.file.path().to_owned(),
                problem: format!("a record needs a whole number `{STEP}`, this is {record}"),
            });
        }
        // One write per line: a killed process tears at most the last one.
        self.file.write_all(format!("{record}\n").as_bytes())?;
        Ok(())
    }

    fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: fs::OpenOptions::new().append(true).open(path)? })
    }
}

/// All records of a log. A torn last line is left out.
///
/// # Errors
/// If the file cannot be read, or a complete line is not a JSON object with a step.
pub fn read(path: &Path) -> Result<Vec<Map<String, Value>>> {
    let bytes = fs::read(path)?;
    let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    bytes[..complete]
        .split_inclusive(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| parse(line).ok_or_else(|| not_a_record(path, index + 1)))
        .collect()
}

fn not_a_record(path: &Path, line: usize) -> Error {
    let problem = format!("line {line} is not a JSON object with a whole number `{STEP}`");
    Error::MetricsLog { path: PathBuf::from(path), problem }
}

fn parse(line: &[u8]) -> Option<Map<String, Value>> {
    let record: Map<String, Value> = serde_json::from_slice(line).ok()?;
    record.get(STEP)?.as_u64()?;
    Some(record)
}

fn step_of_line(line: &[u8]) -> Option<u64> {
    parse(line)?.get(STEP)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resume_drops_later_steps_and_the_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        for step in 0..5 {
            log.append(&json!({ "step": step, "loss": 1.0 / f64::from(step + 1) })).unwrap();
        }
        drop(log);
        let whole = fs::read(&path).unwrap();
        let torn = [whole.as_slice(), br#"{"step":2,"lo"#].concat();
        fs::write(&path, &torn).unwrap();
        assert_eq!(read(&path).unwrap().len(), 5);

        let mut log = MetricsLog::resume(&path, 3).unwrap();
        log.append(&json!({ "step": 3, "loss": 0.0 })).unwrap();
        let records = read(&path).unwrap();
        let steps: Vec<_> = records.iter().map(|r| r["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [0, 1, 2, 3]);
        // Kept lines are kept byte for byte.
        let kept = fs::read(&path).unwrap();
        let first_three: Vec<u8> =
            whole.split_inclusive(|&b| b == b'\n').take(3).flatten().copied().collect();
        assert!(kept.starts_with(&first_three));
    }

    #[test]
    fn a_missing_log_starts_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        drop(MetricsLog::resume(&path, 7).unwrap());
        assert!(read(&path).unwrap().is_empty());
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        log.append(&json!({ "step": 0, "loss": f32::NAN, "norm": f64::INFINITY })).unwrap();
        let records = read(&path).unwrap();
        assert!(records[0]["loss"].is_null() && records[0]["norm"].is_null());
    }

    #[test]
    fn records_without_step_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = MetricsLog::create(&path).unwrap();
        assert!(log.append(&json!({ "loss": 1.0 })).is_err());
        assert!(log.append(&json!([1])).is_err());
        fs::write(&path, "{\"step\":0}\nnonsense\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
