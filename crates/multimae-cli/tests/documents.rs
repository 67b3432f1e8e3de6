//! Every command of the documents and of the recipes' headers is run, on a few small frames. What
//! makes it short (one epoch, fewer frames) is added to it; nothing is taken away but PyTorch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

/// What is not run here, and where it is.
const ELSEWHERE: [(&str, &str); 3] = [
    ("multimae demo", "tests/demo.rs"),
    ("cargo test --workspace", "this runs in it"),
    ("cargo run --release --example parity -- CASE_DIR OUT_DIR", "multimae-train/tests/parity.rs"),
];

/// What is added to a command so that it takes no time, by its first words.
const SHORT: [(&str, &str); 9] = [
    ("synth", "--count 14 --size 64x48"),
    ("pretrain", "--set epochs=1 --set warmup_epochs=0 --set num_workers=1"),
    ("finetune", "--set epochs=1 --set warmup_epochs=0 --set num_workers=1"),
    ("compare", "--set epochs=1 --set warmup_epochs=0 --only head"),
    ("prepare nyuv2", "--ids ids.txt"),
    ("bench", "--quick --alone"),
    ("evaluate", "--force"),
    ("predict", "--force"),
    ("convert", "--force"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A folder in which the documents' names mean something.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let dir = place.0.path();
        copy(&root().join("recipes"), &dir.join("recipes"));
        place.run("multimae synth --out frames --count 14 --size 64x48");
        let lists = ["train", "val"].map(|name| dir.join("frames").join(format!("{name}.txt")));
        let ids: Vec<String> = lists
            .iter()
            .flat_map(|list| {
                fs::read_to_string(list).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        for list in lists {
            fs::remove_file(list).unwrap();
        }
        for (name, part) in [("train_fit", 0..8), ("val", 8..11), ("test_a", 11..14)] {
            fs::write(dir.join(format!("frames/{name}.txt")), ids[part].join("\n")).unwrap();
        }
        let one = fs::read_dir(dir.join("frames/rgb")).unwrap().next().unwrap().unwrap().path();
        image::open(one).unwrap().to_rgb8().save(dir.join("photo.jpg")).unwrap();
        let fixtures = root().join("crates/multimae-datasets/tests/fixtures");
        let mat = dir.join("nyu_depth_v2_labeled.mat");
        fs::copy(fixtures.join("nyuv2_small.mat"), mat).unwrap();
        fs::copy(fixtures.join("splits.mat"), dir.join("splits.mat")).unwrap();
        fs::write(dir.join("ids.txt"), "700 80 1 1200 314 300").unwrap();
        // The backbone and the weights that documents begin with.
        place.run(&short(
            "multimae pretrain --config recipes/pretrain/nyuv2_tiny.yaml --data frames --out \
             runs/nyuv2",
        ));
        place.run(&short(
            "multimae finetune --config recipes/tuning/lora.yaml --data frames --out runs/lora --set \
             finetune=runs/nyuv2",
        ));
        // In the place of what the demo leaves.
        place.run(&short(
            "multimae finetune --config recipes/tuning/full.yaml --data frames --out \
             demo/compare/cells/full-seed0 --set finetune=runs/nyuv2",
        ));
        place.run("multimae convert --input runs/nyuv2/model.safetensors --output checkpoint.pth");
        place
    }

    /// Runs a command of a shell.
    #[allow(clippy::print_stderr, reason = "a command that is not run is named")]
    fn run(&self, command: &str) {
        let program = env!("CARGO_BIN_EXE_multimae");
        let script = format!("multimae() {{ '{program}' \"$@\"; }}\n{command}");
        let output = Command::new("sh").arg("-c").arg(script).current_dir(&self.0).output();
        let output = output.unwrap();
        let no_bf16 = String::from_utf8_lossy(&output.stderr).contains("AVX512_BF16");
        if command.contains("bf16") && no_bf16 {
            eprintln!("SKIPPED: {command}: this processor does not multiply in bfloat16");
            return;
        }
        assert!(
            output.status.success(),
            "$ {command}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A run of a document begins anew.
    fn clear(&self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let trains = ["pretrain", "finetune", "compare"].contains(words.get(1).unwrap());
        let out = words.iter().position(|word| *word == "--out").map(|at| words[at + 1]);
        if let Some(out) = out.filter(|_| trains && !words.contains(&"--resume")) {
            let _ = fs::remove_dir_all(self.0.path().join(out));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The commands of a document: of its blocks of `sh`, a line each.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.starts_with("```") {
            inside = line.trim_end() == "```sh";
        } else if inside {
            commands.extend(parts(line));
        }
    }
    commands
}

/// The commands of the comment that a recipe begins with.
fn header_commands(text: &str) -> Vec<String> {
    let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix('#')).collect();
    let joined = comment.join("\n").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("multimae "));
    lines.flat_map(parts).collect()
}

/// The commands of a line, without its comment.
fn parts(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let line = line.replace("cargo run --release -- ", "multimae ");
    line.split(" && ")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty() && !part.starts_with('#'))
        .collect()
}

/// The same command with little to do.
fn short(command: &str) -> String {
    // Placeholders of data and of what a document did before.
    let mut command = command.replace("--data DIR", "--data frames");
    if let Some((before, after)) = command.split_once("--python PYTHON_WITH_TORCH") {
        command = format!("{before}{after}");
    }
    let begins = |words: &str| command.starts_with(&format!("multimae {words}"));
    match SHORT.iter().find(|(words, _)| begins(words)) {
        Some((_, more)) if !command.contains("> ") => format!("{command} {more}"),
        _ => command,
    }
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

#[test]
fn every_command_of_the_documents_and_recipes_runs() {
    let place = Place::new();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let mut documents = vec![root().join("README.md")];
    // What needs a server is run by tests/serve.rs.
    documents
        .extend(files(&root().join("docs"), "md").into_iter().filter(|p| !p.ends_with("serve.md")));
    let mut all: Vec<String> = documents.iter().flat_map(|path| commands(&read(path))).collect();
    let recipes = files(&root().join("recipes"), "yaml");
    all.extend(recipes.iter().flat_map(|path| header_commands(&read(path))));
    let mut seen = BTreeSet::new();
    let mut run = 0;
    for command in all {
        if ELSEWHERE.iter().any(|(other, _)| *other == command) || !seen.insert(short(&command)) {
            continue;
        }
        assert!(command.starts_with("multimae "), "a document says: {command}");
        let command = short(&command);
        place.clear(&command);
        place.run(&command);
        run += 1;
    }
    assert!(run > 40, "only {run} commands were found");
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
