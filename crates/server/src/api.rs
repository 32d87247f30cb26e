//! The paths: which there are, and how a request becomes a job for the model. Knows HTTP and prompts, not
//! how answers are made.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use ferrochat_chat::{Conversation, Part, Request, Role, prompt};
use ferrochat_tokenizer::Tokenizer;
use futures_core::Stream as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::answers::{Job, News, Status};
use crate::error::ApiError;
use crate::request::{Asked, Subject};
use crate::response::{Choice, Form, Head, Usage};
use crate::stream::Events;
use crate::{Options, ServerInfo, guard, page};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) info: ServerInfo,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// Tokens that the model can read.
    pub(crate) context: usize,
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Places in the queue and at work together.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) status: Arc<Status>,
}

pub(crate) fn router(app: App) -> Router {
    let app = Arc::new(app);
    let wrong_method = |method: Method, uri: Uri| async move { ApiError::wrong_method(method.as_str(), uri.path()) };
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .merge(page::routes())
        .method_not_allowed_fallback(wrong_method)
        .fallback(|uri: Uri| async move { ApiError::no_such_path(uri.path()) })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let status = &app.status;
    if status.ending.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "ending"}))).into_response();
    }
    Json(json!({
        "status": "ok",
        "model": app.info.model_id,
        "writing": status.writing.load(Ordering::Relaxed),
        "waiting": status.waiting.load(Ordering::Relaxed),
    }))
    .into_response()
}

/// Counters as Prometheus reads them.
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let status = &app.status;
    let mut text = String::new();
    for (name, kind, help, value) in [
        (
            "requests_total",
            "counter",
            "Requests taken",
            status.requests.load(Ordering::Relaxed),
        ),
        (
            "tokens_total",
            "counter",
            "Tokens decoded",
            status.tokens.load(Ordering::Relaxed),
        ),
        (
            "writing",
            "gauge",
            "Answers being written",
            status.writing.load(Ordering::Relaxed),
        ),
        (
            "waiting",
            "gauge",
            "Answers not begun",
            status.waiting.load(Ordering::Relaxed),
        ),
    ] {
        let name = format!("ferrochat_{name}");
        write!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}\n")
            .expect("a String takes everything");
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"object": "list", "data": [app.model_object()]}))
}

async fn model(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    app.check_model(&id)?;
    Ok(Json(app.model_object()))
}

async fn chat_completions(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    answer(&app, Form::Chat, &headers, body).await
}

async fn completions(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    answer(&app, Form::Text, &headers, body).await
}

async fn answer(app: &App, form: Form, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse().ok()).unwrap_or(0);
    let body = read(body, announced, app).await?;
    let asked = Asked::read(form, &body, &app.options.limits, &app.options.defaults)?;
    if let Some(model) = &asked.model {
        app.check_model(model)?;
    }
    let head = Head::new(form, &app.info.model_id);
    let (stream, include_usage, samples) = (asked.stream, asked.include_usage, asked.samples);
    let choices = vec![Choice::new(asked.logprobs.is_some()); samples];
    let (prompt_tokens, news) = app.submit(asked)?;
    if stream {
        let events = Events::new(head, news, samples, include_usage.then_some(prompt_tokens));
        return Ok((
            [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")],
            Body::from_stream(events),
        )
            .into_response());
    }
    Ok(Json(whole(&head, news, choices, prompt_tokens).await?).into_response())
}

/// Waits for all of the answers, which begin as empty `choices`.
async fn whole(
    head: &Head,
    mut news: UnboundedReceiver<News>,
    mut choices: Vec<Choice>,
    prompt: usize,
) -> Result<Value, ApiError> {
    let mut usage = Usage { prompt, completion: 0 };
    while let Some(news) = news.recv().await {
        match news {
            News::Piece {
                choice,
                kind,
                text,
                words,
            } => choices[choice].push(kind, &text, words),
            News::Finished { choice, finish, tokens } => {
                choices[choice].finish = Some(finish);
                usage.completion += tokens;
            }
            News::Failed(error) => return Err(error),
        }
    }
    if choices.iter().any(|choice| choice.finish.is_none()) {
        return Err(ApiError::ending());
    }
    Ok(head.completion(&choices, usage))
}

