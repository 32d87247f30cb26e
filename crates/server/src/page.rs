//! The chat page: the files of `web/`, embedded, and what they show of the model.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::api::App;

pub(crate) fn routes() -> Router<Arc<App>> {
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move {
            (
                [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")],
                text,
            )
        })
    };
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("../../../web/index.html")),
        )
        .route(
            "/chat.css",
            file("text/css; charset=utf-8", include_str!("../../../web/chat.css")),
        )
        .route(
            "/chat.js",
            file("text/javascript; charset=utf-8", include_str!("../../../web/chat.js")),
        )
        .route(
            "/markdown.js",
            file(
                "text/javascript; charset=utf-8",
                include_str!("../../../web/markdown.js"),
            ),
        )
        .route(
            "/icon.svg",
            file("image/svg+xml", include_str!("../../../web/icon.svg")),
        )
        .route("/info", get(info))
}

/// What the page says and offers.
async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let (info, options) = (&app.info, &app.options);
    Json(json!({
        "title": info.title,
        "summary": info.summary,
        "suggestions": info.suggestions,
        "model": info.model_id,
        "needs_key": options.api_key.is_some(),
        "defaults": {
            "temperature": options.defaults.temperature,
            "top_k": options.defaults.top_k,
            "max_tokens": options.defaults.max_tokens,
        },
        "limits": {
            "temperature": options.limits.temperature,
            "top_k": options.limits.top_k,
            "max_tokens": options.limits.max_tokens,
            "message_chars": options.limits.message_chars,
        },
    }))
}
