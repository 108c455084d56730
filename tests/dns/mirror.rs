//! Carries the application's record from what the lab serves into Knot, by dynamic update; ends when dropped.

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
    pub fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let carrying = tokio::spawn(async move {
            let asked = Asked {
                name: "erp.lab.test.".to_owned(),
                kind: "A".to_owned(),
            };
            let mut there = ask(to, &asked).await.unwrap();
            let mut beat = tokio::time::interval(Duration::from_millis(20));
            loop {
                beat.tick().await;
                let served = ask(from, &asked).await.unwrap();
                if (&served.values, served.ttl) != (&there.values, there.ttl) {
                    update(to, &served);
                    there = served;
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

fn update(to: SocketAddr, answer: &Answer) {
    let mut script = format!(
        "server {} {}\nzone lab.test.\ndel erp.lab.test. A\n",
        to.ip(),
        to.port()
    );
    for value in &answer.values {
        script.push_str(&format!("add erp.lab.test. {} A {value}\n", answer.ttl));
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
