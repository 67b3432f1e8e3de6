//! The results of a load test.

use std::time::Duration;

use multimae_report::Table;
use serde::Serialize;

use super::client::Reply;

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Quantiles {
    /// Returns the quantiles of durations; zeros of none.
    #[must_use]
    pub fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |share: f64| {
            let rank = (share * took.len() as f64).ceil() as usize;
            took.get(rank.saturating_sub(1)).map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// Clients that wait for an answer before they ask again.
#[derive(Debug, Clone, Serialize)]
pub struct ClosedLoop {
    /// Requests that were answered.
    pub requests: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Answers a second.
    pub per_second: f64,
    /// From the connection to the last byte.
    pub latency: Quantiles,
}

/// Requests at a fixed rate, whether answered or not.
#[derive(Debug, Clone, Serialize)]
pub struct Flood {
    /// Requests a second.
    pub offered_per_second: f64,
    /// Requests that were sent.
    pub sent: usize,
    /// Answered with a prediction.
    pub answered: usize,
    /// Refused with 429.
    pub refused: usize,
    /// Refusals that said when to come again.
    pub with_retry_after: usize,
    /// Accepted, and not done within the deadline.
    pub expired: usize,
    /// Anything else: broken connections, other statuses.
    pub lost: usize,
    /// The deadline of every request, in milliseconds.
    pub deadline_ms: u64,
    /// Of the answers.
    pub latency: Quantiles,
    /// Of the refusals.
    pub refusal_latency: Quantiles,
}

impl Flood {
    /// Of replies; none where a connection broke.
    pub(super) fn of(replies: Vec<Option<Reply>>, rate: f64, deadline: Duration) -> Self {
        let with =
            |status: u16| replies.iter().flatten().filter(move |reply| reply.status == status);
        let took = |status: u16| with(status).map(|reply| reply.took).collect::<Vec<_>>();
        let (answered, refused, expired) =
            (with(200).count(), with(429).count(), with(504).count());
        Self {
            offered_per_second: rate,
            sent: replies.len(),
            answered,
            refused,
            with_retry_after: with(429).filter(|reply| reply.retry_after).count(),
            expired,
            lost: replies.len() - answered - refused - expired,
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            latency: Quantiles::of(took(200)),
            refusal_latency: Quantiles::of(took(429)),
        }
    }
}

/// The results of a load test.
#[derive(Debug, Clone, Serialize)]
pub struct LoadTestReport {
    /// The adapters that were asked in turn; the first is the one asked alone.
    pub adapters: Vec<String>,
    /// Clients of the closed loops.
    pub clients: usize,
    /// The first adapter alone, by round.
    pub one: Vec<ClosedLoop>,
    /// All in turn, by round.
    pub mixed: Vec<ClosedLoop>,
    /// Too many requests.
    pub flood: Flood,
}

impl LoadTestReport {
    /// Answers a second of mixed adapters over those of one: the median over rounds.
    #[must_use]
    pub fn mixed_over_one(&self) -> f64 {
        median(
            self.one.iter().zip(&self.mixed).map(|(one, mixed)| mixed.per_second / one.per_second),
        )
    }

    /// The figures to read.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table =
            Table::new(["clients that wait", "answers/s", "p50 ms", "p90 ms", "p99 ms"]);
        let first = self.adapters.first().map_or("", String::as_str);
        for (one, mixed) in self.one.iter().zip(&self.mixed) {
            for (name, part) in
                [(format!("`{first}`"), one), (format!("{} in turn", self.adapters.len()), mixed)]
            {
                let Quantiles { p50, p90, p99, .. } = part.latency;
                let numbers = [p50, p90, p99].map(|ms| format!("{ms:.0}"));
                table.row(
                    [vec![name, format!("{:.2}", part.per_second)], numbers.to_vec()].concat(),
                );
            }
        }
        let flood = &self.flood;
        format!(
            "{}\n{} clients; mixed over one adapter: {:.1} %\n\nflood of {:.1} requests/s: {} sent, {} \
             answered (p50 {:.0} ms, p99 {:.0} ms, deadline {} ms), {} refused (p50 {:.1} ms, p99 {:.1} \
             ms, {} with Retry-After), {} expired, {} lost\n",
            table.markdown(),
            self.clients,
            self.mixed_over_one() * 100.0,
            flood.offered_per_second,
            flood.sent,
            flood.answered,
            flood.latency.p50,
            flood.latency.p99,
            flood.deadline_ms,
            flood.refused,
            flood.refusal_latency.p50,
            flood.refusal_latency.p99,
            flood.with_retry_after,
            flood.expired,
            flood.lost,
        )
    }
}

/// The middle value; of an even number the upper one.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, ms: u64) -> Option<Reply> {
        let took = Duration::from_millis(ms);
        Some(Reply { status, body: axum::body::Bytes::new(), took, retry_after: status == 429 })
    }

    #[test]
    fn replies_are_counted_by_what_they_are() {
        let replies = vec![
            reply(200, 30),
            reply(429, 1),
            None,
            reply(504, 90),
            reply(500, 2),
            reply(200, 10),
        ];
        let flood = Flood::of(replies, 5.0, Duration::from_secs(1));
        let counts = (flood.sent, flood.answered, flood.refused, flood.expired, flood.lost);
        assert_eq!(counts, (6, 2, 1, 1, 2));
        assert_eq!((flood.latency.p50, flood.latency.max), (10.0, 30.0));
        assert_eq!((flood.with_retry_after, flood.refusal_latency.p99), (1, 1.0));
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let hundred = (1..=100).map(Duration::from_millis).collect();
        let Quantiles { p50, p90, p99, max } = Quantiles::of(hundred);
        assert_eq!((p50, p90, p99, max), (50.0, 90.0, 99.0, 100.0));
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    }
}
