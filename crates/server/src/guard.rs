//! Who may ask, and the headers of every answer.
//!
//! A server on this machine is within reach of every web page that its user opens. Two checks keep those out:
//! `Origin`, which browsers send with what a page asks of others, must be this server's own; and `Host` must not be a
//! name that somebody else could point here (DNS rebinding): plain addresses, `localhost` and listed names only.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::Options;
use crate::api::App;
use crate::error::ApiError;

/// Checks a request, lets it through, and sets the headers of its answer.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check(&app.options, request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Nothing from elsewhere, nothing inline, no frames.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

fn check(options: &Options, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).ok_or_else(|| ApiError::bad_request("the request has no Host header"))?;
    let name = host_name(host);
    let listed = options
        .allowed_hosts
        .iter()
        .chain(std::iter::once(&options.host))
        .any(|allowed| allowed.eq_ignore_ascii_case(name));
    if !(listed || is_local_or_address(name)) {
        return Err(ApiError::forbidden(
            "host_not_allowed",
            format!("this server does not answer to the name {name:?}; whoever runs it can allow that name"),
        ));
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).unwrap_or_default();
        let place = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if !place.is_some_and(|place| place.eq_ignore_ascii_case(host)) {
            return Err(ApiError::forbidden(
                "origin_not_allowed",
                format!("pages of {origin:?} may not use this server"),
            ));
        }
    }
    match &options.api_key {
        Some(key) if path.starts_with("/v1/") => {
            let given = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
            let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            if given.is_some_and(|(_, given)| same(given.trim().as_bytes(), key.as_bytes())) {
                Ok(())
            } else {
                Err(ApiError::unauthorized())
            }
        }
        _ => Ok(()),
    }
}

/// The name in a Host header, without the port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn is_local_or_address(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

/// Equality in a time that tells nothing but the length.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &Options, path: &str, headers: &[(HeaderName, &'static str)]) -> u16 {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        check(options, path, &headers).map_or_else(|error| error.status.as_u16(), |()| 200)
    }

    #[test]
    fn names_of_others_are_refused() {
        let mut options = Options::default();
        for (host, status) in [
            ("localhost:8000", 200),
            ("LOCALHOST", 200),
            ("me.localhost:1", 200),
            ("127.0.0.1:8000", 200),
            ("192.168.1.5:8000", 200),
            ("[::1]:8000", 200),
            ("evil.example:8000", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ] {
            assert_eq!(asked(&options, "/", &[(header::HOST, host)]), status, "{host}");
        }
        options.allowed_hosts = vec!["box.lan".to_owned()];
        assert_eq!(asked(&options, "/", &[(header::HOST, "Box.lan:8000")]), 200);
        assert_eq!(asked(&options, "/", &[]), 400);
    }

    #[test]
    fn pages_of_others_are_refused() {
        let options = Options::default();
        for (origin, status) in [
            ("http://localhost:8000", 200),
            ("https://localhost:8000", 200),
            ("http://localhost:3000", 403),
            ("http://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            let headers = [(header::HOST, "localhost:8000"), (header::ORIGIN, origin)];
            assert_eq!(asked(&options, "/v1/models", &headers), status, "{origin}");
        }
    }

    #[test]
    fn the_key_is_asked_for_where_it_counts() {
        let options = Options {
            api_key: Some("secret".to_owned()),
            ..Options::default()
        };
        for (path, authorization, status) in [
            ("/v1/models", "Bearer secret", 200),
            ("/v1/models", "bearer secret", 200),
            ("/v1/models", "Bearer secrets", 401),
            ("/v1/models", "Bearer secreT", 401),
            ("/v1/models", "Basic secret", 401),
            ("/v1/models", "secret", 401),
            ("/", "", 200),
        ] {
            let headers = [(header::HOST, "localhost"), (header::AUTHORIZATION, authorization)];
            assert_eq!(asked(&options, path, &headers), status, "{path} {authorization}");
        }
        assert_eq!(asked(&options, "/v1/models", &[(header::HOST, "localhost")]), 401);
    }
}
