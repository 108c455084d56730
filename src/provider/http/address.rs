//! URLs of runbooks: what is meant, and what is none.

use reqwest::Url;

use crate::provider::connection::{BuildError, HttpTarget};

/// The host of a connection and its port.
pub fn origin(target: &HttpTarget) -> Result<(String, u16), BuildError> {
    let url = address(Some(target), None, None)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok((host, url.port_or_known_default().unwrap_or(80)))
}

/// The URL that is meant.
pub(super) fn address(target: Option<&HttpTarget>, url: Option<&str>, path: Option<&str>) -> Result<Url, BuildError> {
    let text = match (target, url, path) {
        (Some(target), None, path) => {
            let path = path.unwrap_or("/");
            // Without the slash a path could go on with the host's name.
            let slash = if path.starts_with('/') { "" } else { "/" };
            format!("{}{slash}{path}", target.base)
        }
        (None, Some(url), None) => url.to_owned(),
        (Some(_), Some(_), _) | (None, None, _) | (None, Some(_), Some(_)) => {
            return Err(parameter("give a connection and a path, or a url alone"));
        }
    };
    let url = Url::parse(&text).map_err(|error| parameter(format!("{text} is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(parameter(format!("{url} is no http or https URL")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(parameter(
            "a URL carries no credentials here; give the connection headers: or bearer:",
        ));
    }
    Ok(url)
}

/// The error that a parameter makes, told before anything is sent.
pub(super) fn parameter(words: impl Into<String>) -> BuildError {
    BuildError::Parameter(words.into())
}
