//! A folder in which a document runs.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use super::commands::words;
use super::{outputs, root};

/// The additions to commands, by their first words; nothing is taken away from a command.
///
/// One epoch on a few samples in place of a training, quick sizes in place of a benchmark. The sample of NYUv2 has
/// six frames, whose ids `prepare` is given.
pub(crate) const SHORTER: [(&str, &str); 10] = [
    ("demo", "--quick"),
    ("pretrain", PRETRAIN),
    ("finetune --config recipes/finetune/ade20k.yaml", FINETUNE_SMALL),
    ("finetune --config recipes/finetune/hypersim.yaml", FINETUNE_SMALL),
    ("finetune --config recipes/finetune/taskonomy.yaml", FINETUNE_SMALL),
    ("finetune", FINETUNE),
    ("compare", COMPARE),
    ("prepare nyuv2", "--ids ids.txt"),
    ("bench", "--quick"),
    ("load", "--seconds 1 --rounds 1"),
];
const PRETRAIN: &str = "--set epochs=1 --set warmup_epochs=0 --set num_workers=1 --set batch_size=2 \
                        --set update_freq=1";
const FINETUNE: &str = "--set epochs=1 --set warmup_epochs=0 --set num_workers=1 --set batch_size=2 \
                        --set update_freq=1 --set max_train_images=12 --set max_val_images=4 \
                        --set max_test_images=4";
const COMPARE: &str = "--set epochs=1 --set warmup_epochs=0 --set num_workers=1 --set batch_size=2 \
                       --set update_freq=1 --set max_train_images=12 --set max_val_images=4 \
                       --set max_test_images=4 --only full,head";

/// For recipes of ViT-B, whose samples are a few tiny frames.
const FINETUNE_SMALL: &str = "--set epochs=1 --set warmup_epochs=0 --set num_workers=1 --set batch_size=2 \
                              --set update_freq=1 --set max_train_images=12 --set max_val_images=4 \
                              --set max_test_images=4 --set model=multivit_tiny --set input_size=64 \
                              --set output_adapter=light";

/// The samples of data sets that documents prepare, and their names there: `make_sets.py` generates
/// them.
const SETS: [(&str, &str); 7] = [
    ("ADEChallengeData2016", "ADEChallengeData2016"),
    ("hypersim", "scenes"),
    ("taskonomy", "taskonomy"),
    ("sunrgbd/SUNRGBD", "SUNRGBD"),
    ("sunrgbd/SUNRGBDtoolbox", "SUNRGBDtoolbox"),
    ("imagenet_multitask", "imagenet_multitask"),
    ("imagenet", "ILSVRC2012"),
];

/// The sample of a file that a document downloads.
const SAMPLES: [(&str, &str); 1] = [("nyu_depth_v2_labeled.mat", "nyuv2_small.mat")];
/// The ids of the sample's frames: two of `train_fit`, two of `val`, two of `test`.
const SAMPLE_IDS: &str = "3 80 1 4 314 2";

/// The address in the documents.
const ADDRESS: &str = "127.0.0.1:8080";

/// A folder with `recipes/`, `benches/` and samples of data sets, and the server that a document has started.
pub(crate) struct Place {
    document: String,
    dir: tempfile::TempDir,
    server: Option<Server>,
}

struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Place {
    pub(crate) fn new(document: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["recipes", "benches"] {
            copy(&root().join(folder), &dir.path().join(folder));
        }
        let samples = root().join("crates/multimae-datasets/tests/fixtures/sets");
        for (sample, name) in SETS {
            copy(&samples.join(sample), &dir.path().join(name));
        }
        Self { document: document.to_owned(), dir, server: None }
    }

    /// Runs a command and checks its outputs.
    pub(crate) fn run(&mut self, command: &str) {
        let words = words(command);
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["curl", "-LO", url] => self.download(url),
            ["curl", ..] => self.ask(command, &words),
            ["multimae", "serve", ..] => self.serve(&words[1..]),
            ["multimae", ..] => self.multimae(command, &words),
            _ => panic!("{}: `{command}` cannot run here; use a `text` block", self.document),
        }
    }

    /// Copies the sample of a file in the place of a download.
    fn download(&self, url: &str) {
        let name = url.rsplit('/').next().unwrap();
        let sample = SAMPLES.iter().find(|(file, _)| *file == name);
        let (_, sample) = sample.unwrap_or_else(|| panic!("{}: no sample of {url}", self.document));
        let fixtures = root().join("crates/multimae-datasets/tests/fixtures");
        fs::copy(fixtures.join(sample), self.dir.path().join(name)).unwrap();
        fs::write(self.dir.path().join("ids.txt"), SAMPLE_IDS).unwrap();
    }

    fn multimae(&self, command: &str, words: &[String]) {
        let mut command = self.shorter(command);
        if let Some(server) = &self.server
            && words[1] == "load"
        {
            command = format!("{command} --server {}", server.address);
        }
        let stdout = self.shell(&command);
        outputs::check(self.dir.path(), &words[1..], &stdout)
            .unwrap_or_else(|problem| panic!("{}: $ {command}\n{problem}", self.document));
    }

    /// The command with its additions.
    fn shorter(&self, command: &str) -> String {
        let begins = |words: &str| command.starts_with(&format!("multimae {words}"));
        match SHORTER.iter().find(|(words, _)| begins(words)) {
            Some((_, more)) => format!("{command} {more}"),
            None => command.to_owned(),
        }
    }

    /// Starts a server on a free port.
    fn serve(&mut self, arguments: &[String]) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"))
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(self.dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(';').next());
        let address = address.unwrap_or_else(|| panic!("{}: {line}", self.document)).to_owned();
        self.server = Some(Server { process, address });
    }

    /// Sends a request of the document to its server.
    #[allow(clippy::print_stderr, reason = "a command that is not run is named")]
    fn ask(&self, command: &str, words: &[String]) {
        if Command::new("curl").arg("--version").output().is_err() {
            eprintln!("SKIPPED: {command}: there is no curl");
            return;
        }
        let server = self.server.as_ref();
        let server = server.unwrap_or_else(|| panic!("{}: no server for {command}", self.document));
        let answer = self.shell(&command.replace(ADDRESS, &server.address));
        match words.iter().position(|word| word == "-o") {
            Some(at) => outputs::check_file(&self.dir.path().join(&words[at + 1])).unwrap(),
            None => assert!(!answer.trim().is_empty(), "{command}: an empty answer"),
        }
    }

    /// Runs a command of a shell that must succeed, and gives its standard output.
    fn shell(&self, command: &str) -> String {
        let program = env!("CARGO_BIN_EXE_multimae");
        let script = format!("multimae() {{ '{program}' \"$@\"; }}\n{command}");
        let output = Command::new("sh").arg("-c").arg(script).current_dir(&self.dir).output();
        let output = output.unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}: $ {command}\n{stdout}{}",
            self.document,
            String::from_utf8_lossy(&output.stderr)
        );
        stdout
    }

    /// Checks every path in the text that lies in what the commands have written.
    pub(crate) fn check_promises(&self, text: &str) {
        for span in text.split('`').skip(1).step_by(2) {
            let top = span.split('/').next().unwrap_or_default();
            let given = ["", "recipes", "benches", ".", ".."].contains(&top);
            let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if plain && !given && self.dir.path().join(top).exists() {
                let path = self.dir.path().join(span);
                outputs::check_file(&path).unwrap_or_else(|problem| {
                    panic!("{} promises `{span}`: {problem}", self.document)
                });
            }
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
