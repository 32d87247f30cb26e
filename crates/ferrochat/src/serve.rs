//! `serve`: a model for browsers and OpenAI clients. From flags to a server; HTTP is the server crate's business.

use anyhow::Result;
use ferrochat_server::{Options, Server, ServerError, ServerInfo};

use crate::about::About;
use crate::cli::ServeArgs;
use crate::errors::{refuse, usage};
use crate::home::Home;
use crate::interrupt::Interrupt;
use crate::{model, output, python};

/// `serve`
///
/// # Errors
/// No such model, flags that cannot work, or a port that is taken.
pub fn command(home: &Home, args: ServeArgs) -> Result<()> {
    check(&args)?;
    let model = args.model.resolve(home)?;
    let options = Options {
        host: args.host,
        port: args.port,
        api_key: args.api_key,
        allowed_hosts: args.allow_host,
        at_once: args.batch,
        max_queue: args.max_queue,
        tool: python::tool_only(args.python)?,
        ..Options::default()
    };
    let open_to_all = options.api_key.is_none();
    // The port comes first: a large model takes its time to load, and the wrong port should not cost it.
    let server = Server::bind(options).map_err(|error| match error {
        ServerError::Taken(_) => usage(format!(
            "{error}; choose another port with --port, or --port 0 for any that is free"
        )),
        error => usage(error),
    })?;
    let interrupt = Interrupt::listen()?;
    let trained = model::load_to_talk(home, &model)?;
    let about = About::of(&model.run, &trained)?;
    let info = ServerInfo {
        title: about.title,
        summary: about.summary,
        suggestions: about.suggestions,
        model_id: format!("{}-{}", model.run, trained.stage),
        text_start: trained.start,
    };
    let address = server.address();
    if open_to_all && !address.ip().is_loopback() {
        eprintln!("note: anybody who reaches {address} can use this model; --api-key asks them for a key");
    }
    let shown = if address.ip().is_unspecified() {
        format!("http://localhost:{} and every address of this machine", address.port())
    } else {
        format!("http://{address}")
    };
    output::print(&format!(
        "{}\nserving on {shown} (the page at /, the API at /v1, model {:?}); Ctrl-C ends it\n",
        info.title, info.model_id
    ))?;
    let served = server.run(&trained.gpt, &trained.tokenizer, info, || {
        interrupt.requested().is_some()
    });
    Ok(served?)
}

fn check(args: &ServeArgs) -> Result<()> {
    if let Some(key) = &args.api_key
        && (key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        refuse!("--api-key must be one or more letters, digits and signs without spaces: it travels in a header");
    }
    if args.batch == 0 || args.batch > 1024 {
        refuse!("--batch {} is out of range; it must be from 1 to 1024", args.batch);
    }
    if args.max_queue > 100_000 {
        refuse!(
            "--max-queue {} is out of range; it must be at most 100000",
            args.max_queue
        );
    }
    Ok(())
}
