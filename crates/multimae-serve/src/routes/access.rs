//! Access: the token, and the requests that change the server.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::ServerConfig;
use crate::error::Problem;

/// Routes that need no token.
const OPEN: [&str; 5] = ["/", "/health", "/ready", "/docs", "/openapi.json"];

/// Checks the token where there is one. Without one, only clients on this machine may change the
/// server, and only if it listens on loopback. A page of another site that reaches it by a name
/// that resolves to loopback (DNS rebinding) shows in `Host`, one that posts across sites in
/// `Origin`.
///
/// # Errors
/// 401 without the token, 403 for a change that is not allowed.
pub(super) fn check(config: &ServerConfig, route: &str, request: &Request) -> Result<(), Problem> {
    if let Some(token) = &config.token {
        if OPEN.contains(&route) || has_token(request.headers(), token) {
            return Ok(());
        }
        let text = "send `Authorization: Bearer TOKEN`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text));
    }
    if !route.starts_with("/v1/adapters") || request.method().is_safe() {
        return Ok(());
    }
    let forbidden = |text: &str| Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", text));
    if !config.listen.ip().to_canonical().is_loopback() {
        return forbidden(
            "a server that listens beyond loopback is changed with a token only; set MULTIMAE_TOKEN \
             and restart it",
        );
    }
    let addressed = request.uri().authority();
    let all = |name: HeaderName, is_local: fn(&str) -> bool| {
        let values = request.headers().get_all(name);
        values.iter().all(|value| value.to_str().is_ok_and(is_local))
    };
    if !addressed.is_none_or(names_loopback) || !all(header::HOST, is_local_host) {
        return forbidden(
            "without a token, the server is changed under the name localhost, 127.0.0.1 or [::1] only",
        );
    }
    if !all(header::ORIGIN, is_local_origin) {
        return forbidden("without a token, pages of other sites do not change the server");
    }
    Ok(())
}

/// In a time that does not depend on the number of correct characters.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    digest(given).as_slice().ct_eq(digest(token).as_slice()).into()
}

fn is_local_host(host: &str) -> bool {
    host.parse().is_ok_and(|authority| names_loopback(&authority))
}

/// `null`, the origin of files and of sandboxed pages, is not local.
fn is_local_origin(origin: &str) -> bool {
    let uri = origin.parse::<Uri>().ok();
    uri.is_some_and(|uri| uri.scheme().is_some() && uri.authority().is_some_and(names_loopback))
}

fn names_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_told_from_those_that_look_like_them() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.9.9.9", "[::1]:8080"] {
            assert!(is_local_host(host), "{host}");
            assert!(is_local_origin(&format!("http://{host}")), "{host}");
        }
        let others = [
            "localhost.example.org",
            "127.0.0.1.example.org",
            "localhost@example.org",
            "example.org:8080",
            "192.168.0.2",
            "[::2]",
            "0.0.0.0",
            "",
        ];
        for host in others {
            assert!(!is_local_host(host), "{host}");
            assert!(!is_local_origin(&format!("http://{host}")), "{host}");
        }
        for origin in ["null", "localhost", "/", "file://"] {
            assert!(!is_local_origin(origin), "{origin}");
        }
    }
}
