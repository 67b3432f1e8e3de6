//! The inference engines that `multimae bench` times beside this program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Args;
use multimae_bench::process::Program;
use multimae_config::PrecisionChoice;

/// The Pythons of the engines, and their scripts.
#[derive(Debug, Args)]
pub(crate) struct EngineOptions {
    /// Time inference in ONNX Runtime as well, in fp32: a Python that has onnxruntime and
    /// NumPy
    #[arg(long, value_name = "FILE", conflicts_with = "alone")]
    onnxruntime: Option<PathBuf>,
    /// Time inference in OpenVINO as well, in fp32: a Python that has openvino and NumPy
    #[arg(long, value_name = "FILE", conflicts_with = "alone")]
    openvino: Option<PathBuf>,
    /// Folder of the scripts of both
    #[arg(long, value_name = "DIR", default_value = "benches/onnxruntime")]
    onnx_scripts: PathBuf,
}

impl EngineOptions {
    /// The engines that are asked for. An error if one cannot be timed in the precision, or is not
    /// installed.
    pub(crate) fn find(&self, precision: PrecisionChoice) -> anyhow::Result<Vec<Engine>> {
        let options = [
            ("ONNX Runtime", "onnxruntime", &self.onnxruntime),
            ("OpenVINO", "openvino", &self.openvino),
        ];
        let mut engines = Vec::new();
        for (name, package, python) in options {
            let Some(python) = python else { continue };
            if precision == PrecisionChoice::Bf16 {
                bail!(
                    "--{package}: {name} is timed in fp32 only; leave out --{package}, or say \
                     --precision fp32"
                );
            }
            let script = self.onnx_scripts.join("worker.py");
            if !script.is_file() {
                bail!(
                    "{}: the scripts of {name} are not there; they are in benches/onnxruntime of \
                     the project's sources, name it with --onnx-scripts",
                    self.onnx_scripts.display()
                );
            }
            engines.push(Engine {
                name,
                version: version(package, python)?,
                package,
                python: python.clone(),
                script: std::path::absolute(script)?,
            });
        }
        Ok(engines)
    }
}

/// An engine that was found.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: String,
    package: &'static str,
    python: PathBuf,
    script: PathBuf,
}

impl Engine {
    /// The engine on a case of inference.
    pub(crate) fn program(&self, threads: usize) -> Program {
        let count = threads.to_string();
        Program {
            name: self.name.to_owned(),
            file: self.python.clone(),
            arguments: vec![self.script.clone().into()],
            options: ["--engine", self.package, "--threads", &count].map(OsString::from).to_vec(),
            threads,
        }
    }
}

/// The version of an engine's package, which a Python has beside NumPy.
fn version(package: &str, python: &Path) -> anyhow::Result<String> {
    // OpenVINO's version ends with its branch.
    let code = format!("import numpy, {package}; print({package}.__version__.split('-')[0])");
    let output = Command::new(python)
        .args(["-c", &code])
        .output()
        .with_context(|| format!("--{package} {}", python.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "--{package} {}: it cannot import {package} and numpy: {}; name a Python that has \
             them",
            python.display(),
            errors.trim().lines().next_back().unwrap_or("no error output")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
