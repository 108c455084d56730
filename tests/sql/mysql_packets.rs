//! Sessions of a comparison against a MySQL that says what a test lets it say: ways of logging in that no MariaDB has, and
//! answers that a server gives seldom. Scripted by MySQL's "Client/Server protocol"; no MySQL was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use pointsman::provider::action::{ActionError, ActionErrorKind};
use pointsman::provider::sql::mysql::session::{PacketSession, session};
use pointsman::provider::sql::server::{Engine, Protection, ServerTarget};
use pointsman::provider::sql::session::{Session, all};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";
const PASSWORD: &str = "Straße 7";
const FULL: usize = 0xFF_FFFF;
const SSL: u32 = 0x800;
const SHA: &str = "caching_sha2_password";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const END: &[u8] = b"\xfe\0\0\x02\0";
const COLUMN: &[u8] = b"\x03def\0\0\0\x01x\0\x0c\x2d\0\0\x01\0\0\xfd\0\0\0\0\0";

/// The server's end of a connection.
struct Peer {
    stream: TcpStream,
    number: u8,
}

impl Peer {
    async fn say(&mut self, body: &[u8]) {
        let mut rest = body;
        loop {
            let (part, after) = rest.split_at(rest.len().min(FULL));
            let size = u32::try_from(part.len()).unwrap().to_le_bytes();
            let framed = [&size[..3], &[self.number], part].concat();
            self.number = self.number.wrapping_add(1);
            self.stream.write_all(&framed).await.unwrap();
            if part.len() < FULL {
                return;
            }
            rest = after;
        }
    }

    /// What the client says; nothing where it has gone.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.ok()?;
        self.number = head[3].wrapping_add(1);
        let mut body = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(body)
    }

    async fn greet(&mut self, plugin: &str, more: u32) {
        let able = (0x8_A20B_u32 | more).to_le_bytes();
        let mut hello = b"\x0a8.4.0\0\x07\0\0\0".to_vec();
        hello.extend(&NONCE[..8]);
        hello.extend([0, able[0], able[1], 45, 2, 0, able[2], able[3], 21]);
        hello.extend([0; 10]);
        hello.extend(&NONCE[8..]);
        hello.push(0);
        hello.extend(plugin.as_bytes());
        hello.push(0);
        self.say(&hello).await;
    }

    /// The proof of the password that a login comes with.
    async fn login(&mut self) -> Vec<u8> {
        let body = self.hear().await.unwrap();
        let rest = body[32..].strip_prefix(b"anna\0").unwrap();
        let (proof, rest) = rest[1..].split_at(usize::from(rest[0]));
        assert!(rest.starts_with(b"erp\0"), "{rest:?}");
        proof.to_vec()
    }

    async fn refuse(&mut self, code: u16, words: &str) {
        let body = [&[0xFF], &code.to_le_bytes()[..], b"#HY000", words.as_bytes()].concat();
        self.say(&body).await;
    }

    /// Answers all that a session begins with, and then what it is asked by `answer`; the farewell is the last that it hears.
    async fn serve(&mut self, answer: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut last = None;
        while let Some(body) = self.hear().await {
            match &body[1..] {
                b"select version()" => {
                    for packet in [b"\x01", COLUMN, END, b"\x058.4.0", END] {
                        self.say(packet).await;
                    }
                }
                b"select x" => {
                    for packet in answer {
                        self.say(packet).await;
                    }
                }
                _ if body[0] == 3 => self.say(OK).await,
                _ => {}
            }
            last = Some(body);
        }
        last
    }
}

/// What a server heard.
struct Heard {
    /// How many connections there were.
    count: Arc<AtomicUsize>,
    /// The last of each.
    last: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
}

impl Heard {
    /// What was heard at last on the next connection that has ended.
    async fn last(&mut self) -> Option<Vec<u8>> {
        let last = tokio::time::timeout(Duration::from_secs(60), self.last.recv()).await;
        // Else the connection stays open.
        last.unwrap().unwrap()
    }
}

