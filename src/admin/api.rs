//! `/api/v1`: what operators ask of a running process, as JSON.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::{Observed, json, refuse};

pub(super) fn router() -> Router<Observed> {
    Router::new().route("/api/v1/targets", get(targets)).route("/api/v1/targets/{name}", get(target))
}

async fn targets(State(observed): State<Observed>) -> Response {
    #[derive(Serialize)]
    struct Targets<'a, T> {
        targets: &'a [T],
    }
    json(StatusCode::OK, &Targets { targets: &observed.targets.read() })
}

async fn target(State(observed): State<Observed>, Path(name): Path<String>) -> Response {
    match observed.targets.read().iter().find(|target| target.name == name) {
        Some(target) => json(StatusCode::OK, target),
        None => refuse(StatusCode::NOT_FOUND, "there is no target of this name; /api/v1/targets lists all"),
    }
}
