//! Calls of the Query protocol that a test sends by itself, to put something into a peer.

use pointsman::lab::endpoints::REGION;

/// Asks `service` of the server at `endpoint`; the signature is none. Gives the answer, which has to be a success.
pub async fn query(endpoint: &str, service: &str, parameters: &[(&str, &str)]) -> String {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let scope = format!("Credential=test/20261205/{REGION}/{service}/aws4_request");
    let answer = reqwest::Client::new()
        .post(endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=00"),
        )
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    text
}
