//! Names of the network in a runbook: letters that look like others, what a check over the network needs, and that the
//! lab keeps to loopback. Resolves nothing.

use serde_json::Value;

use super::builder::Builder;
use super::catalogue::ActionSpec;
use super::expression::has_expression;
use super::fault::Place;
use super::node::Node;
use super::plan::EnvironmentKind;

/// Parameters and settings that name a host.
const HOSTS: &[&str] = &["host", "url", "record", "zone", "endpoint", "server_name"];

impl Builder<'_> {
    /// What can be said before the run about where an action goes.
    pub(super) fn network(&mut self, node: &Node, spec: &ActionSpec, on: &[String], with: &Value) {
        let place = |key: &str| {
            node.get("with")
                .and_then(|with| with.get(key))
                .map_or(node.at, |value| value.at)
        };
        for key in HOSTS {
            if let Some(value) = known(with, key) {
                self.look_alike(place(key), &format!("{key} of {}", spec.uses), value);
            }
        }
        let has = |key: &str| with.get(key).is_some();
        // A loop or an import may still choose the connection.
        let connected = !on.is_empty() || node.get("on").is_some();
        match spec.uses {
            "http.check" => {
                if !connected && !has("url") {
                    let hint = "write on: with a connection of kind http, or with: { url: … }";
                    self.fault(node.at, "http.check does not say where", hint);
                }
                if connected && has("url") {
                    let hint = "remove on:, or write path: instead";
                    self.fault(place("url"), "http.check names a connection and a url", hint);
                }
                if has("tls_valid_for") && known(with, "url").is_some_and(|url| url.starts_with("http:")) {
                    let hint = "ask by https";
                    self.fault(place("tls_valid_for"), "there is no certificate over plain http", hint);
                }
                self.keeps_to_loopback(place("url"), known(with, "url").map(host_of), with);
            }
            "tcp.check" => {
                let addressed = has("host") && has("port");
                if !connected && !addressed {
                    let hint = "write with: { host: …, port: … }, or on: with a connection of kind http";
                    self.fault(node.at, "tcp.check does not say where", hint);
                }
                if connected && has("host") {
                    let hint = "remove on:, or host:";
                    self.fault(place("host"), "tcp.check names a connection and a host", hint);
                }
                if with.get("expect_refused") == Some(&Value::Bool(true)) {
                    let shown = ["expect", "tls", "tls_valid_for"].into_iter().find(|key| has(key));
                    if let Some(key) = shown {
                        let message = format!("who refuses shows nothing that {key} could be held against");
                        self.fault(
                            place(key),
                            message,
                            "make it a check of its own, or remove expect_refused",
                        );
                    }
                }
                self.keeps_to_loopback(place("host"), known(with, "host"), with);
            }
            _ => {}
        }
    }

    /// Warns of a host with letters that may pass for others.
    pub(super) fn look_alike(&mut self, at: Place, what: &str, value: &str) {
        let host = if value.contains("://") { host_of(value) } else { value };
        if !host.is_ascii() {
            let message = format!("the {what} has letters that are not ASCII");
            self.warn(at, message, "is it a look-alike?");
        }
    }

    /// Warns of the hosts among a connection's settings.
    pub(super) fn look_alikes(
        &mut self,
        name: &str,
        node: &Node,
        settings: &std::collections::BTreeMap<String, Value>,
    ) {
        for key in HOSTS {
            if let Some(value) = settings.get(*key).and_then(Value::as_str) {
                let at = node.get(key).map_or(node.at, |value| value.at);
                self.look_alike(at, &format!("{key} of {name}"), value);
            }
        }
    }

    fn keeps_to_loopback(&mut self, at: Place, host: Option<&str>, with: &Value) {
        let Some(host) = known(with, "resolve").or(host) else {
            return;
        };
        if self.kind == EnvironmentKind::Lab && !self.replaced && !is_loopback(host) {
            let hint = "ask the lab's application (on: app), or say under the step's lab: what stands for it";
            let message = format!("the lab reaches nothing but loopback, and {host} is elsewhere");
            self.fault(at, message, hint);
        }
    }

    /// The headers of a connection; each value is a text or one secret.
    pub(super) fn connection_headers(&mut self, node: &Node) -> Value {
        let entries = node.map("headers", &mut self.faults);
        let each = entries.iter().map(|(key, value)| {
            let text = value.text().unwrap_or_default();
            self.literal_secret(value.at, &key.text, text);
            let json = if text.contains("secret.") {
                self.secret_use(value.at, text)
            } else {
                let known = self.value_known_now(value, "a header");
                if !known.is_string() && !known.is_null() {
                    self.fault(value.at, format!("header {} is no text", key.text), "put it in quotes");
                }
                known
            };
            (key.text.clone(), json)
        });
        Value::Object(each.collect())
    }
}

/// A text that no step has to give first.
fn known<'a>(with: &'a Value, key: &str) -> Option<&'a str> {
    with.get(key)
        .and_then(Value::as_str)
        .filter(|text| !has_expression(text))
}

/// The host within a URL; brackets stay.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rfind(']') {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Whether a name or an address cannot but be loopback (RFC 6761, 6.3; RFC 1122, 3.2.1.3).
fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_lowercase();
    let four = host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok());
    host == "localhost" || host == "::1" || host == "[::1]" || (four && host.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_what_is_connected_to() {
        for (url, host) in [
            ("https://erp.example.com/health?x=http://127.0.0.1/", "erp.example.com"),
            ("http://127.0.0.1@erp.example.com:80/", "erp.example.com"),
            ("http://[::1]:8080/", "[::1]"),
            ("http://erp.example.com#127.0.0.1", "erp.example.com"),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn loopback_is_not_what_begins_like_it() {
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "127.0.0.1.example.com",
            "localhost.example.com",
            "128.0.0.1",
            "127.1",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
