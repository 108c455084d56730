//! A check in the whole program: what its connection authenticates with reaches the server, and nothing that is kept.

use std::fs;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::any;

use crate::peers;
use crate::support::Place;

const TOKEN: &str = "tok-3f9a77c1e2";
const KEY: &str = "key-77aa01bb93";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_connection_reach_the_server_and_nothing_else() {
    // The server says back what it was given: also that has to be redacted.
    let router = Router::new().fallback(any(|request: Request| async move {
        let given = |name: &str| {
            let value = request.headers().get(name).map(|value| value.as_bytes().to_vec());
            String::from_utf8(value.unwrap_or_default()).unwrap()
        };
        let (bearer, key, plain) = (given("authorization"), given("x-key"), given("x-plain"));
        let right = bearer == format!("Bearer {TOKEN}") && key == KEY && plain == "open";
        let status = if right {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        (
            status,
            [("x-echo", key.clone())],
            format!("you are {bearer} with {key}"),
        )
    }));
    let base = peers::web(router).await;
    let place = Place::new();
    let file = place.path("ask.yaml");
    let text = format!(
        "version: 1\nname: ask\nsecrets: {{ token: {{ env: TOKEN }}, key: {{ env: KEY }} }}\nconnections:\n  app:\n    \
         uses: http\n    url: \"{base}\"\n    bearer: \"${{ secret.token }}\"\n    headers: {{ x-key: \"${{ secret.key }}\", \
         x-plain: open }}\nenvironments:\n  dress: {{ kind: rehearsal, auto_approve: true, people: {{ olga: {{ roles: [lead] }} }} }}\nphases:\n  - id: one\n    \
         title: One\n    steps:\n      - id: ask\n        title: Ask\n        uses: http.check\n        on: app\n        \
         with: {{ expect: \"'you are' in body\" }}\n        gate: {{ none: it reads }}\n      - id: wrong\n        title: \
         Wrong\n        uses: http.check\n        on: app\n        with: {{ expect: \"'nobody' in body\" }}\n        gate: {{ \
         none: it reads }}\n"
    );
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let ended = tokio::task::spawn_blocking(move || {
        let mut command = place.command(&[
            "run",
            &file,
            "--env",
            "dress",
            "--as",
            "olga",
            "--headless",
            "--approve-all",
        ]);
        let output = command.env("TOKEN", TOKEN).env("KEY", KEY).output().unwrap();
        (place, output)
    });
    let (place, output) = ended.await.unwrap();
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "the second step fails by its predicate: {shown}"
    );
    assert!(shown.contains("'nobody' in body does not hold"), "{shown}");
    let mut kept = shown.into_bytes();
    let mut folders = vec![place.path("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                kept.extend(fs::read(path).unwrap());
            }
        }
    }
    let kept = String::from_utf8_lossy(&kept);
    assert!(
        kept.contains("[secret token]") && kept.contains("[secret key]"),
        "what was said back is kept, redacted"
    );
    assert!(
        !kept.contains(TOKEN) && !kept.contains(KEY),
        "a secret was kept or shown"
    );
}
