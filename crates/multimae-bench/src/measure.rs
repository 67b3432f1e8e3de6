//! Several programs at the same work, in turn.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use multimae_kernels::precision::Precision;
use serde::{Deserialize, Serialize};

use crate::case::BenchmarkCase;
use crate::process::{Program, Worker};
use crate::statistic::Quartiles;
use crate::{Error, Result};

/// Threads of another program may still be waiting actively for work when it has answered.
const REST: Duration = Duration::from_millis(150);
/// All programs must compute the same first loss, but for so much of it: in single precision,
/// sums in another order.
const SAME: f64 = 2e-4;
/// With products in 16 bits.
const SAME_IN_BF16: f64 = 3e-2;
/// With products in 8 bits, of random weights.
const SAME_IN_INT8: f64 = 5e-2;

/// The times of one program for a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramTimes {
    /// Seconds of every step.
    pub seconds: Vec<f64>,
    /// Peak memory in bytes.
    pub peak_memory: Option<u64>,
    /// The loss before the first step, where there is one.
    pub first_loss: Option<f64>,
}

impl ProgramTimes {
    /// Seconds of a step.
    #[must_use]
    pub fn quartiles(&self) -> Option<Quartiles> {
        Quartiles::of(&self.seconds)
    }
}

/// The measurement of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The case.
    pub case: BenchmarkCase,
    /// Ours first, by program.
    pub programs: IndexMap<String, ProgramTimes>,
}

impl Measurement {
    /// A program's time over ours, in every round, by program.
    #[must_use]
    pub fn ratios(&self) -> IndexMap<String, Vec<f64>> {
        let Some((_, ours)) = self.programs.first() else { return IndexMap::new() };
        let over = |other: &ProgramTimes| {
            other.seconds.iter().zip(&ours.seconds).map(|(other, ours)| other / ours).collect()
        };
        self.programs.iter().skip(1).map(|(name, other)| (name.clone(), over(other))).collect()
    }

    /// A program's peak memory, of which ours is this share, by program.
    #[must_use]
    pub fn memory_shares(&self) -> IndexMap<String, f64> {
        let ours = self.programs.first().and_then(|(_, ours)| ours.peak_memory);
        let share = |(name, other): (&String, &ProgramTimes)| {
            Some((name.clone(), ours? as f64 / other.peak_memory? as f64))
        };
        self.programs.iter().skip(1).filter_map(share).collect()
    }
}

/// Has programs do a case's work in turn, `rounds` times, and says when a round is done. The programs
/// are to compute in the precision.
///
/// # Errors
/// If a program fails, or they do not compute the same.
pub fn measure(
    (case, dir): (&BenchmarkCase, &Path),
    programs: &[Program],
    rounds: usize,
    precision: Precision,
    round_done: &mut dyn FnMut(usize),
) -> Result<Measurement> {
    if !case.kind.has_worker() {
        return measure_processes((case, dir), programs, rounds, round_done);
    }
    let mut workers =
        programs.iter().map(|program| Worker::start(program, dir)).collect::<Result<Vec<_>>>()?;
    if case.kind.has_loss() {
        let tolerance = match precision {
            Precision::Fp32 => SAME,
            Precision::Bf16 => SAME_IN_BF16,
            Precision::Int8 => SAME_IN_INT8,
        };
        let losses: Vec<(&str, f64)> = programs
            .iter()
            .zip(&workers)
            .map(|(program, worker)| (program.name.as_str(), worker.first_loss))
            .collect();
        check_same(case, &losses, tolerance)?;
    }
    let mut seconds = vec![Vec::new(); workers.len()];
    for round in 0..rounds {
        for index in order(workers.len(), round) {
            thread::sleep(REST);
            seconds[index].push(workers[index].step()?.seconds);
        }
        round_done(round);
    }
    let times =
        workers.into_iter().zip(seconds).zip(programs).map(|((worker, seconds), program)| {
            let first_loss = case.kind.has_loss().then_some(worker.first_loss);
            let peak_memory = worker.end()?;
            Ok((program.name.clone(), ProgramTimes { seconds, peak_memory, first_loss }))
        });
    Ok(Measurement { case: case.clone(), programs: times.collect::<Result<_>>()? })
}