/// A server that does so with each connection, and gives back what it heard at last.
async fn server<F, W>(script: F) -> (ServerTarget, Heard)
where
    F: Fn(Peer) -> W + Send + 'static,
    W: Future<Output = Option<Vec<u8>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = ServerTarget {
        engine: Engine::Mysql,
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        database: "erp".to_owned(),
        user: "anna".to_owned(),
        password: Some(PASSWORD.to_owned()),
        token: None,
        protection: Protection::Off,
        patience: Duration::from_secs(60),
    };
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let (heard, last) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            stream.set_nodelay(true).unwrap();
            let (played, heard) = (script(Peer { stream, number: 0 }), heard.clone());
            tokio::spawn(async move { heard.send(played.await) });
        }
    });
    (target, Heard { count, last })
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter()
        .zip(other.iter().cycle())
        .map(|(one, other)| one ^ other)
        .collect()
}

/// MySQL, "Caching SHA-2 pluggable authentication": XOR(SHA256(password), SHA256(SHA256(SHA256(password)), nonce)).
fn sha_proof() -> Vec<u8> {
    let once = Sha256::digest(PASSWORD);
    let mut outer = Sha256::new();
    outer.update(Sha256::digest(once));
    outer.update(NONCE);
    xor(&once, &outer.finalize())
}

#[tokio::test]
async fn a_password_that_the_server_remembers_is_proven() {
    for switched in [false, true] {
        let (target, heard) = server(move |mut peer| async move {
            peer.greet(if switched { "mysql_native_password" } else { SHA }, 0)
                .await;
            let mut proof = peer.login().await;
            if switched {
                peer.say(&[b"\xfe", SHA.as_bytes(), b"\0", NONCE, b"\0"].concat()).await;
                proof = peer.hear().await.unwrap();
            }
            assert_eq!(proof, sha_proof());
            peer.say(b"\x01\x03").await;
            peer.say(OK).await;
            peer.serve(&[]).await
        })
        .await;
        let mut opened = session(&target).await.unwrap();
        assert_eq!(
            all(&mut opened, "select version()").await.unwrap()[0][0].as_deref(),
            Some("8.4.0")
        );
        assert_eq!(
            heard.count.load(Ordering::SeqCst),
            1,
            "an abandoned login counts as a failed one"
        );
    }
}

#[tokio::test]
async fn a_password_that_the_server_forgot_is_sealed_with_its_key() {
    let key = Arc::new(PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap());
    let (open, mut opened) = mpsc::unbounded_channel();
    let (target, heard) = server(move |mut peer| {
        let (key, open_to) = (Arc::clone(&key), open.clone());
        async move {
            peer.greet(SHA, 0).await;
            peer.login().await;
            peer.say(b"\x01\x04").await;
            assert_eq!(peer.hear().await.unwrap(), b"\x02");
            let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
            let encoded = data_encoding::BASE64.encode(public.as_ref());
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(64)
                .map(|line| str::from_utf8(line).unwrap())
                .collect();
            let pem = format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                lines.join("\n")
            );
            peer.say(&[b"\x01", pem.as_bytes()].concat()).await;
            let sealed = peer.hear().await.unwrap();
            let opener = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::clone(&key)).unwrap();
            let mut open = vec![0; opener.min_output_size()];
            let hidden = opener.decrypt(&OAEP_SHA1_MGF1SHA1, &sealed, &mut open, None).unwrap();
            open_to.send(xor(hidden, NONCE)).unwrap();
            peer.say(OK).await;
            peer.serve(&[]).await
        }
    })
    .await;
    session(&target).await.unwrap();
    assert_eq!(opened.recv().await.unwrap(), [PASSWORD.as_bytes(), b"\0"].concat());
    assert_eq!(heard.count.load(Ordering::SeqCst), 1);
}

