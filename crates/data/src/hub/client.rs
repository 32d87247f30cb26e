//! Requests over HTTP: one TLS stack, redirects followed by hand so that the token stays with the host it is for.
//! This room knows addresses and headers, never files.

use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::error::{Fault, HubError};
use super::folder;
use super::retry::{Attempts, Retry, retry_after, sleep};

/// More redirects than this are a circle.
const REDIRECTS: usize = 8;
/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
const CONNECTING: Duration = Duration::from_secs(15);
/// The hub makes some lists only when they are asked for.
const ANSWERING: Duration = Duration::from_mins(1);
/// A list of files is not longer than this.
const LIST_BYTES: u64 = 64 << 20;

/// Where the hub is, and who asks.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// Sent to the endpoint and to no other host.
    pub token: Option<String>,
    /// Certificates to trust instead of those that come with the program: a PEM file.
    pub certificates: Option<std::path::PathBuf>,
    /// Whether `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured.
    pub proxies: bool,
}

impl HubSettings {
    /// `HF_ENDPOINT`, `HF_TOKEN` and `SSL_CERT_FILE`; proxies come from `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and
    /// `NO_PROXY`.
    ///
    /// # Errors
    /// [`HubError::Request`] for an endpoint that is no address or a token that no header can carry.
    pub fn from_environment() -> Result<HubSettings, HubError> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if origin(&endpoint).is_none() {
            return Err(HubError::Request(format!(
                "HF_ENDPOINT is {endpoint:?}; it must begin with https:// or http://"
            )));
        }
        let token = variable("HF_TOKEN");
        if token
            .as_ref()
            .is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(HubError::Request(
                "HF_TOKEN holds characters that no token has; set it again, or unset it".to_owned(),
            ));
        }
        Ok(HubSettings {
            endpoint,
            token,
            certificates: variable("SSL_CERT_FILE").map(Into::into),
            proxies: true,
        })
    }
}

/// Asks servers.
pub(super) struct Client {
    agent: Agent,
    pub(super) endpoint: String,
    token: Option<String>,
}

/// What a server answered.
pub(super) struct Reply {
    pub(super) status: u16,
    /// Checksum or name of the contents, as the hub itself says before it sends one elsewhere.
    pub(super) linked_etag: Option<String>,
    /// Length of the contents, said likewise.
    pub(super) linked_bytes: Option<u64>,
    /// The commit that the revision stood for.
    pub(super) commit: Option<String>,
    headers: HeaderMap,
    body: Body,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn into_reader(self) -> impl Read {
        self.body.into_reader()
    }
}

/// Where to go on from.
pub(super) struct From<'a> {
    pub(super) byte: u64,
    /// What the contents must still be called, where that is known.
    pub(super) validator: Option<&'a str>,
}

