//! A stream of server-sent events: chunks as they come, `[DONE]` at the end. Knows framing, not what is said.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_core::Stream;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::answers::News;
use crate::error::ApiError;
use crate::response::{Head, Usage};

/// A comment goes out when nothing else did for so long: proxies cut what is silent.
const SILENCE: Duration = Duration::from_secs(10);

/// The body of an answer.
pub(crate) struct Events {
    head: Head,
    /// None once all has been said.
    news: Option<UnboundedReceiver<News>>,
    /// Choices that have not begun yet, and those that have not ended.
    begin: bool,
    left: usize,
    samples: usize,
    usage: Usage,
    include_usage: bool,
    silence: Interval,
}

impl Events {
    /// `prompt_tokens`, where usage is wanted.
    pub(crate) fn new(
        head: Head,
        news: UnboundedReceiver<News>,
        samples: usize,
        prompt_tokens: Option<usize>,
    ) -> Events {
        let mut silence = interval_at(tokio::time::Instant::now() + SILENCE, SILENCE);
        silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Events {
            head,
            news: Some(news),
            begin: true,
            left: samples,
            samples,
            usage: Usage {
                prompt: prompt_tokens.unwrap_or(0),
                completion: 0,
            },
            include_usage: prompt_tokens.is_some(),
            silence,
        }
    }

    fn write(&mut self, news: News, text: &mut String) {
        if std::mem::take(&mut self.begin) && !matches!(news, News::Failed(_)) {
            for choice in 0..self.samples {
                event(text, self.head.begin(choice).as_ref());
            }
        }
        match news {
            News::Piece {
                choice,
                kind,
                text: piece,
                words,
            } => event(text, self.head.piece(choice, kind, &piece, &words).as_ref()),
            News::Finished { choice, finish, tokens } => {
                self.left -= 1;
                self.usage.completion += tokens;
                event(text, Some(&self.head.end(choice, finish)));
            }
            News::Failed(error) => {
                self.news = None;
                event(text, Some(&error.to_json()));
            }
        }
    }

    fn close(&mut self, text: &mut String) {
        self.news = None;
        if self.left > 0 {
            event(text, Some(&ApiError::ending().to_json()));
            return;
        }
        if self.include_usage {
            event(text, Some(&self.head.usage(self.usage)));
        }
        text.push_str("data: [DONE]\n\n");
    }
}

/// JSON has no raw line ends, so one line holds it.
fn event(text: &mut String, data: Option<&Value>) {
    if let Some(data) = data {
        write!(text, "data: {data}\n\n").expect("a String takes everything");
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut text = String::new();
        // What has come meanwhile goes out together.
        loop {
            let Some(news) = &mut self.news else {
                if text.is_empty() {
                    return Poll::Ready(None);
                }
                break;
            };
            match news.poll_recv(context) {
                Poll::Ready(Some(news)) => self.write(news, &mut text),
                Poll::Ready(None) => self.close(&mut text),
                Poll::Pending => break,
            }
        }
        if text.is_empty() {
            if self.silence.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            text.push_str(": waiting\n\n");
        } else {
            self.silence.reset();
        }
        Poll::Ready(Some(Ok(Bytes::from(text))))
    }
}
