//! Load on a server of this machine: how many requests it answers, and what it does with too many.

mod client;
mod figures;
mod soak;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Reply};
pub use figures::{ClosedLoop, Flood, LoadTestReport, Quantiles};
use serde_json::Value;
pub use soak::{Exchange, Sample, SoakOptions, SoakReport, Tally, soak};

use crate::{Error, Result};

/// The settings of a load test.
#[derive(Debug, Clone)]
pub struct LoadTestOptions {
    /// The server, on loopback.
    pub address: SocketAddr,
    /// The bytes of the image that every request carries.
    pub image: Vec<u8>,
    /// The adapters that are asked in turn; all that are loaded if empty.
    pub adapters: Vec<String>,
    /// Clients that wait for an answer before they ask again.
    pub clients: usize,
    /// The duration of each part.
    pub part: Duration,
    /// The number of rounds of one adapter and of all in turn.
    pub rounds: usize,
    /// The rate of the flood, in multiples of the sustainable one.
    pub overload: f64,
    /// The deadline of the flood's requests.
    pub deadline: Duration,
    /// The server's token, if it has one.
    pub token: Option<String>,
}

impl LoadTestOptions {
    fn check(&self) -> Result<()> {
        let problem = match self {
            Self { address, .. } if !address.ip().is_loopback() => {
                "load is made on loopback only; other machines are not ours to flood"
            }
            Self { clients: 0, .. } | Self { rounds: 0, .. } => "clients and rounds are above 0",
            Self { part, deadline, .. } if part.is_zero() || deadline.is_zero() => {
                "the time of a part and the deadline are above 0"
            }
            Self { overload, .. } if !(*overload > 0.0 && overload.is_finite()) => {
                "the rate of the flood is above 0"
            }
            _ => return Ok(()),
        };
        Err(Error::Load(problem.to_owned()))
    }
}

/// Runs a load test in three parts: clients that ask one adapter, clients that ask all in turn, and
/// a flood of requests at a fixed rate, whether answered or not. `tell` is called with the next
/// part.
///
/// # Errors
/// If the address is not of this machine, no server is there, or a request fails outside of the flood.
pub async fn load(options: LoadTestOptions, tell: impl Fn(&str)) -> Result<LoadTestReport> {
    options.check()?;
    let image = options.image.clone().into();
    let client = Arc::new(Client::new(options.address, options.token.clone(), image));
    let adapters =
        if options.adapters.is_empty() { loaded(&client).await? } else { options.adapters.clone() };
    let Some(first) = adapters.first().cloned() else {
        return Err(Error::Load("the server has no adapters to ask".to_owned()));
    };
    tell("warming up");
    for adapter in &adapters {
        client.predict(adapter, None).await?.answered(adapter)?;
    }
    let (mut one, mut mixed) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        tell(&format!("round {round} of {}: `{first}` alone", options.rounds));
        one.push(closed_loop(&client, std::slice::from_ref(&first), &options).await?);
        tell(&format!("round {round} of {}: {} adapters in turn", options.rounds, adapters.len()));
        mixed.push(closed_loop(&client, &adapters, &options).await?);
    }
    let sustainable = figures::median(mixed.iter().map(|part| part.per_second));
    let rate = sustainable * options.overload;
    tell(&format!("a flood of {rate:.1} requests a second"));
    let flood = flood(&client, &adapters, &options, rate).await;
    Ok(LoadTestReport { adapters, clients: options.clients, one, mixed, flood })
}

/// The names of the adapters that a server has.
async fn loaded(client: &Client) -> Result<Vec<String>> {
    let reply = client.get("/v1/adapters").await?;
    let list: Value = serde_json::from_slice(&reply.answered("/v1/adapters")?).unwrap_or_default();
    let names = list["adapters"].as_array().into_iter().flatten();
    Ok(names.filter_map(|adapter| adapter["name"].as_str().map(str::to_owned)).collect())
}

/// Clients that ask, wait for the answer, and ask again.
async fn closed_loop(
    client: &Arc<Client>,
    adapters: &[String],
    options: &LoadTestOptions,
) -> Result<ClosedLoop> {
    let begin = Instant::now();
    let end = begin + options.part;
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for _ in 0..options.clients {
        let (client, next, adapters) = (Arc::clone(client), Arc::clone(&next), adapters.to_vec());
        clients.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let adapter = &adapters[next.fetch_add(1, Ordering::Relaxed) % adapters.len()];
                let reply = client.predict(adapter, None).await?;
                took.push(reply.took);
                reply.answered(adapter)?;
            }
            Ok::<_, Error>(took)
        }));
    }
    let mut took = Vec::new();
    for client in clients {
        took.extend(joined(client.await)??);
    }
    // Until the last answer: those that were under way at the end count with their time.
    let seconds = begin.elapsed().as_secs_f64();
    let per_second = took.len() as f64 / seconds;
    Ok(ClosedLoop { requests: took.len(), seconds, per_second, latency: Quantiles::of(took) })
}

/// Requests at a fixed rate, each by a client of its own.
async fn flood(
    client: &Arc<Client>,
    adapters: &[String],
    options: &LoadTestOptions,
    rate: f64,
) -> Flood {
    let count = (rate * options.part.as_secs_f64()).ceil().max(1.0) as usize;
    let begin = tokio::time::Instant::now();
    let mut clients = Vec::new();
    for number in 0..count {
        tokio::time::sleep_until(begin + Duration::from_secs_f64(number as f64 / rate)).await;
        let (client, adapter) = (Arc::clone(client), adapters[number % adapters.len()].clone());
        let deadline = options.deadline;
        clients.push(tokio::spawn(async move { client.predict(&adapter, Some(deadline)).await }));
    }
    let mut replies: Vec<Option<Reply>> = Vec::new();
    for client in clients {
        replies.push(client.await.ok().and_then(std::result::Result::ok));
    }
    Flood::of(replies, rate, options.deadline)
}

fn joined<T>(result: std::result::Result<T, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|error| Error::Load(format!("a client failed: {error}")))
}
