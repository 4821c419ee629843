//! `/api/v1`: what operators ask of a running process, as JSON.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;

use super::{Observed, json, refuse};
use crate::reload::{Refusal, Reloaded, Trigger};

pub(super) fn router() -> Router<Observed> {
    Router::new()
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/targets/{name}", get(target))
        .route("/api/v1/reload", post(reload))
}

/// Reads the configuration again, and says what has changed, or why it has not.
async fn reload(State(observed): State<Observed>) -> Response {
    let Some(reloads) = &observed.reloads else {
        return refuse(StatusCode::NOT_FOUND, "this process has no configuration that could be read again");
    };
    let refusal = match reloads.answer(Trigger::Api).await {
        Ok(Reloaded { hash, changes, .. }) => {
            return json(StatusCode::OK, &serde_json::json!({ "hash": hash, "changes": changes }));
        }
        Err(refusal) => refusal,
    };
    const STAYS: &str = "the configuration was not reloaded; the one before stays in force";
    match refusal {
        Refusal::Faulty(faults) => {
            let answer = serde_json::json!({ "error": STAYS, "faults": faults });
            json(StatusCode::UNPROCESSABLE_ENTITY, &answer)
        }
        Refusal::NeedsRestart(keys) => {
            let error = format!("{STAYS}: {keys}");
            json(StatusCode::CONFLICT, &serde_json::json!({ "error": error, "needs_restart": keys.0 }))
        }
        Refusal::Unusable(fault) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("{STAYS}: {fault}")),
        Refusal::Stopping => refuse(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
    }
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