/// What a login comes to that the client breaks off, or that is refused, in its one connection; nothing is said after that.
async fn refusal(target: &ServerTarget, mut heard: Heard) -> ActionError {
    let error = session(target).await.err().unwrap();
    assert_eq!(heard.count.load(Ordering::SeqCst), 1, "{error}");
    assert!(error.message.contains("anna"), "it names the place: {error}");
    assert_eq!(heard.last().await, None, "{error}");
    error
}

#[tokio::test]
async fn a_key_that_is_none_is_told_and_nothing_is_sent() {
    let (target, heard) = server(move |mut peer| async move {
        peer.greet(SHA, 0).await;
        peer.login().await;
        peer.say(b"\x01\x04").await;
        peer.hear().await.unwrap();
        peer.say(b"\x01-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
            .await;
        peer.hear().await
    })
    .await;
    let error = refusal(&target, heard).await;
    assert!(error.message.contains("use TLS"), "{error}");
}

#[tokio::test]
async fn a_password_is_not_shown_to_who_asks_for_it() {
    for (plugin, words) in [
        ("mysql_clear_password", "clear text"),
        ("mysql_old_password", "before MySQL 4.1"),
        ("dialog", "dialog"),
    ] {
        let (target, heard) = server(move |mut peer| async move {
            peer.greet("mysql_native_password", 0).await;
            peer.login().await;
            peer.say(&[b"\xfe", plugin.as_bytes(), b"\0", NONCE, b"\0"].concat())
                .await;
            peer.hear().await
        })
        .await;
        let error = refusal(&target, heard).await;
        assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

/// MariaDB, "Authentication plugin - PARSEC": the salt is asked for, then come 32 bytes of our own and a signature.
#[tokio::test]
async fn what_is_signed_may_end_in_a_zero() {
    for (rounds, last) in [(3, Some(b"\x01".to_vec())), (20, None)] {
        let (target, mut heard) = server(move |mut peer| async move {
            peer.greet("mysql_native_password", 0).await;
            peer.login().await;
            peer.say(&[b"\xfeparsec\0", &NONCE[..], b"uvwxyzABCDE\0"].concat())
                .await;
            assert_eq!(peer.hear().await.unwrap(), b"");
            peer.say(&[&[1, b'P', rounds], &NONCE[..18]].concat()).await;
            let proof = peer.hear().await?;
            assert_eq!(proof.len(), 96);
            peer.say(OK).await;
            peer.serve(&[]).await
        })
        .await;
        let opened = session(&target).await;
        assert_eq!(opened.is_ok(), last.is_some(), "{:?}", opened.err());
        drop(opened);
        assert_eq!(heard.last().await, last);
    }
}

#[tokio::test]
async fn who_is_refused_was_refused_once() {
    let (target, heard) = server(|mut peer| async move {
        peer.greet(SHA, 0).await;
        peer.login().await;
        peer.refuse(1045, "Access denied for user 'anna'").await;
        peer.hear().await
    })
    .await;
    let error = refusal(&target, heard).await;
    assert_eq!(error.kind, ActionErrorKind::Permanent, "{error}");
    assert!(error.message.contains("check user and password"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_logged_in_to() {
    for (able, words) in [(0, "has no TLS"), (SSL, "spoke before TLS began")] {
        let (mut target, heard) = server(move |mut peer| async move {
            peer.greet(SHA, able).await;
            if able == SSL {
                peer.number = 2;
                peer.say(OK).await;
                assert_eq!(peer.hear().await.unwrap().len(), 32);
            }
            peer.hear().await
        })
        .await;
        target.protection = Protection::Unverified;
        let error = refusal(&target, heard).await;
        assert!(error.message.contains(words), "{error}");
    }
}

/// A session with a server that answers `select x` so.
async fn answering(answer: Vec<Vec<u8>>) -> (PacketSession, Heard) {
    let (target, heard) = server(move |mut peer| {
        let answer = answer.clone();
        async move {
            peer.greet(SHA, 0).await;
            peer.login().await;
            peer.say(OK).await;
            peer.serve(&answer).await
        }
    })
    .await;
    (session(&target).await.unwrap(), heard)
}

fn packets(each: &[&[u8]]) -> Vec<Vec<u8>> {
    each.iter().map(|packet| packet.to_vec()).collect()
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let refused = b"\xff\xbf\x0f#HY000idle for long";
    let gone_on = b"\xfe\0\0\x0a\0";
    for (answer, kind, words, again) in [
        (packets(&[refused]), ActionErrorKind::Transient, "idle for long", true),
        (
            packets(&[b"\x02", COLUMN, refused]),
            ActionErrorKind::Transient,
            "idle for long",
            true,
        ),
        (
            packets(&[b"\x01", COLUMN, refused]),
            ActionErrorKind::Transient,
            "idle for long",
            true,
        ),
        (
            packets(&[b"\x01", COLUMN, END, b"\x01a", refused]),
            ActionErrorKind::Transient,
            "idle for long",
            true,
        ),
        (
            packets(&[b"\x01", COLUMN, END, b"\x01a", gone_on]),
            ActionErrorKind::Transient,
            "goes on after its end",
            false,
        ),
        (
            packets(&[b"\x01", COLUMN, END, b"\x01a\x01b", END]),
            ActionErrorKind::Transient,
            "more than its columns",
            false,
        ),
        (
            packets(&[b"\x02", COLUMN, COLUMN, END, b"\x01a", END]),
            ActionErrorKind::Transient,
            "ends too early",
            false,
        ),
        (
            packets(&[b"\x01", b"\x03abc", END]),
            ActionErrorKind::Transient,
            "a column that is none",
            false,
        ),
        (
            packets(&[b"\x01", COLUMN, b"\x01a"]),
            ActionErrorKind::Transient,
            "columns without an end",
            false,
        ),
        (
            packets(&[b"\xfb/etc/passwd"]),
            ActionErrorKind::Permanent,
            "a file of this machine",
            false,
        ),
    ] {
        let (mut opened, _heard) = answering(answer).await;
        let error = opened.each("select x", &mut |_row| Ok(())).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
        let next = all(&mut opened, "select version()").await;
        assert_eq!(next.is_ok(), again, "{words}: {next:?}");
    }
}

#[tokio::test]
async fn rows_of_any_length_come_whole() {
    let long = vec![b'x'; FULL + 9];
    let size = u64::try_from(long.len()).unwrap().to_le_bytes();
    let row = [&[0xFE], &size[..], &long, b"\xfb"].concat();
    let short = b"\xfe\x05\0\0\0\0\0\0\0short\x00";
    let (mut opened, _heard) = answering(packets(&[b"\x02", COLUMN, COLUMN, END, &row, short, END])).await;
    let mut seen = Vec::new();
    opened
        .each("select x", &mut |cells| {
            seen.push((cells.get(0).map(<[u8]>::to_vec), cells.get(1).map(<[u8]>::to_vec)));
            Ok(())
        })
        .await
        .unwrap();
    assert!(seen == [(Some(long), None), (Some(b"short".to_vec()), Some(Vec::new()))]);
    assert_eq!(all(&mut opened, "select version()").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_says_that_it_leaves_and_one_within_an_answer_only_goes() {
    let (opened, mut heard) = answering(Vec::new()).await;
    drop(opened);
    assert_eq!(heard.last().await.unwrap(), b"\x01");

    let (mut opened, mut heard) = answering(packets(&[b"\x01", COLUMN, END, b"\x01a", END])).await;
    let given_up = opened
        .each("select x", &mut |_row| {
            Err(ActionError::new(ActionErrorKind::Cancelled, "enough"))
        })
        .await;
    assert_eq!(given_up.unwrap_err().kind, ActionErrorKind::Cancelled);
    let next = all(&mut opened, "select version()").await.unwrap_err();
    assert!(next.message.contains("not used again"), "{next}");
    drop(opened);
    assert_eq!(heard.last().await.unwrap(), b"\x03select x");
}
