//! What goes wrong: starting the server, and answering a request. Knows statuses and sentences only.

use std::net::SocketAddr;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another program listens there.
    #[error("cannot listen on {0}: another program does already")]
    Taken(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As it was asked for.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system refuses what any server needs.
    #[error("cannot serve on {address}: {source}")]
    Serve {
        /// Where it listens.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Model and tokenizer do not belong together.
    #[error(transparent)]
    Model(#[from] ferrochat_chat::ChatError),
}

/// A request that gets no answer, as OpenAI's clients understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// What clients can tell apart; the status does for most.
    pub(crate) code: Option<&'static str>,
    /// The field at fault.
    pub(crate) param: Option<&'static str>,
    pub(crate) message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            code,
            param: None,
            message: message.into(),
        }
    }

    /// 400, with the field at fault.
    pub(crate) fn field(param: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            param: Some(param),
            ..ApiError::new(StatusCode::BAD_REQUEST, None, message)
        }
    }

    /// 400
    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, None, message)
    }

    /// 400 for what the model cannot read.
    pub(crate) fn too_long(param: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code: Some("context_length_exceeded"),
            ..ApiError::field(param, message)
        }
    }

    /// 401
    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            Some("invalid_api_key"),
            "this server wants its API key as \"Authorization: Bearer KEY\"; the one given is missing or wrong",
        )
    }

    /// 403
    pub(crate) fn forbidden(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, Some(code), message)
    }

    /// 404 for a path.
    pub(crate) fn no_such_path(path: &str) -> ApiError {
        ApiError::new(
            StatusCode::NOT_FOUND,
            Some("not_found"),
            format!(
                "there is no {path:?} here; the API is at /v1/chat/completions, /v1/completions and /v1/models, the page at /"
            ),
        )
    }

    /// 404 for a model.
    pub(crate) fn no_such_model(asked: &str, there: &str) -> ApiError {
        ApiError {
            param: Some("model"),
            ..ApiError::new(
                StatusCode::NOT_FOUND,
                Some("model_not_found"),
                format!("there is no model {asked:?} here; this server has {there:?}"),
            )
        }
    }

    /// 405
    pub(crate) fn wrong_method(method: &str, path: &str) -> ApiError {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Some("method_not_allowed"),
            format!("{path} does not take {method}"),
        )
    }

    /// 408
    pub(crate) fn slow_body() -> ApiError {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            Some("timeout"),
            "the rest of the request did not arrive in time",
        )
    }

    /// 413
    pub(crate) fn too_large(limit: usize) -> ApiError {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Some("request_too_large"),
            format!("the request is larger than {limit} bytes"),
        )
    }

    /// 429
    pub(crate) fn queue_full(waiting: usize) -> ApiError {
        ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            Some("queue_full"),
            format!("{waiting} requests are waiting already; try again in a moment"),
        )
    }

    /// 503
    pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, Some("unavailable"), message)
    }

    /// 503 while the server ends.
    pub(crate) fn ending() -> ApiError {
        ApiError::unavailable("the server is shutting down")
    }

    /// `{"error": {"message", "type", "param", "code"}}`
    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
