//! Output generated from the commands and the recipes: the reference in `docs/reference`, manual
//! pages, completions of shells.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use multimae_config::reference::{self, GENERATED};
use multimae_io::atomic::write_atomically;

use crate::{Arguments, terminal};

/// Print the completions of a shell.
///
/// For bash: multimae completions bash > ~/.local/share/bash-completion/completions/multimae
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), NAME, &mut text);
        Ok(terminal::result(&String::from_utf8_lossy(&text))?)
    }
}

/// Write manual pages, one per command.
///
/// Then: man -l DIR/multimae.1
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder of the pages
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.out)?;
        let mut command = Arguments::command();
        command.build();
        let pages = pages(command, NAME)?;
        for (name, page) in &pages {
            write_atomically(&self.out.join(name), page)?;
        }
        terminal::line(&format!("{} pages in {}", pages.len(), self.out.display()));
        Ok(())
    }
}

/// The page of a command and those of the commands in it.
fn pages(command: Command, name: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    for inner in visible(&command) {
        pages.extend(pages_of(inner, name)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.name(name.to_owned())).render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    Ok(pages)
}

fn pages_of(command: &Command, parent: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    pages(command.clone(), &format!("{parent}-{}", command.get_name()))
}

/// Write the reference of commands and recipe keys.
#[derive(Debug, Args)]
pub(crate) struct Reference {
    /// Folder of the reference
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

const NAME: &str = "multimae";

impl Reference {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        fs_err::create_dir_all(&self.out)?;
        self.write("commands.md", &commands())?;
        for (name, text) in reference::files() {
            self.write(name, &text)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path: &Path = &self.out.join(name);
        write_atomically(path, text.as_bytes()).context("writing the reference")
    }
}

/// Every command with its arguments.
fn commands() -> String {
    let mut command = Arguments::command();
    command.build();
    let mut text = format!("{GENERATED}\n\n# Commands\n");
    for inner in visible(&command) {
        describe(inner, NAME, 2, &mut text);
    }
    text
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(shown)
}

fn describe(command: &Command, parent: &str, level: usize, text: &mut String) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let _ = write!(text, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = about {
        let _ = write!(text, "\n{}\n", prose(&about.to_string()));
    }
    let usage = command.clone().bin_name(&name).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let _ = write!(text, "\n```text\n{usage}\n```\n");
    let arguments: Vec<String> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .map(argument_line)
        .collect();
    if !arguments.is_empty() {
        let _ = write!(text, "\n{}\n", arguments.join("\n"));
    }
    for inner in visible(command) {
        describe(inner, &name, level + 1, text);
    }
}

/// A line of the list of arguments.
fn argument_line(argument: &clap::Arg) -> String {
    let values = argument.get_num_args().is_none_or(|range| range.takes_values());
    let names: Vec<String> =
        argument.get_value_names().into_iter().flatten().map(|name| format!("<{name}>")).collect();
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let flags: Vec<String> = long.into_iter().chain(short).collect();
    let mut head = flags.join(", ");
    if values && !names.is_empty() {
        let space = if head.is_empty() { "" } else { " " };
        head = format!("{head}{space}{}", names.join(" "));
    }
    let help = argument.get_long_help().or(argument.get_help());
    let help = help.map(|help| prose(&help.to_string())).unwrap_or_default();
    let mut line = format!("* `{head}`: {}", help.replace('\n', " "));
    let words: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| values)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !words.is_empty() {
        let _ = write!(line, "; one of {}", words.join(", "));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .filter(|_| values)
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        let _ = write!(line, " (default {})", defaults.join(" "));
    }
    line
}

/// Text in which `<` stands for itself.
fn prose(text: &str) -> String {
    text.trim().replace('<', "\\<")
}
