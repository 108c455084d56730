//! The peers themselves: on loopback only, and gone when nobody needs them.

use std::fs;

use crate::peers::{Kind, Peer};

/// Local addresses of the TCP sockets on which a process listens, as the kernel writes them: hexadecimal.
fn listens(pid: u32) -> Vec<String> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] == "0A" && sockets.iter().any(|inode| inode == fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_listens_on_loopback_only_and_is_gone_when_it_is_dropped() {
    for kind in [Kind::Moto, Kind::Ministack, Kind::Microburst] {
        let upstream = (kind == Kind::Microburst).then_some("http://127.0.0.1:9");
        let Some(peer) = Peer::start(kind, upstream) else {
            return;
        };
        // What it opens besides, it opens before it answers.
        reqwest::get(peer.url()).await.unwrap();
        let pid = peer.pid();
        let listening = listens(pid);
        let port = format!(":{:04X}", peer.port);
        assert!(listening.iter().any(|at| at.ends_with(&port)), "{listening:?}");
        for at in &listening {
            assert!(at.starts_with("0100007F:"), "{kind:?} listens on {at}");
        }
        drop(peer);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{kind:?}");
    }
}
