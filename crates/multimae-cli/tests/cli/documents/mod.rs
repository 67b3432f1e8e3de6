//! Runs the commands of the documents and of the recipes' headers, and checks the files that they write.
//!
//! A document runs from its first line, in order, in a folder that holds `recipes/`, `benches/` and tiny samples of
//! the data sets of `prepare`; it has to make all other inputs. Two things are in the place of the real ones: commands are made short by
//! the fixed additions of [`place::SHORTER`], and a download of NYUv2 gives the sample files that
//! `crates/multimae-datasets/tests/fixtures/make_nyuv2.py` generates. Blocks other than `sh` are not run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod commands;
mod links;
mod outputs;
mod place;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use place::Place;

/// Documents without a command that can run here: an index, and one whose commands build the fuzz targets.
const WITHOUT_COMMANDS: [&str; 4] =
    ["docs/README.md", "docs/playground/README.md", "docs/reliability.md", "docs/scaling.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Files with an ending under a folder, in order.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The README and `docs/`, without the generated reference.
fn documents() -> Vec<PathBuf> {
    let mut all = vec![root().join("README.md")];
    let reference = root().join("docs/reference");
    all.extend(
        files(&root().join("docs"), "md").into_iter().filter(|p| !p.starts_with(&reference)),
    );
    all
}

/// Runs the documents whose path satisfies `wanted`.
fn run_documents(wanted: impl Fn(&Path) -> bool) {
    for path in documents().into_iter().filter(|path| wanted(path)) {
        let text = fs::read_to_string(&path).unwrap();
        let commands = commands::of_document(&text);
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if commands.is_empty() {
            assert!(WITHOUT_COMMANDS.contains(&&*name), "{name} has no command that runs");
            continue;
        }
        let mut place = Place::new(&name);
        for command in &commands {
            place.run(command);
        }
        place.check_promises(&text);
    }
}

#[test]
fn the_readme_runs_from_its_first_line() {
    run_documents(|path| path.ends_with("README.md"));
}

#[test]
fn every_page_runs_from_its_first_line() {
    run_documents(|path| !path.ends_with("README.md"));
}

#[test]
fn every_header_of_a_recipe_runs() {
    let mut place = Place::new("recipes");
    let mut done = BTreeSet::new();
    for path in files(&root().join("recipes"), "yaml") {
        run_header(&mut place, &mut done, &path);
    }
    assert!(done.len() > 30, "only {} commands were found", done.len());
}

/// Runs the commands of a header, after those of the recipe that it names as its precondition.
fn run_header(place: &mut Place, done: &mut BTreeSet<String>, path: &Path) {
    let header = commands::of_recipe(&fs::read_to_string(path).unwrap());
    if let Some(first) = header.after {
        run_header(place, done, &root().join(first));
    }
    assert!(!header.commands.is_empty(), "{} names no command", path.display());
    for command in header.commands {
        // The README runs the demo.
        if command != "multimae demo" && done.insert(command.clone()) {
            place.run(&command);
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut pages = documents();
    pages.extend(
        ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)),
    );
    let broken: Vec<String> = pages.iter().flat_map(|page| links::broken(page)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reference_is_that_of_the_commands_and_recipes() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    let status = command.arg("reference").arg("--out").arg(dir.path()).status().unwrap();
    assert!(status.success());
    for path in files(dir.path(), "md") {
        let name = path.file_name().unwrap();
        let kept = root().join("docs/reference").join(name);
        assert!(
            fs::read_to_string(&kept).unwrap() == fs::read_to_string(&path).unwrap(),
            "{} is not up to date: multimae reference --out docs/reference",
            kept.display()
        );
    }
}

#[test]
fn completions_and_pages_name_every_command() {
    let program = env!("CARGO_BIN_EXE_multimae");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(program).args(["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("pretrain"), "{shell}: {text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(program).arg("man").arg("--out").arg(dir.path()).status().unwrap();
    assert!(status.success());
    for page in ["multimae.1", "multimae-pretrain.1", "multimae-adapter-merge.1"] {
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
}
