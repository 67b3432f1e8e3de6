//! The `multimae` command. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod adapter;
mod bench;
mod compare;
mod convert;
mod doctor;
mod evaluate;
mod finetune;
mod inspect;
mod interrupt;
mod model;
mod predict;
mod prepare;
mod pretrain;
mod synth;
mod terminal;
mod training;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use multimae_kernels::allocator::{self, Allocator};

#[global_allocator]
static ALLOCATOR: Allocator = allocator::ALLOCATOR;

/// Multi-modal masked autoencoders: pre-train on aligned RGB, depth and labels.
#[derive(Debug, Parser)]
#[command(name = "multimae", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pre-train a multi-modal masked autoencoder.
    Pretrain(pretrain::Pretrain),
    /// Fine-tune a model for depth, segmentation or classes.
    Finetune(finetune::Finetune),
    /// Compare tuning modes: what they cost and what they reach.
    Compare(compare::Compare),
    /// Score a fine-tuned model by a named protocol.
    Evaluate(evaluate::Evaluate),
    /// Predict images with a fine-tuned model.
    Predict(predict::Predict),
    /// Show, merge or compare what tuning has trained.
    Adapter(adapter::Adapters),
    /// Render furnished rooms to pre-train on.
    Synth(synth::Synth),
    /// Bring a published data set into a folder that can be trained on.
    Prepare(prepare::Prepare),
    /// Say what is wrong with a folder of data.
    Doctor(doctor::Doctor),
    /// Convert a weight file into another format or layout.
    Convert(convert::Convert),
    /// Show what a weight file holds.
    Inspect(inspect::Inspect),
    /// Time the usual work, in turn with PyTorch where it is installed.
    Bench(bench::Bench),
    /// What `bench` times.
    #[command(hide = true)]
    BenchWorker(bench::BenchWorker),
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Pretrain(command) => command.run(),
        Command::Finetune(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Adapter(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Prepare(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::BenchWorker(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&error);
            ExitCode::FAILURE
        }
    }
}