impl Client {
    pub(super) fn new(settings: &HubSettings) -> Result<Client, HubError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            let pem = std::fs::read(path).map_err(|error| HubError::io(path, error))?;
            let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(HubError::Request(format!(
                    "SSL_CERT_FILE: {} holds no certificate in PEM form",
                    path.display()
                )));
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let proxy = settings.proxies.then(ureq::Proxy::try_from_env).flatten();
        let config = Agent::config_builder()
            .proxy(proxy)
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("ferrochat/", env!("CARGO_PKG_VERSION")))
            // A compressed answer could not be gone on with.
            .accept_encoding("identity")
            .timeout_connect(Some(CONNECTING))
            .timeout_recv_response(Some(ANSWERING))
            .timeout_per_read(Some(SILENCE))
            .build();
        Ok(Client {
            agent: config.new_agent(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
        })
    }

    /// Asks for what lies at an address, or for what follows a part of it.
    pub(super) fn get(&self, address: &str, from: Option<&From>) -> Result<Reply, Fault> {
        self.send("GET", address, from)
    }

    fn send(&self, method: &str, address: &str, from: Option<&From>) -> Result<Reply, Fault> {
        // Only what was asked for may be a file here, never what a server sends one to.
        if let Some(path) = address.strip_prefix(folder::SCHEME) {
            let (parts, body) = folder::answer(path, from)?.into_parts();
            return Ok(Reply {
                status: parts.status.as_u16(),
                linked_etag: None,
                linked_bytes: None,
                commit: None,
                headers: parts.headers,
                body,
            });
        }
        let mut address = address.to_owned();
        let (mut linked_etag, mut linked_bytes, mut commit) = (None, None, None);
        for _ in 0..REDIRECTS {
            let response = self.once(method, &address, from)?;
            let said = |name: &str| {
                let value = response.headers().get(name)?;
                value.to_str().ok().map(ToOwned::to_owned)
            };
            // Later hosts may not overrule the first.
            linked_etag = linked_etag.or_else(|| said("x-linked-etag").map(|etag| bare(&etag).to_owned()));
            linked_bytes = linked_bytes.or_else(|| said("x-linked-size").and_then(|bytes| bytes.parse().ok()));
            commit = commit.or_else(|| said("x-repo-commit"));
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let (parts, body) = response.into_parts();
                return Ok(Reply {
                    status,
                    linked_etag,
                    linked_bytes,
                    commit,
                    headers: parts.headers,
                    body,
                });
            }
            let location = said("location")
                .ok_or_else(|| Fault::passing(format!("{} sends elsewhere and does not say where", host(&address))))?;
            let next = join(&address, &location).ok_or_else(|| {
                Fault::Final(format!("{} sends to {location:?}, which is no address", host(&address)))
            })?;
            if address.starts_with("https:") && next.starts_with("http:") {
                return Err(Fault::Final(format!(
                    "{} sends to {}, which is not encrypted; that is not followed",
                    host(&address),
                    host(&next)
                )));
            }
            address = next;
        }
        Err(Fault::Final(format!("{} sends in circles", host(&address))))
    }

    fn once(&self, method: &str, address: &str, from: Option<&From>) -> Result<Response<Body>, Fault> {
        let mut request = match method {
            "HEAD" => self.agent.head(address),
            _ => self.agent.get(address),
        };
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|_| origin(address) == origin(&self.endpoint))
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(from) = from {
            request = request.header("range", format!("bytes={}-", from.byte));
            if let Some(validator) = from.validator {
                request = request.header("if-range", validator);
            }
        }
        request.call().map_err(|error| fault(address, &error))
    }

    /// The length and checksum of what lies at an address: `None` if there is nothing.
    pub(super) fn head(&self, address: &str, retry: Retry, stop: &AtomicBool) -> Result<Option<Reply>, HubError> {
        self.patiently(address, retry, stop, || self.send("HEAD", address, None))
    }

    /// A text, such as a list of files, and the address of the list's next page; `None` if there is nothing.
    pub(super) fn text(
        &self,
        address: &str,
        retry: Retry,
        stop: &AtomicBool,
    ) -> Result<Option<(String, Option<String>)>, HubError> {
        let mut text = String::new();
        let found = self.patiently(address, retry, stop, || {
            let reply = self.get(address, None)?;
            if reply.status != 200 {
                return Ok(reply);
            }
            let Reply { body, headers, .. } = reply;
            let mut reader = body.into_with_config().limit(LIST_BYTES).reader();
            text.clear();
            reader
                .read_to_string(&mut text)
                .map_err(|error| Fault::passing(format!("the connection to {} broke off: {error}", host(address))))?;
            Ok(Reply {
                status: 200,
                linked_etag: None,
                linked_bytes: None,
                commit: None,
                headers,
                body: Body::builder().data(""),
            })
        })?;
        Ok(found.map(|reply| {
            (
                text,
                reply
                    .header("link")
                    .and_then(next_page)
                    .and_then(|link| join(address, &link)),
            )
        }))
    }

    fn patiently(
        &self,
        address: &str,
        retry: Retry,
        stop: &AtomicBool,
        mut ask: impl FnMut() -> Result<Reply, Fault>,
    ) -> Result<Option<Reply>, HubError> {
        let mut attempts = Attempts::new(retry);
        loop {
            let fault = match ask() {
                Ok(reply) if matches!(reply.status, 200..=299) => return Ok(Some(reply)),
                Ok(reply) if reply.status == 404 => return Ok(None),
                Ok(reply) => self.refusal(address, &reply),
                Err(fault) => fault,
            };
            let wait = attempts.after(fault).map_err(|end| {
                end.map_or_else(
                    |error| error,
                    |reason| HubError::File {
                        file: address.to_owned(),
                        reason,
                    },
                )
            })?;
            sleep(wait, stop)?;
        }
    }

    /// What an answer means that brings nothing.
    pub(super) fn refusal(&self, address: &str, reply: &Reply) -> Fault {
        let host = host(address);
        let token = if self.token.is_some() {
            "HF_TOKEN is set but does not open it"
        } else {
            "set HF_TOKEN"
        };
        match reply.status {
            401 => Fault::Final(format!("{host} answers 401: it wants to know who asks; {token}")),
            403 => Fault::Final(format!(
                "{host} answers 403: access is refused; accept the data set's terms on its page if it has some, and {token}"
            )),
            404 | 410 => Fault::Final(format!(
                "{host} answers {}: there is nothing at {address}; check --revision, --mirror and HF_ENDPOINT",
                reply.status
            )),
            408 | 425 | 429 | 500 | 502..=504 | 520..=524 => Fault::Passing(
                format!("{host} answers {}", reply.status),
                reply.header("retry-after").and_then(retry_after),
            ),
            status => Fault::Final(format!("{host} answers {status} for {address}")),
        }
    }
}

