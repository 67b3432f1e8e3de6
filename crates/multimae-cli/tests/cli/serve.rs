//! The server with a real model: what it answers is what `predict` writes, and its page works in a
//! browser where one is installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::browser::Browser;
use crate::common::{Scratch, fail, succeed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;

const TUNE: &str = "in_domains: rgb\nout_domains: depth-semseg\nmodel: {width: 32, depth: 2, heads: 2}\n\
                    input_size: [24, 32]\npatch_size: 8\noutput_adapter: light\nepochs: 2\n\
                    warmup_epochs: 0\nbatch_size: 4\nnum_classes: 6\nlr: 0.01\nsplit: train\n\
                    dataset_name: nyu\nmodalities: {depth: {divisor: 1000}, semseg: {folder: label}}\n";

/// A path without a folder for temporary files: the server needs none.
const NO_FOLDER: &str = "no-folder";

/// A pre-trained run and two adapters on it.
fn trained() -> Scratch {
    let scratch = Scratch::new();
    succeed(&mut scratch.pretrain("run", &[]));
    let recipe = scratch.path("tune.yaml");
    fs::write(&recipe, TUNE).unwrap();
    let run = format!("finetune={}", scratch.path("run").display());
    let prompts = "prompts={kind: deep, count: 3}";
    for (name, further) in [
        ("deep", vec!["--set", "tuning=prompts", "--set", prompts]),
        ("norm", vec!["--set", "tuning=norm"]),
    ] {
        let set = [vec!["--set", run.as_str()], further].concat();
        succeed(&mut scratch.train("finetune", &recipe, name, &set));
    }
    scratch
}

/// A server that ends with it.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(scratch: &Scratch) -> Self {
        let adapter = |name: &str| {
            format!("{name}={}", scratch.path(name).join("adapter.safetensors").display())
        };
        let mut process = Command::new(env!("CARGO_BIN_EXE_multimae"))
            .arg("serve")
            .arg("--model")
            .arg(scratch.path("run"))
            .args(["--adapter", &adapter("deep"), "--adapter", &adapter("norm")])
            .arg("--adapters")
            .arg(scratch.path(""))
            .args(["--listen", "127.0.0.1:0"])
            .env("TMPDIR", scratch.path(NO_FOLDER))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).expect(&line);
        Self { address: address.split(';').next().unwrap().to_owned(), process }
    }

    /// Status and body of a request.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_image(scratch: &Scratch) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(scratch.data().join("rgb"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.remove(0)
}

#[test]
fn answers_are_what_predict_writes() {
    let scratch = trained();
    let image = first_image(&scratch);
    let server = Server::start(&scratch);
    let bytes = fs::read(&image).unwrap();
    for name in ["deep", "norm"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.arg("predict").arg("--model").arg(scratch.path("run"));
        command.arg("--adapter").arg(scratch.path(name).join("adapter.safetensors"));
        command.arg("--input").arg(&image).arg("--out").arg(scratch.path("out")).arg("--force");
        succeed(&mut command);
        let id = image.file_stem().unwrap().to_str().unwrap();
        let files = ["png", "npy"].map(|format| [("depth", format), ("semseg", format)]);
        for (task, format) in files.concat() {
            let path = format!("/v1/predict?adapter={name}&tasks={task}&format={format}");
            let (status, answer) = server.ask("POST", &path, "image/png", &bytes);
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
            let written = fs::read(scratch.path(&format!("out/{task}/{id}.{format}"))).unwrap();
            assert!(written == answer, "{name}, {task}.{format} is another");
        }
    }
    let form = [
        b"--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"i\"\r\n\r\n".as_slice(),
        &bytes,
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"visible\"\r\n\r\n{\"rgb\": [0, 5]}\r\n--x--\r\n",
    ]
    .concat();
    let kind = "multipart/form-data; boundary=x";
    let (status, answer) = server.ask("POST", "/v1/reconstruct", kind, &form);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["visible"]["rgb"]), (200, &serde_json::json!([0, 5])));
    assert!(answer["tasks"]["depth"]["prediction"].as_str().unwrap().starts_with("data:image/png"));
    assert!(answer["tasks"]["depth"]["original"].is_null());
    visible_patches_are_pasted(&answer, "rgb", &[0, 5]);
    assert!(!scratch.path(NO_FOLDER).exists(), "the server wrote temporary files");
}

