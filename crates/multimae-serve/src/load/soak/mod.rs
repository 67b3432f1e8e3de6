//! A soak of a server: hours of good, bad and poisoned requests, with adapters that come and go.
//! Every request is accounted for, and answers are compared with those of the idle server.

mod clients;
mod reference;
mod report;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use clients::Soak;
use hyper::Request;
use reference::References;
pub use report::{Sample, SoakReport, Tally};
use serde_json::Value;

use super::client::Client;
use super::{joined, loaded};
use crate::{Error, Result};

/// The configuration of a soak.
#[derive(Debug, Clone)]
pub struct SoakOptions {
    /// The server, on loopback.
    pub address: SocketAddr,
    /// The server's token, if it has one.
    pub token: Option<String>,
    /// The time under load.
    pub duration: Duration,
    /// The time before and after, in which the server is idle and its memory is sampled.
    pub idle: Duration,
    /// Clients that ask for predictions.
    pub clients: usize,
    /// The pause of a client between two requests.
    pub pause: Duration,
    /// Time between two samples.
    pub sample: Duration,
    /// Images that are predicted, as files.
    pub frames: Vec<Vec<u8>>,
    /// Images on which the engine of this server panics, as files. An ordinary server has none.
    pub poisoned: Vec<Vec<u8>>,
    /// Adapters that come and go.
    pub exchanges: Vec<Exchange>,
}

/// An adapter that is loaded and unloaded again and again.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its file, relative to a folder of the server.
    pub file: String,
    /// The status of loading it: 201, or that of a file that cannot be loaded.
    pub status: u16,
}

impl SoakOptions {
    fn check(&self) -> Result<()> {
        let problem = match self {
            Self { address, .. } if !address.ip().is_loopback() => {
                "a soak is run on loopback only; give an address of this machine"
            }
            Self { clients: 0, .. } => "a soak needs at least one client",
            Self { frames, .. } if frames.is_empty() => "a soak needs at least one image",
            Self { duration, sample, .. } if duration.is_zero() || sample.is_zero() => {
                "the time of a soak and that between two samples are above 0"
            }
            _ => return Ok(()),
        };
        Err(Error::Load(problem.to_owned()))
    }
}

/// Runs a soak. `tell` is called with the next part.
///
/// # Errors
/// If the address is not of this machine, no server is there, or the idle server does not answer.
pub async fn soak(options: SoakOptions, tell: impl Fn(&str)) -> Result<SoakReport> {
    options.check()?;
    let client = Arc::new(Client::new(options.address, options.token.clone(), Bytes::new()));
    let adapters = loaded(&client).await?;
    if adapters.is_empty() {
        return Err(Error::Load("the server has no adapters to ask".to_owned()));
    }
    tell("reference answers of the idle server");
    let mut references = References::new(&options.frames);
    for adapter in &adapters {
        references.ask(&client, adapter).await?;
    }
    for (number, exchange) in options.exchanges.iter().enumerate() {
        if exchange.status == 201 {
            let name = requests::exchanged(number);
            let reply =
                client.send(requests::load(), requests::file(&name, &exchange.file)).await?;
            if reply.status != 201 {
                reply.answered(&exchange.file)?;
            }
            references.ask(&client, &name).await?;
            client.send(requests::unload(&name), Bytes::new()).await?.answered(&name)?;
        }
    }
    let limits = limits(&client).await?;
    let begin = Instant::now();
    let soak = Arc::new(Soak::new(client, references, limits, options, begin));
    tell("idle");
    soak.watch(Duration::ZERO).await;
    let idle_for = begin.elapsed();
    tell("under load");
    let end = Instant::now() + soak.options.duration;
    let under_load = clients::start(&soak, &adapters, end);
    soak.watch(soak.options.duration).await;
    for client in under_load {
        joined(client.await)?;
    }
    let loaded_for = begin.elapsed();
    tell("idle again");
    soak.watch(Duration::ZERO).await;
    Ok(soak.report(idle_for, loaded_for))
}

/// The server's limits that requests are to exceed.
#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    pixels: u64,
}

async fn limits(client: &Client) -> Result<Limits> {
    let info = client.send(Request::get("/info"), Bytes::new()).await?.answered("/info")?;
    let info: Value = serde_json::from_slice(&info).unwrap_or_default();
    let number = |name: &str| {
        let missing = || Error::Load(format!("/info of the server does not say `limits.{name}`"));
        info["limits"][name].as_u64().ok_or_else(missing)
    };
    let body = usize::try_from(number("body_bytes")?).unwrap_or(usize::MAX);
    Ok(Limits { body, pixels: number("pixels")? })
}
