//! `multimae load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use multimae_io::atomic::write_atomically;
use multimae_serve::load::{Exchange, LoadTestOptions, SoakOptions, load, soak};

use crate::serve::token;
use crate::terminal;

/// The longest soak, in minutes: a week.
const MAX_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// Load-test a running `multimae serve` of this machine: latency, throughput and load shedding.
///
/// Clients that wait for each answer ask one adapter and then all in turn, some rounds; then requests
/// come at a multiple of the rate that was answered, whether answered or not. The token is taken from
/// the environment variable MULTIMAE_TOKEN.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Address of the server
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    server: SocketAddr,
    /// The image that every request carries
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The adapters to ask, by name; the first is also asked alone. All that are loaded if left out
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    adapters: Vec<String>,
    /// Clients that wait for an answer before they ask again
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    clients: usize,
    /// Seconds of each part
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    seconds: u64,
    /// Rounds of one adapter and all of them
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,
    /// The rate of the flood over the rate that was answered
    #[arg(long, value_name = "FACTOR", default_value_t = 3.0)]
    overload: f64,
    /// Milliseconds that the flood's requests give the server
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    deadline: u64,
    /// File to write the numbers to, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Soak the server for that long instead: good and bad requests, bursts and clients that hang up;
    /// every request is accounted for, and answers are compared with those of the idle server
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["rounds", "overload"])]
    soak: Option<f64>,
    /// With --soak: an adapter that is loaded and unloaded again and again, as `serve --adapters` finds it;
    /// repeat for more
    #[arg(long = "exchange", value_name = "FILE", requires = "soak")]
    exchanges: Vec<String>,
    /// With --soak: file to draw memory and latency to, as HTML
    #[arg(long, value_name = "FILE", requires = "soak")]
    charts: Option<PathBuf>,
}

impl Load {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(minutes) = self.soak {
            return self.soak(minutes);
        }
        let options = LoadTestOptions {
            address: self.server,
            image: fs_err::read(&self.image)?,
            adapters: self.adapters,
            clients: self.clients,
            part: Duration::from_secs(self.seconds),
            rounds: self.rounds,
            overload: self.overload,
            deadline: Duration::from_millis(self.deadline),
            token: token(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(load(options, terminal::line))?;
        if let Some(path) = &self.json {
            let json = serde_json::to_vec_pretty(&report).context("the numbers as JSON")?;
            write_atomically(path, &json)?;
        }
        Ok(terminal::result(&report.text())?)
    }

    fn soak(self, minutes: f64) -> anyhow::Result<()> {
        if !(minutes > 0.0 && minutes <= MAX_MINUTES) {
            bail!("--soak: minutes above 0 and up to {MAX_MINUTES}");
        }
        let duration = Duration::from_secs_f64(60.0 * minutes);
        let options = SoakOptions {
            address: self.server,
            token: token(),
            duration,
            idle: (duration / 15).clamp(Duration::from_secs(2), Duration::from_secs(120)),
            clients: self.clients,
            pause: Duration::from_millis(50),
            sample: (duration / 360).clamp(Duration::from_millis(250), Duration::from_secs(60)),
            frames: vec![fs_err::read(&self.image)?],
            poisoned: Vec::new(),
            exchanges: self
                .exchanges
                .into_iter()
                .map(|file| Exchange { file, status: 201 })
                .collect(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let report = runtime.block_on(soak(options, terminal::line))?;
        if let Some(path) = &self.json {
            let json = serde_json::to_vec_pretty(&report).context("the numbers as JSON")?;
            write_atomically(path, &json)?;
        }
        if let Some(path) = &self.charts {
            write_atomically(path, report.page().as_bytes())?;
        }
        terminal::result(&report.text())?;
        let total = report.total();
        if total.wrong + total.lost > 0 {
            bail!("{} wrong answers, {} requests without an answer", total.wrong, total.lost);
        }
        Ok(())
    }
}