/// The visible patches of a reconstruction are those of the original, and the others are not.
fn visible_patches_are_pasted(answer: &serde_json::Value, task: &str, visible: &[u32]) {
    let picture = |name: &str| {
        let url = answer["tasks"][task][name].as_str().unwrap();
        let png = STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        image::load_from_memory(&png).unwrap().into_rgb8()
    };
    let (prediction, original) = (picture("prediction"), picture("original"));
    let number = |name: &str| answer[name].as_u64().unwrap() as u32;
    let (rows, columns) = (number("rows"), number("columns"));
    let (height, width) = (original.height() / rows, original.width() / columns);
    for patch in 0..rows * columns {
        let (x, y) = (patch % columns * width, patch / columns * height);
        let mut pixels = (0..height).flat_map(|dy| (0..width).map(move |dx| (x + dx, y + dy)));
        let same = pixels.all(|(x, y)| prediction.get_pixel(x, y) == original.get_pixel(x, y));
        assert_eq!(same, visible.contains(&patch), "patch {patch}");
    }
}

/// The commands of docs/guides/serve.md are run by tests/documents.
#[test]
fn a_load_test_counts_every_request() {
    let scratch = trained();
    let server = Server::start(&scratch);
    let mut load = Command::new(env!("CARGO_BIN_EXE_multimae"));
    load.args(["load", "--server", &server.address, "--seconds", "1", "--rounds", "1"]);
    load.arg("--image").arg(first_image(&scratch)).arg("--json").arg(scratch.path("l.json"));
    succeed(&mut load);
    let json = fs::read_to_string(scratch.path("l.json")).unwrap();
    let flood: serde_json::Value =
        serde_json::from_str::<serde_json::Value>(&json).unwrap()["flood"].take();
    let count = |name: &str| flood[name].as_u64().unwrap();
    assert_eq!(count("sent"), count("answered") + count("refused") + count("expired"), "{json}");
    assert!(count("answered") > 0 && count("lost") == 0, "{json}");
}

