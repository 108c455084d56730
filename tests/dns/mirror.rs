//! Carries records from what the lab serves into Knot, by dynamic update; ends when dropped.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use pointsman::provider::dns::lookup::{Answer, Asked, ask};
use tokio::task::JoinHandle;

use crate::peers::program;

pub struct Mirror {
    carrying: JoinHandle<()>,
}

impl Mirror {
    pub fn start(from: SocketAddr, to: SocketAddr, records: Vec<Asked>) -> Self {
        let carrying = tokio::spawn(async move {
            let mut there = Vec::new();
            for record in records {
                there.push((ask(to, &record).await.unwrap(), record));
            }
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            loop {
                beat.tick().await;
                for (there, record) in &mut there {
                    let served = ask(from, record).await.unwrap();
                    let same = (&served.values, served.ttl) == (&there.values, there.ttl);
                    if !same && (!served.values.is_empty() || !there.values.is_empty()) {
                        update(to, record, &served);
                        *there = served;
                    }
                }
            }
        });
        Self { carrying }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

/// Bytes in escapes are octal to Route 53 and decimal in a master file.
fn decimal(value: &str) -> String {
    let mut parts = value.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut escaped = false;
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if !escaped => text.push_str(&format!("\\{byte:03}{}", &part[3..])),
            Some(_) | None => text.push_str(&format!("\\{part}")),
        }
        // Of two in a row the second one is the escaped character.
        escaped = part.is_empty() && !escaped;
    }
    text
}

fn update(to: SocketAddr, record: &Asked, answer: &Answer) {
    let (name, kind) = (&record.name, &record.kind);
    let mut script = format!("server {} {}\nzone lab.test.\ndel {name} {kind}\n", to.ip(), to.port());
    for value in &answer.values {
        script.push_str(&format!("add {name} {} {kind} {}\n", answer.ttl, decimal(value)));
    }
    script.push_str("send\nquit\n");
    let mut child = Command::new(program("knsupdate").unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "knsupdate refused: {script}");
}
