//! Training as one of several processes.

use crate::common::{Scratch, fail, succeed};

/// The changes with which a step has four passes.
#[cfg(all(unix, feature = "mpi"))]
const PASSES: [&str; 4] = ["--set", "batch_size=1", "--set", "update_freq=4"];

#[test]
#[cfg(not(feature = "mpi"))]
fn without_mpi_several_processes_are_refused() {
    let scratch = Scratch::new();
    for (variable, launcher) in [
        ("OMPI_COMM_WORLD_SIZE", "Open MPI"),
        ("PMI_SIZE", "MPICH"),
        ("SLURM_STEP_NUM_TASKS", "srun"),
        ("WORLD_SIZE", "torchrun"),
    ] {
        let message = fail(scratch.pretrain("run", &[]).env(variable, "2"));
        assert!(message.contains(launcher) && message.contains("2 processes"), "{message}");
        assert!(message.contains("--features mpi"), "{message}");
        assert!(!scratch.path("run").exists());
    }
    // One process of a launcher is one process.
    succeed(scratch.pretrain("run", &[]).env("OMPI_COMM_WORLD_SIZE", "1"));
}

#[test]
fn commands_of_one_process_refuse_to_be_several() {
    let scratch = Scratch::new();
    for command in ["demo", "compare"] {
        let grid = scratch.path("grid.yaml");
        fs_err::write(&grid, "cells: {a: {recipe: a.yaml}}").unwrap();
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_multimae"));
        program.arg(command).arg("--out").arg(scratch.path("out")).env("PMI_SIZE", "3");
        if command == "compare" {
            program.arg("--config").arg(&grid);
        }
        let message = fail(&mut program);
        assert!(message.contains(command) && message.contains("one process"), "{message}");
        assert!(!scratch.path("out").exists());
    }
}

#[cfg(all(unix, feature = "mpi"))]
mod by_mpirun {
    use std::process::Command;

    use super::*;
    use crate::common::stderr;

    /// The same command by several processes, or `None` where there is no `mpirun`.
    fn several(count: usize, command: &Command) -> Option<Command> {
        let version = Command::new("mpirun").arg("--version").output();
        let Ok(version) = version else {
            println!("SKIPPED: mpirun is missing, so nothing was trained by several processes");
            return None;
        };
        let mut launched = Command::new("mpirun");
        launched.args(["-np", &count.to_string()]);
        if String::from_utf8_lossy(&version.stdout).contains("Open MPI") {
            launched.args(["--bind-to", "none", "--oversubscribe", "--allow-run-as-root"]);
        }
        launched.arg(command.get_program()).args(command.get_args());
        launched.env("RAYON_NUM_THREADS", "1");
        Some(launched)
    }

    fn losses(scratch: &Scratch, run: &str) -> Vec<f64> {
        let records = scratch.records(run);
        let steps = records.iter().filter(|record| record["kind"] == "train");
        steps.map(|record| record["loss"].as_f64().unwrap()).collect()
    }

    #[test]
    fn two_and_four_processes_train_as_one() {
        let scratch = Scratch::new();
        succeed(&mut scratch.pretrain("one", &PASSES));
        let one = losses(&scratch, "one");
        for count in [2, 4] {
            let run = format!("of-{count}");
            let Some(mut command) = several(count, &scratch.pretrain(&run, &PASSES)) else {
                return;
            };
            succeed(&mut command);
            let other = losses(&scratch, &run);
            assert_eq!(one.len(), other.len());
            for (a, b) in one.iter().zip(&other) {
                assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_failure_is_one_message() {
        let scratch = Scratch::new();
        let depth = scratch.data().join("depth");
        let file = fs_err::read_dir(depth).unwrap().next().unwrap().unwrap().path();
        let size = fs_err::read(&file).unwrap().len();
        fs_err::write(&file, vec![0; size]).unwrap();
        let Some(mut command) = several(2, &scratch.pretrain("run", &PASSES)) else { return };
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success());
        assert_eq!(text.matches("error: ").count(), 1, "{text}");
        assert!(text.contains(&*file.file_stem().unwrap().to_string_lossy()), "{text}");
    }
}