#[test]
fn a_soak_accounts_for_every_request() {
    let scratch = trained();
    let server = Server::start(&scratch);
    let mut load = Command::new(env!("CARGO_BIN_EXE_multimae"));
    load.args(["load", "--server", &server.address, "--soak", "0.1", "--clients", "2"]);
    load.args(["--exchange", "deep/adapter.safetensors"]);
    load.arg("--image").arg(first_image(&scratch)).arg("--json").arg(scratch.path("soak.json"));
    load.arg("--charts").arg(scratch.path("soak.html"));
    succeed(&mut load);
    let json = fs::read_to_string(scratch.path("soak.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    for kind in ["prediction", "truncated image", "load adapter", "client hangs up", "health"] {
        let tally = &report["tallies"][kind];
        let count = |name: &str| tally[name].as_u64().expect(kind);
        assert!(count("right") > 0, "{kind}: {tally}");
        let answered = ["right", "refused", "late"].map(count).iter().sum::<u64>();
        assert_eq!(count("sent"), answered, "{kind}: {tally}");
    }
    assert!(fs::read_to_string(scratch.path("soak.html")).unwrap().contains("Resident memory"));
}

#[test]
fn load_is_made_on_this_machine_alone() {
    let scratch = Scratch::new();
    for (address, says) in [("192.0.2.1:80", "loopback only"), ("127.0.0.1:9", "multimae serve")] {
        let mut load = Command::new(env!("CARGO_BIN_EXE_multimae"));
        load.args(["load", "--server", address, "--image"]).arg(first_image(&scratch));
        let error = fail(&mut load);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn nothing_to_serve_is_an_error() {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("serve").arg("--model").arg(scratch.path("none"));
    let error = fail(&mut command);
    assert!(error.contains("none") && error.contains("No such file"), "{error}");
    // A model with heads and no decoders.
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-v1");
    let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
    command.arg("serve").arg("--model").arg(fixtures.join("finetune"));
    let error = fail(&mut command);
    assert!(error.contains("nothing to serve"), "{error}");
}

/// Loads, drops an image, clicks a patch and moves by keys, in a real browser.
#[test]
#[allow(clippy::print_stderr, reason = "a test that does not run says so")]
fn the_page_works_in_a_browser() {
    let Some(program) = crate::common::browser::installed() else {
        eprintln!("SKIPPED: there is no chromium, so the page is not tried in a browser");
        return;
    };
    let scratch = trained();
    let server = Server::start(&scratch);
    let mut page = Browser::open(&program, &format!("http://{}/", server.address), (1100, 900));
    page.until("document.getElementById('status').textContent.includes('2 adapters')");
    // A file that is dropped.
    page.value(
        "(async () => { const blob = await (await fetch('/v1/example/rgb?seed=5')).blob(); const data = new DataTransfer(); \
         data.items.add(new File([blob], 'room.png', {type: 'image/png'})); \
         document.getElementById('drop').dispatchEvent(new DragEvent('drop', \
         {dataTransfer: data, bubbles: true, cancelable: true})); })()",
    );
    page.until("document.body.dataset.predicted && document.body.dataset.reconstructed");
    let pixels = "(() => { const c = document.querySelector('#answers canvas'); \
                  return c.width + 'x' + c.height; })()";
    assert_eq!(page.value(pixels), "320x240");
    // A patch of RGB is shown or hidden: every modality is reconstructed anew.
    let reconstructions =
        "[...document.querySelectorAll('[data-reconstructed]')].map(i => i.src).join(' ')";
    let before = page.value(reconstructions);
    let run = page.value("document.body.dataset.reconstructed");
    page.value("document.querySelector('[data-patch=\"rgb-3\"]').click()");
    page.until(&format!("document.body.dataset.reconstructed !== {run}"));
    let after = page.value(reconstructions);
    assert_ne!(before, after, "pixels did not change");
    // By keys alone: right, then space.
    let run = page.value("document.body.dataset.reconstructed");
    page.value("document.querySelector('[data-patch=\"rgb-0\"]').focus()");
    page.press("ArrowRight", 39);
    assert_eq!(page.value("document.activeElement.dataset.patch"), "rgb-1");
    page.press(" ", 32);
    page.until(&format!("document.body.dataset.reconstructed !== {run}"));
    // An example room has further modalities, whose patches can be clicked too.
    let run = page.value("document.body.dataset.reconstructed");
    page.value("document.getElementById('example').click()");
    page.until(&format!("document.body.dataset.reconstructed !== {run}"));
    page.until("document.querySelector('[data-patch=\"depth-0\"]')");
    let (before, run) =
        (page.value(reconstructions), page.value("document.body.dataset.reconstructed"));
    page.value("document.querySelector('[data-patch=\"depth-0\"]').click()");
    page.until(&format!("document.body.dataset.reconstructed !== {run}"));
    assert_ne!(before, page.value(reconstructions), "depth says nothing");
    // Depth of the other adapter beside it: one range of colours for both.
    page.value("beside.value = 'norm'; beside.dispatchEvent(new Event('change'))");
    page.until("document.querySelectorAll('#answers canvas').length === 2");
    let ends = "[...document.querySelectorAll('#answers .ends')].map(e => e.textContent)";
    page.until(&format!("{ends}.length === 2"));
    assert_eq!(page.value(&format!("new Set({ends}).size")), 1, "{}", page.value(ends));
    keep(&mut page, "depth.png");
    // Labels, with their legend.
    page.value("[...document.querySelectorAll('#tasks button')].at(-1).click()");
    page.until("document.querySelectorAll('#answers canvas').length === 2");
    page.until("document.querySelectorAll('#legend span').length > 0");
    // Nothing from elsewhere.
    let elsewhere = page.value(
        "performance.getEntriesByType('resource').filter(r => /^http/.test(r.name) && \
         !r.name.startsWith(location.origin)).length",
    );
    assert_eq!(elsewhere, 0);
    keep(&mut page, "page.png");
    page.be_a_phone();
    let wider = page.value("document.documentElement.scrollWidth > window.innerWidth");
    assert_eq!(wider, false, "the page is wider than a phone");
    keep(&mut page, "phone.png");
}

/// Pictures of the page, where the environment names a folder for them.
fn keep(page: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("MULTIMAE_SCREENSHOTS") {
        fs::write(PathBuf::from(&folder).join(name), page.picture()).unwrap();
    }
}
