//! The `multimae` command. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod adapter;
mod bench;
mod compare;
mod convert;
mod demo;
mod doctor;
mod engines;
mod evaluate;
mod export;
mod finetune;
mod inspect;
mod interrupt;
mod label;
mod load;
mod model;
mod output;
mod pack;
mod predict;
mod prepare;
mod pretrain;
mod processes;
mod quantize;
mod reconstruct;
mod reference;
mod serve;
mod shards;
mod synth;
mod terminal;
mod training;
mod visualize;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use multimae_kernels::allocator::{self, Allocator};
use multimae_kernels::threads;

#[global_allocator]
static ALLOCATOR: Allocator = allocator::ALLOCATOR;

/// Multi-modal masked autoencoders: pre-train on aligned RGB, depth and labels.
#[derive(Debug, Parser)]
#[command(name = "multimae", version, propagate_version = true, args_override_self = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The commands; each is documented at its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Pretrain(pretrain::Pretrain),
    Finetune(finetune::Finetune),
    Compare(compare::Compare),
    Evaluate(evaluate::Evaluate),
    Predict(predict::Predict),
    Label(label::Label),
    Quantize(quantize::Quantize),
    Export(export::Export),
    Visualize(visualize::Visualize),
    Adapter(adapter::Adapters),
    Serve(serve::Serve),
    Load(load::Load),
    Synth(synth::Synth),
    Prepare(prepare::Prepare),
    Doctor(doctor::Doctor),
    Pack(pack::PackCommand),
    Shards(shards::ShardsCommand),
    Convert(convert::Convert),
    Inspect(inspect::Inspect),
    Completions(reference::Completions),
    Man(reference::Man),
    #[command(hide = true)]
    Reference(reference::Reference),
    Bench(bench::Bench),
    #[command(hide = true)]
    BenchWorker(bench::BenchWorker),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Serve(_)) {
        // Models are run by a thread of the server's own, and it has quiet hours.
        allocator::keep_freed_memory_for(Duration::from_secs(1));
        allocator::avoid_huge_pages();
    } else {
        allocator::keep_freed_memory();
        threads::compute_here();
    }
    terminal::show_indexing();
    let result = match arguments.command {
        Command::Demo(command) => command.run(),
        Command::Pretrain(command) => command.run(),
        Command::Finetune(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Label(command) => command.run(),
        Command::Quantize(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Visualize(command) => command.run(),
        Command::Adapter(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Synth(command) => command.run(),
        Command::Prepare(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Pack(command) => command.run(),
        Command::Shards(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Reference(command) => command.run(),
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
