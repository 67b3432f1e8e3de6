//! `multimae serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use multimae::burn::tensor::Device;
use multimae_config::PrecisionChoice;
use multimae_infer::device::{self, device};
use multimae_infer::visualize::Pretrained;
use multimae_infer::weights_source::WeightsSource;
use multimae_serve::{App, BankBackend, Queue, QueueConfig, ServerConfig, serve};

use crate::model::precision;
use crate::terminal;

/// Serve one backbone with many adapters over HTTP, with a page to look at.
///
/// Requests for different adapters share the passes of the backbone as far as they can. Listens on
/// loopback alone unless --listen says otherwise. A token that clients must send is taken from the
/// environment variable MULTIMAE_TOKEN; without one, adapters are loaded and unloaded from this
/// machine only. Ctrl-C finishes what was accepted.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The backbone: a file of pre-trained weights in any format or the folder of a run. Weights with
    /// decoders, such as the published .pth, also reconstruct masked patches
    #[arg(long, value_name = "BACKBONE")]
    model: PathBuf,
    /// State dict of the backbone's file, if it holds several, such as `model_ema`
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// An adapter under a name; repeat for more
    #[arg(long = "adapter", value_name = "NAME=FILE")]
    adapters: Vec<Named>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Folder of adapters that may be loaded at run time; repeat for more
    #[arg(long = "adapters", value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Adapters that are loaded at one time; further ones are refused
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    max_adapters: usize,
    /// Requests at one time; further ones are refused at once
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    permits: usize,
    /// Tokens of a batch; a request that takes more is refused
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    batch_tokens: usize,
    /// Milliseconds within which a request is answered, or not at all
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    deadline: u64,
    /// Megabytes of a request
    #[arg(long, value_name = "MB", default_value_t = 16)]
    max_body: usize,
    /// Pixels of an image
    #[arg(long, value_name = "COUNT", default_value_t = 16_000_000)]
    max_pixels: u64,
    /// Device to compute on
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Precision of the operands of GEMMs: fp32; bf16 where the processor has it; or int8
    #[arg(long, default_value = "fp32", value_parser = precision)]
    precision: PrecisionChoice,
}

/// `NAME=FILE`.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("expected NAME=FILE")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err("a name is of letters, digits, `.`, `_` and `-`".to_owned());
        }
        Ok(Self { name: name.to_owned(), file: PathBuf::from(file) })
    }
}

/// The token that clients must send, if there is to be one.
const TOKEN: &str = "MULTIMAE_TOKEN";

/// The token, if there is one.
pub(crate) fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.permits == 0 || self.batch_tokens == 0 || self.deadline == 0 {
            bail!("--permits, --batch-tokens and --deadline must be above 0");
        }
        for folder in &self.folders {
            if !folder.is_dir() {
                bail!("{}: there is no such folder of adapters", folder.display());
            }
        }
        let device = device(&self.device)?;
        let precision = device::precision(self.precision, &self.device, &device)?;
        let source = WeightsSource::from(&self.model).with_key(self.weights_key.clone());
        let pretrained = self.pretrained(&source, &device)?;
        let pretrained = pretrained.map(|model| Arc::new(model.with_precision(precision)));
        let backend = BankBackend::new(source, device, precision, pretrained.clone());
        if self.adapters.is_empty() && self.folders.is_empty() && pretrained.is_none() {
            bail!(
                "nothing to serve: give --adapter NAME=FILE, --adapters DIR, or as --model \
                 pre-trained weights with decoders"
            );
        }
        let config = self.config();
        let limits = QueueConfig { max_tokens: self.batch_tokens, ..QueueConfig::default() };
        let queue = Queue::start(backend, limits).context("starting the engine")?;
        for Named { name, file } in &self.adapters {
            queue.load(name, file).map_err(|error| anyhow::anyhow!("adapter `{name}`: {error}"))?;
        }
        let state = App::new(config, queue, pretrained);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let started = |address: SocketAddr| {
            terminal::line(&format!("serving on http://{address}; Ctrl-C ends it"));
        };
        runtime.block_on(serve(state, started, stopped()))?;
        terminal::line("stopped; what was accepted is answered");
        Ok(())
    }

    /// The model that reconstructs, if the weights have decoders. Where there are adapters to serve,
    /// weights whose architecture cannot be inferred are a backbone all the same.
    fn pretrained(
        &self,
        source: &WeightsSource,
        device: &Device,
    ) -> anyhow::Result<Option<Pretrained>> {
        let found = match Pretrained::find(source, device) {
            Err(error) if !(self.adapters.is_empty() && self.folders.is_empty()) => {
                terminal::line(&format!("note: without reconstructions: {error}"));
                None
            }
            found => found?,
        };
        for notice in found.iter().flat_map(Pretrained::notices) {
            terminal::line(&format!("note: {notice}"));
        }
        Ok(found)
    }

    fn config(&self) -> ServerConfig {
        ServerConfig {
            listen: self.listen,
            permits: self.permits,
            max_body: self.max_body << 20,
            max_pixels: self.max_pixels,
            deadline: Duration::from_millis(self.deadline),
            token: token(),
            adapter_folders: self.folders.clone(),
            max_adapters: self.max_adapters,
            model: self.model.display().to_string(),
            ..ServerConfig::default()
        }
    }
}

/// Ctrl-C, or the signal that ends a service.
async fn stopped() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