/// The program that goes first changes with the round.
fn order(programs: usize, round: usize) -> Vec<usize> {
    let forward = 0..programs;
    if round.is_multiple_of(2) { forward.collect() } else { forward.rev().collect() }
}

/// Checks the first losses by program, ours first.
fn check_same(case: &BenchmarkCase, losses: &[(&str, f64)], tolerance: f64) -> Result<()> {
    let Some(&(_, ours)) = losses.first() else { return Ok(()) };
    for &(program, other) in losses {
        let difference = (other - ours).abs();
        if difference.is_nan() || difference > tolerance * ours.abs() {
            let (case, program) = (case.name.clone(), program.to_owned());
            return Err(Error::NotTheSame { case, ours, program, other });
        }
    }
    Ok(())
}

/// The same where every step is a process.
fn measure_processes(
    (case, dir): (&BenchmarkCase, &Path),
    programs: &[Program],
    rounds: usize,
    round_done: &mut dyn FnMut(usize),
) -> Result<Measurement> {
    let run = |program: &Program| {
        let start = Instant::now();
        let output = program.command(dir).output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Worker { program: program.name.clone(), problem: text });
        }
        Ok(start.elapsed().as_secs_f64())
    };
    // Files come from the disk once.
    for program in programs {
        run(program)?;
    }
    let mut seconds = vec![Vec::new(); programs.len()];
    for round in 0..rounds {
        for index in order(programs.len(), round) {
            seconds[index].push(run(&programs[index])?);
        }
        round_done(round);
    }
    let times = programs.iter().zip(seconds).map(|(program, seconds)| {
        let times = ProgramTimes { seconds, peak_memory: None, first_loss: None };
        (program.name.clone(), times)
    });
    Ok(Measurement { case: case.clone(), programs: times.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::EncoderSizes;

    fn times(seconds: &[f64], peak_memory: u64) -> ProgramTimes {
        let peak_memory = Some(peak_memory);
        ProgramTimes { seconds: seconds.to_vec(), peak_memory, first_loss: Some(1.0) }
    }

    #[test]
    fn ratios_are_pair_by_pair() {
        let programs = [
            ("ours".to_owned(), times(&[1.0, 2.0], 30)),
            ("PyTorch".to_owned(), times(&[3.0, 5.0], 40)),
            ("OpenVINO".to_owned(), times(&[0.5, 4.0], 60)),
        ];
        let measured = Measurement {
            case: BenchmarkCase::pretrain("a", EncoderSizes::TOY, 1),
            programs: programs.into_iter().collect(),
        };
        assert_eq!(measured.ratios()["PyTorch"], [3.0, 2.5]);
        assert_eq!(measured.ratios()["OpenVINO"], [0.5, 2.0]);
        assert_eq!(measured.memory_shares()["PyTorch"], 0.75);
        assert_eq!(measured.memory_shares()["OpenVINO"], 0.5);
    }

    #[test]
    fn a_program_with_another_loss_is_named() {
        let case = BenchmarkCase::pretrain("a", EncoderSizes::TOY, 1);
        let check = |losses: &[(&str, f64)]| check_same(&case, losses, SAME);
        assert!(check(&[("ours", 1.0), ("PyTorch", 1.0001), ("OpenVINO", 0.9999)]).is_ok());
        for wrong in [1.0003, f64::NAN] {
            let losses = [("ours", 1.0), ("PyTorch", 1.0), ("OpenVINO", wrong)];
            let message = check(&losses).unwrap_err().to_string();
            assert!(message.contains("in OpenVINO") && !message.contains("PyTorch"), "{message}");
        }
        assert!(check(&[("ours", f64::NAN)]).is_err());
    }

    #[test]
    fn who_goes_first_changes() {
        assert_eq!((order(3, 0), order(3, 1)), (vec![0, 1, 2], vec![2, 1, 0]));
    }
}
