//! The HTTP side: OpenAI's API, health and metrics.

pub mod error;

mod answer;
mod chat;
mod completions;
mod fields;
mod objects;
mod reply;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use tokio::time::timeout;

use super::Shared;
use answer::answer;
use chat::ChatRequest;
use completions::CompletionRequest;
use error::ApiError;
use fields::Body;

/// How long a client may take over a body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What a client can ask to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The reply to a conversation.
    Chat,
    /// What follows a prompt.
    Completions,
}

impl Endpoint {
    /// Where it is found.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

/// All routes; bodies have at most `max_body` bytes.
pub fn router(shared: Arc<Shared>, max_body: usize) -> Router {
    Router::new()
        .route(Endpoint::Chat.path(), post(chat))
        .route(Endpoint::Completions.path(), post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route_layer(middleware::from_fn_with_state(shared.clone(), authorize))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(max_body))
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

type Answer = Result<Response, ApiError>;

async fn chat(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let arrived = Instant::now();
    let body = read(request).await?;
    answer::<ChatRequest>(shared, Endpoint::Chat, arrived, body).await
}

async fn completions(State(shared): State<Arc<Shared>>, request: Request) -> Answer {
    let arrived = Instant::now();
    let body = read(request).await?;
    answer::<CompletionRequest>(shared, Endpoint::Completions, arrived, body).await
}

/// The JSON body of a request.
async fn read(request: Request) -> Result<Body, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // A page of another origin cannot send this type without asking first.
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(ApiError::other(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the body must be application/json, got {kind:?}"),
        ));
    }
    let body = timeout(BODY_TIME, Bytes::from_request(request, &())).await;
    let late = |_| ApiError::other(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let body = body.map_err(late)?;
    let body = body.map_err(|e| ApiError::other(e.status(), e.body_text()))?;
    Body::parse(&body)
}

async fn models(State(shared): State<Arc<Shared>>) -> Response {
    let list = json!({"object": "list", "data": [shared.model.card()]});
    Json(list).into_response()
}

async fn model(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Answer {
    shared.model.check_name(Some(&name))?;
    Ok(Json(shared.model.card()).into_response())
}

async fn health(State(shared): State<Arc<Shared>>) -> Answer {
    shared.check_fault()?;
    Ok(Json(json!({"status": "ok"})).into_response())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Answer {
    shared.metrics.text(shared.gate.taken())
}

async fn no_route(uri: Uri) -> ApiError {
    let message = format!("there is nothing at {}", uri.path());
    ApiError::other(StatusCode::NOT_FOUND, message)
}

async fn no_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::other(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// Refuses a request without the key, where one is needed.
async fn authorize(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match &shared.api_key {
        Some(key) if !given.is_some_and(|given| equal(given, key.as_bytes())) => {
            ApiError::unauthorized().into_response()
        }
        _ => next.run(request).await,
    }
}

/// Looks at all bytes, so that the time tells nothing of where two keys differ.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// Counts responses by their status.
async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    shared.metrics.note_response(response.status().as_u16());
    response
}
