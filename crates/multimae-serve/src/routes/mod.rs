//! The routes: what is admitted, and how.

mod access;
mod adapters;
mod errors;
mod example;
mod predict;
mod reconstruct;
mod status;
mod upload;

#[cfg(fuzzing)]
pub use upload::read_body;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use multimae_infer::visualize::Pretrained;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::FrameAnswer;
use crate::config::ServerConfig;
use crate::error::Problem;
use crate::example::Rooms;
use crate::queue::{Queue, Refusal};
use crate::results::Results;
use crate::workers::Workers;

/// The state that the routes share.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub(crate) struct Shared {
    config: ServerConfig,
    queue: Queue,
    pretrained: Option<Arc<Pretrained>>,
    permits: Arc<Semaphore>,
    workers: Workers,
    /// One thread, so that adapters are loaded one after the other.
    loader: Workers,
    results: Results<FrameAnswer>,
    rooms: Rooms,
}

impl App {
    /// An application over a queue; `pretrained` is the model of /v1/reconstruct.
    #[must_use]
    pub fn new(config: ServerConfig, queue: Queue, pretrained: Option<Arc<Pretrained>>) -> Self {
        let permits = Arc::new(Semaphore::new(config.permits));
        let workers = Workers::new(config.workers, queue.metrics().clone());
        let loader = Workers::new(1, queue.metrics().clone());
        let results = Results::new(config.max_kept, config.kept_for);
        Self(Arc::new(Shared {
            config,
            queue,
            pretrained,
            permits,
            workers,
            loader,
            results,
            rooms: Rooms::default(),
        }))
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.0.config
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    fn pretrained(&self) -> Option<&Arc<Pretrained>> {
        self.0.pretrained.as_ref()
    }

    fn workers(&self) -> &Workers {
        &self.0.workers
    }

    fn loader(&self) -> &Workers {
        &self.0.loader
    }

    pub(crate) fn results(&self) -> &Results<FrameAnswer> {
        &self.0.results
    }

    fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    /// A permit to decode and compute, or a refusal at once.
    fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0.permits).try_acquire_owned().map_err(|_| {
            self.queue().metrics().dropped("overload");
            let text = "the server is at its limit of requests (--permits); try again later";
            let seconds = self.queue().backlog().as_secs_f64().ceil().max(1.0) as u64;
            Problem {
                retry_after: Some(seconds),
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "overload", text)
            }
        })
    }

    /// When a request must be answered: after what the client gives it, or the server's own deadline.
    fn deadline(&self, headers: &HeaderMap) -> Result<Instant, Problem> {
        let most = self.config().deadline;
        let given = match headers.get("x-deadline-ms") {
            None => most,
            Some(value) => {
                let text = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                let wrong = || Problem::malformed("X-Deadline-Ms: a whole number of milliseconds");
                Duration::from_millis(text.ok_or_else(wrong)?).min(most)
            }
        };
        Ok(Instant::now() + given)
    }
}

/// The answer to a request that was not computed.
fn refused(refusal: Refusal) -> Problem {
    let text = refusal.to_string();
    let unavailable = |code| Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, text.clone());
    match refusal {
        Refusal::Expired => Problem::late(),
        Refusal::Failed(_) => Problem::unfit(text),
        Refusal::TooLarge { .. } => Problem::too_large(text),
        Refusal::Panicked => Problem::internal(text),
        Refusal::Down(_) => Problem { retry_after: Some(1), ..unavailable("engine") },
        Refusal::Closed => unavailable("closed"),
    }
}

/// The router.
pub fn app(state: App) -> Router {
    let limit = DefaultBodyLimit::max(state.config().max_body);
    Router::new()
        .route("/", get(status::page))
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/info", get(status::info))
        .route("/metrics", get(status::metrics))
        .route("/openapi.json", get(status::openapi))
        .route("/docs", get(status::docs))
        .route("/v1/predict", post(predict::predict))
        .route("/v1/reconstruct", post(reconstruct::reconstruct))
        .route("/v1/example/{input}", get(example::example))
        .route("/v1/results/{id}/{file}", get(predict::result))
        .route("/v1/adapters", get(adapters::list).post(adapters::load))
        .route("/v1/adapters/{name}", delete(adapters::unload))
        .layer(limit)
        .layer(from_fn_with_state(state.clone(), guard))
        .with_state(state)
}

/// Checks access, turns panics into answers, explains errors as JSON, and counts responses.
async fn guard(State(state): State<App>, request: Request, next: Next) -> Response {
    let route = known_route(request.uri().path());
    let access = access::check(state.config(), route, &request);
    let response = match access {
        Err(problem) => problem.into_response(),
        Ok(()) => match errors::CatchPanic::new(next.run(request)).await {
            Some(response) => errors::explained(response).await,
            None => {
                state.queue().metrics().panicked("route");
                Problem::internal("the request panicked; see the log of the server").into_response()
            }
        },
    };
    state.queue().metrics().response(route, response.status().as_u16());
    response
}

/// The route of a path, so that paths of clients make no counters of their own.
fn known_route(path: &str) -> &'static str {
    let routes = crate::openapi::ROUTES.iter().map(|route| route.path);
    let fits = |route: &&str| match route.split_once('{') {
        None => *route == path,
        Some((front, _)) => path.starts_with(front),
    };
    routes
        .clone()
        .find(|route| !route.contains('{') && fits(route))
        .or_else(|| routes.clone().find(fits))
        .unwrap_or("other")
}