/// All of a body that is not too large. The rest of one that is too large is read and forgotten, up to a point: clients
/// that are cut off while they talk do not hear why.
async fn read(body: Body, announced: usize, app: &App) -> Result<Vec<u8>, ApiError> {
    let limit = app.options.limits.body_bytes;
    let patience = limit.saturating_mul(16);
    if announced > patience {
        return Err(ApiError::too_large(limit));
    }
    let mut stream = body.into_data_stream();
    let collect = async {
        let (mut bytes, mut length) = (Vec::new(), 0);
        while let Some(piece) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            let piece = piece.map_err(|error| ApiError::bad_request(format!("the request broke off: {error}")))?;
            length += piece.len();
            if length <= limit {
                bytes.extend_from_slice(&piece);
            } else if length > patience {
                break;
            }
        }
        if length > limit {
            return Err(ApiError::too_large(limit));
        }
        Ok(bytes)
    };
    let collected = tokio::time::timeout(app.options.limits.body_time, collect).await;
    collected.unwrap_or_else(|_| Err(ApiError::slow_body()))
}

impl App {
    fn model_object(&self) -> Value {
        json!({"id": self.info.model_id, "object": "model", "created": 0, "owned_by": "ferrochat"})
    }

    fn check_model(&self, asked: &str) -> Result<(), ApiError> {
        if asked == self.info.model_id {
            Ok(())
        } else {
            Err(ApiError::no_such_model(asked, &self.info.model_id))
        }
    }

    /// Puts a request into the queue. Returns the length of its prompt, and where its answers come out.
    fn submit(&self, asked: Asked) -> Result<(usize, UnboundedReceiver<News>), ApiError> {
        if self.status.ending.load(Ordering::SeqCst) {
            return Err(ApiError::ending());
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| ApiError::queue_full(self.options.max_queue))?;
        let prompt = match &asked.subject {
            Subject::Conversation(conversation) => self.prompt(conversation, asked.max_tokens)?,
            Subject::Text(text) => self.beginning(text)?,
        };
        let tokens = prompt.len();
        let (sender, news) = tokio::sync::mpsc::unbounded_channel();
        let job = Job {
            request: Request {
                prompt,
                samples: asked.samples,
                max_tokens: asked.max_tokens,
                sampling: asked.sampling,
                stream: 0,
                likelihoods: asked.logprobs,
            },
            stops: asked.stops,
            deadline: Instant::now() + self.options.limits.answer_time,
            news: sender,
            _place: place,
        };
        self.jobs.send(job).map_err(|_| ApiError::ending())?;
        Ok((tokens, news))
    }

    /// The ids of a text that is to go on.
    fn beginning(&self, text: &str) -> Result<Vec<u32>, ApiError> {
        if let Some((_, character)) = self.tokenizer.unknown_character(text) {
            return Err(ApiError::field(
                "prompt",
                format!(
                    "the prompt has the character {character:?}, which is not in this model's character vocabulary"
                ),
            ));
        }
        let ids = self.info.text_start.prompt(&self.tokenizer, text);
        if ids.len() > self.context {
            return Err(ApiError::too_long(
                "prompt",
                format!(
                    "the prompt has {} tokens and the model reads {} at most; make it shorter",
                    ids.len(),
                    self.context
                ),
            ));
        }
        Ok(ids)
    }

    fn prompt(&self, conversation: &Conversation, max_tokens: usize) -> Result<Vec<u32>, ApiError> {
        for (index, message) in conversation.messages.iter().enumerate() {
            for text in message.parts.iter().map(Part::text) {
                if let Some((_, character)) = self.tokenizer.unknown_character(text) {
                    return Err(ApiError::field(
                        "messages",
                        format!(
                            "message {} has the character {character:?}, which is not in this model's character \
                             vocabulary",
                            index + 1
                        ),
                    ));
                }
            }
        }
        let last = conversation.messages.last();
        if last.is_some_and(|message| message.role == Role::Assistant) {
            return Err(ApiError::field(
                "messages",
                "the last message is from the assistant; it must be from the user",
            ));
        }
        // The answer should fit into the context, too; for a long question that is given up.
        let reserved = max_tokens.min(self.context / 2);
        prompt(conversation, &self.tokenizer, self.context - reserved)
            .or_else(|_| prompt(conversation, &self.tokenizer, self.context))
            .map_err(|error| ApiError::too_long("messages", error.to_string()))
    }
}
