//! XML of AWS's query and REST protocols, written by hand: few elements, exact order.

use quick_xml::escape::escape;

/// An answer of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub kind: &'static str,
    pub body: String,
    /// Whether the state moved.
    pub changed: bool,
}

/// An element with text.
pub fn leaf(name: &str, text: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", escape(text.as_ref()))
}

/// An answer that succeeded.
pub fn ok(body: String, changed: bool) -> Answer {
    Answer {
        status: 200,
        kind: "text/xml",
        body,
        changed,
    }
}

/// A refusal as RDS, STS and Route 53 send it.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type>{}{}</Error><RequestId>lab</RequestId></ErrorResponse>",
        leaf("Code", code),
        leaf("Message", message)
    );
    Answer {
        status,
        kind: "text/xml",
        body,
        changed: false,
    }
}

/// An answer in the query protocol.
pub fn query(operation: &str, namespace: &str, result: &str, changed: bool) -> Answer {
    let body = format!(
        "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result>\
         <ResponseMetadata><RequestId>lab</RequestId></ResponseMetadata></{operation}Response>"
    );
    ok(body, changed)
}

/// An answer in JSON.
pub fn json(status: u16, body: &serde_json::Value, changed: bool) -> Answer {
    Answer {
        status,
        kind: "application/x-amz-json-1.1",
        body: body.to_string(),
        changed,
    }
}