fn fault(address: &str, error: &ureq::Error) -> Fault {
    let host = host(address);
    let help = "check the network and HTTPS_PROXY, or set HF_ENDPOINT to a mirror";
    match error {
        ureq::Error::HostNotFound => Fault::Unreachable(format!("{host} is not known here; {help}")),
        ureq::Error::ConnectionFailed => Fault::Unreachable(format!("{host} cannot be reached; {help}")),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Fault::Unreachable(format!("{host} refuses connections; {help}"))
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            Fault::Unreachable(format!("{host} does not answer; {help}"))
        }
        ureq::Error::Timeout(_) => Fault::passing(format!("{host} was silent for too long")),
        ureq::Error::Io(error) => Fault::passing(format!("the connection to {host} broke off: {error}")),
        ureq::Error::Protocol(error) => Fault::passing(format!("{host} does not keep to HTTP: {error}")),
        ureq::Error::Rustls(error) => Fault::Final(format!(
            "{host} does not prove who it is: {error}; where a proxy has its own certificate, name its PEM file by SSL_CERT_FILE"
        )),
        ureq::Error::InvalidProxyUrl => {
            Fault::Final("the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no address".to_owned())
        }
        error => Fault::Final(format!("{host}: {error}")),
    }
}

/// Scheme, host and port: what a token belongs to.
fn origin(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let authority = rest
        .split(['/', '?', '#'])
        .next()
        .filter(|authority| !authority.is_empty())?;
    Some(format!("{scheme}://{authority}").to_ascii_lowercase())
}

/// The host of an address, for people.
pub(super) fn host(address: &str) -> String {
    let authority = origin(address).and_then(|origin| origin.split_once("://").map(|(_, host)| host.to_owned()));
    let authority = authority.unwrap_or_else(|| address.to_owned());
    // A name and password before the host are nobody's business.
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Where a `Location` leads.
fn join(address: &str, location: &str) -> Option<String> {
    let location = location.trim();
    if origin(location).is_some() {
        return Some(location.to_owned());
    }
    if location.contains("://") && !location.starts_with('/') {
        return None;
    }
    let base = origin(address)?;
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = base.split_once("://")?.0;
        return Some(format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Some(base + location);
    }
    let path = address.split(['?', '#']).next()?;
    let folder = &path[..path.rfind('/')?];
    Some(format!(
        "{}/{location}",
        if folder.len() < base.len() { &base } else { folder }
    ))
}

/// An entity tag without its quotes; the weak have no use here but for comparing.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

/// `<address>; rel="next"`
fn next_page(link: &str) -> Option<String> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = part.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_one_origin() {
        let hub = origin("https://huggingface.co").unwrap();
        assert_eq!(origin("https://HuggingFace.co/a?b").unwrap(), hub);
        for other in [
            "http://huggingface.co/a",
            "https://huggingface.co:8443/a",
            "https://huggingface.co@evil.example/a",
            "https://huggingface.co.evil.example/",
            "https://cdn.huggingface.co/",
        ] {
            assert_ne!(origin(other).unwrap(), hub, "{other}");
        }
        assert_eq!(origin("ftp://huggingface.co/"), None);
        assert_eq!(host("https://user:secret@proxy.example:1/x"), "proxy.example:1");
    }

    #[test]
    fn redirects_lead_somewhere() {
        let at = "https://a.example/x/y?z=1";
        for (location, expected) in [
            ("https://b.example/q", Some("https://b.example/q")),
            ("//b.example/q", Some("https://b.example/q")),
            ("/q", Some("https://a.example/q")),
            ("q", Some("https://a.example/x/q")),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(join(at, location).as_deref(), expected, "{location}");
        }
        let link = "<https://a.example/?cursor=2>; rel=\"next\"";
        assert_eq!(next_page(link).as_deref(), Some("https://a.example/?cursor=2"));
        assert_eq!(next_page("<x>; rel=\"prev\""), None);
    }
}
