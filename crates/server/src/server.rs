//! The life of a server: a port, a thread for HTTP, the model on the caller's thread, an orderly end.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ferrochat_chat::Engine;
use ferrochat_model::Gpt;
use ferrochat_tokenizer::Tokenizer;
use tokio::sync::{Semaphore, watch};

use crate::answers::{self, Status};
use crate::api::App;
use crate::error::ServerError;
use crate::{Options, ServerInfo, api, connections};

/// A server that has its port.
pub struct Server {
    options: Options,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the port. Whoever connects now waits until [`Server::run`] begins.
    ///
    /// # Errors
    /// [`ServerError::Taken`] or [`ServerError::Listen`].
    pub fn bind(options: Options) -> Result<Server, ServerError> {
        let shown = if options.host.contains(':') {
            format!("[{}]:{}", options.host, options.port)
        } else {
            format!("{}:{}", options.host, options.port)
        };
        let bound = TcpListener::bind((options.host.as_str(), options.port));
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => Ok(Server {
                options,
                listener,
                address,
            }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => Err(ServerError::Taken(shown)),
            Err(source) => Err(ServerError::Listen { address: shown, source }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is true, which is looked at between two tokens and every 50 ms. Answers in progress may
    /// then go on for [`Options::grace`].
    ///
    /// # Errors
    /// [`ServerError::Model`] if model and tokenizer do not belong together, [`ServerError::Serve`] if the
    /// system gives no thread.
    pub fn run(
        self,
        gpt: &Gpt,
        tokenizer: &Arc<Tokenizer>,
        info: ServerInfo,
        stop: impl Fn() -> bool,
    ) -> Result<(), ServerError> {
        let address = self.address;
        let failed = |source| ServerError::Serve { address, source };
        let engine = Engine::new(gpt, tokenizer)?.with_tool(self.options.tool.clone());
        self.listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let (sender, jobs) = mpsc::channel();
        let (end, ended) = watch::channel(false);
        let status = Arc::new(Status::default());
        let (at_once, grace) = (self.options.at_once.max(1), self.options.grace);
        let max_connections = self.options.max_connections;
        let app = App {
            places: Arc::new(Semaphore::new(at_once + self.options.max_queue)),
            options: self.options,
            info,
            tokenizer: Arc::clone(tokenizer),
            context: gpt.config().sequence_len,
            jobs: sender,
            status: Arc::clone(&status),
        };
        let http = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(connections::serve(
                self.listener,
                api::router(app),
                ended,
                max_connections,
            ))
        });
        let http = http.map_err(failed)?;
        answers::answer(&engine, tokenizer, at_once, &jobs, &status, grace, &stop);
        drop(jobs);
        // The thread may have ended by itself; then nobody listens.
        let _ = end.send(true);
        match http.join() {
            Ok(served) => served.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Time for the last bytes of answers to leave.
pub(crate) const LAST_BYTES: Duration = Duration::from_secs(2);
