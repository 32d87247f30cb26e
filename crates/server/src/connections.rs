//! From a listener to requests: so many connections at once, no patience with those that say nothing, and
//! an end at which answers are finished. Knows sockets, not what is asked.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::server::LAST_BYTES;

/// Time for the head of a request to arrive, from the connection's beginning or from the answer before.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Accepts until `end` changes.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    mut end: watch::Receiver<bool>,
    max_connections: usize,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(max_connections.max(1)));
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = end.changed() => break,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Some((stream, place)) => {
                open.spawn(connection(stream, router.clone(), end.clone(), place));
            }
            // Out of file descriptors, mostly; they come back.
            None => sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    // What is left after that is cut.
    let _ = timeout(LAST_BYTES, all).await;
    Ok(())
}

async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    // Tokens are small; none should wait for another.
    let _ = stream.set_nodelay(true);
    Some((stream, place))
}

async fn connection(stream: TcpStream, router: Router, mut end: watch::Receiver<bool>, _place: OwnedSemaphorePermit) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    // A connection that breaks is its client's affair.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = end.changed() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}
