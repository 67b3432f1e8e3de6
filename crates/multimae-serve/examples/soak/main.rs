//! A soak of a server whose engine can be poisoned.
//!
//! `soak OUT MINUTES` makes a small model with adapters, serves it in a process of its own, and sends
//! good, bad and poisoned requests while adapters come and go. The server is the ordinary one; around
//! its engine is one that panics on frames of marked sizes, which an ordinary server does not have.
//! Writes `soak.json`, `soak.md` and `soak.html` (charts) to OUT.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "an example talks to its user")]

mod model;
mod poison;

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use multimae_kernels::allocator::{self, Allocator};
use multimae_kernels::precision::Precision;
use multimae_serve::load::{Exchange, SoakOptions, SoakReport, soak};
use multimae_serve::{App, BankBackend, Queue, QueueConfig, ServerConfig, serve};
use multimae_synth::{FrameMap, render};
use poison::{COST, FORWARD, LOAD, Poisoned};

#[global_allocator]
static ALLOCATOR: Allocator = allocator::ALLOCATOR;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first argument of the process that serves.
const SERVE: &str = "--serve";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [SERVE, folder] => run_server(Path::new(folder)),
        [out, minutes] => run_soak(Path::new(out), minutes.parse()?),
        _ => Err("usage: soak OUT MINUTES".into()),
    }
}

/// Serves the model of a folder, and prints its address.
fn run_server(folder: &Path) -> Result<()> {
    // As `multimae serve` does.
    allocator::keep_freed_memory_for(Duration::from_secs(1));
    allocator::avoid_huge_pages();
    let device = multimae_infer::device::device("cpu")?;
    let backbone = folder.join(model::BACKBONE);
    let bank = BankBackend::new(&backbone, device, Precision::Fp32, None);
    let queue = Queue::start(Poisoned(bank), QueueConfig::default())?;
    for name in model::ADAPTERS {
        queue.load(name, &folder.join(format!("{name}.safetensors")))?;
    }
    let config = ServerConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        max_body: 1 << 20,
        max_pixels: 1_000_000,
        deadline: Duration::from_secs(20),
        adapter_folders: vec![folder.to_owned()],
        ..ServerConfig::default()
    };
    let state = App::new(config, queue, None);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = |address: SocketAddr| println!("{address}");
    runtime.block_on(serve(state, started, std::future::pending()))?;
    Ok(())
}

/// A server that ends with it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_soak(out: &Path, minutes: f64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    model::write(folder.path())?;
    fs_err::write(folder.path().join("damaged.safetensors"), b"not a file of weights")?;
    fs_err::write(folder.path().join(format!("{LOAD}.safetensors")), b"x")?;
    let log = fs_err::File::create(folder.path().join("server.log"))?.into_parts().0;
    let mut server = Command::new(std::env::current_exe()?);
    server.arg(SERVE).arg(folder.path()).stdout(Stdio::piped()).stderr(log);
    // At the first panic the standard library reads the program's symbols for its backtrace, and keeps
    // them: 34 MB, which would hide what the server itself keeps.
    server.env("RUST_BACKTRACE", "0");
    let mut server = Server(server.spawn()?);
    let mut address = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let options = SoakOptions {
        address: address.trim().parse()?,
        token: None,
        duration: Duration::from_secs_f64(minutes * 60.0),
        idle: Duration::from_secs_f64((minutes * 60.0 / 15.0).clamp(5.0, 120.0)),
        clients: 3,
        pause: Duration::from_millis(50),
        sample: Duration::from_secs(5),
        frames: frames()?,
        poisoned: vec![flat(FORWARD)?, flat(COST)?],
        exchanges: [("coming", 201), ("going", 201), ("damaged", 422), ("none", 404), (LOAD, 500)]
            .map(|(name, status)| Exchange { file: format!("{name}.safetensors"), status })
            .to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(soak(options, |part| eprintln!("{part}")))?;
    write(out, &report)?;
    let total = report.total();
    if total.wrong + total.lost > 0 {
        return Err(format!("{} wrong, {} lost", total.wrong, total.lost).into());
    }
    Ok(())
}

fn write(out: &Path, report: &SoakReport) -> Result<()> {
    fs_err::create_dir_all(out)?;
    fs_err::write(out.join("soak.html"), report.page())?;
    fs_err::write(out.join("soak.json"), serde_json::to_vec_pretty(report)?)?;
    fs_err::write(out.join("soak.md"), report.text())?;
    println!("{}", report.text());
    Ok(())
}

/// Rooms of several shapes.
fn frames() -> Result<Vec<Vec<u8>>> {
    let sizes = [(96, 128), (120, 160), (128, 96), (60, 200)];
    let frame = |(seed, size)| Ok(render(seed, 0, size).png(FrameMap::Rgb)?);
    (0..).zip(sizes).map(frame).collect()
}

/// A picture of one colour.
fn flat((height, width): (u32, u32)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let picture = image::RgbImage::from_pixel(width, height, image::Rgb([90, 120, 150]));
    picture.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)?;
    Ok(bytes)
}
