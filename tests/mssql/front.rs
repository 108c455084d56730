//! A front before a peer that speaks TDS: what a script knows it answers itself, all else goes to the peer and back, byte by
//! byte (MS-TDS, sections 2.2.3, 2.2.6.7 and 2.2.7).

use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HEAD: usize = 8;
const BATCH: u8 = 0x01;
const RPC: u8 = 0x03;
const REPLY: u8 = 0x04;
const LOGIN: u8 = 0x10;
/// Where a login says of which type it is; one bit of it is the intent to only read.
const TYPES: usize = 26;

/// What a script answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Rows of texts; none is NULL.
    Rows(Vec<Vec<Option<String>>>),
    /// It is done.
    Done,
    /// It is done: the counts of rows of each of its statements, as a call of a procedure gives them.
    Counts(&'static [u64]),
    /// An error with its number.
    Error(u32, &'static str),
    /// The connection is gone before the peer hears of it.
    Cut,
    /// The peer hears of it, and the connection is gone before its answer.
    CutAfter,
}

/// Answers in place of a peer.
pub trait Script: Send + Sync {
    /// What is answered to a statement; nothing where the peer is to answer.
    fn answer(&self, session: u64, sql: &str) -> Option<Answer>;

    /// Somebody logs in, with the intent to only read or without.
    fn login(&self, reads: bool) {
        let _ = reads;
    }

    /// A session is over.
    fn ended(&self, session: u64) {
        let _ = session;
    }
}

/// Cells of a row.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<Option<String>> {
    cells.iter().map(|cell| Some((*cell).to_owned())).collect()
}

/// Serves on the port that it gives, for as long as the test lives.
pub fn front(peer: u16, script: Arc<dyn Script>) -> u16 {
    static SESSION: AtomicU64 = AtomicU64::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for ours in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            let session = SESSION.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                // Who goes away in the middle, goes away.
                let _gone = serve(ours, peer, session, &*script);
                script.ended(session);
            });
        }
    });
    port
}

fn serve(mut ours: TcpStream, peer: u16, session: u64, script: &dyn Script) -> Result<()> {
    let mut theirs = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], peer)))?;
    loop {
        let asked = message(&mut ours)?;
        if asked.first() == Some(&LOGIN) {
            script.login(asked.get(HEAD + TYPES).is_some_and(|flags| flags & 0x20 != 0));
        }
        let answer = statement(&asked).and_then(|sql| script.answer(session, &sql));
        match answer {
            None => {
                theirs.write_all(&asked)?;
                let answer = message(&mut theirs)?;
                ours.write_all(&answer)?;
            }
            Some(Answer::Cut) => return Ok(()),
            Some(Answer::CutAfter) => {
                theirs.write_all(&asked)?;
                message(&mut theirs)?;
                return Ok(());
            }
            Some(Answer::Rows(rows)) => ours.write_all(&reply(&told(&rows)))?,
            Some(Answer::Done) => ours.write_all(&reply(&done(0, 0)))?,
            Some(Answer::Counts(counts)) => ours.write_all(&reply(&counted(counts)))?,
            Some(Answer::Error(number, words)) => ours.write_all(&reply(&error(number, words)))?,
        }
    }
}

/// A message, all of its packets as they came.
fn message(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let mut head = [0; HEAD];
        from.read_exact(&mut head)?;
        let size = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let begin = whole.len();
        whole.extend_from_slice(&head);
        whole.resize(begin + size, 0);
        from.read_exact(&mut whole[begin + HEAD..])?;
        if head[1] & 1 == 1 {
            return Ok(whole);
        }
    }
}

/// The text of a batch, or of what `sp_executesql` is to execute.
fn statement(message: &[u8]) -> Option<String> {
    let kind = *message.first()?;
    let mut data = Vec::new();
    let mut rest = message;
    while rest.len() >= HEAD {
        let size = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        data.extend_from_slice(rest.get(HEAD..size)?);
        rest = rest.get(size..)?;
    }
    let size = |at: usize| Some(usize::from(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?])));
    // All of its headers stand before it, with their size.
    let begin = usize::try_from(u32::from_le_bytes(data.get(..4)?.try_into().ok()?)).ok()?;
    match kind {
        BATCH => Some(text(data.get(begin..)?)),
        RPC if size(begin)? == 0xFFFF => {
            // The number of the procedure, flags; then the first parameter: its name, its flags, its type with the most
            // bytes and a collation, and its bytes, in chunks where that most is all.
            let name = begin + 6;
            let kind = name + 1 + usize::from(*data.get(name)?) * 2 + 1;
            let most = size(kind + 1)?;
            let value = kind + 3 + 5;
            if most < 0xFFFF {
                let long = size(value)?;
                return Some(text(data.get(value + 2..value + 2 + long)?));
            }
            let (mut at, mut whole) = (value + 8, Vec::new());
            loop {
                let long = usize::try_from(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?)).ok()?;
                if long == 0 {
                    return Some(text(&whole));
                }
                whole.extend_from_slice(data.get(at + 4..at + 4 + long)?);
                at += 4 + long;
            }
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16_lossy(&units)
}

fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn reply(tokens: &[u8]) -> Vec<u8> {
    let size = u16::try_from(tokens.len() + HEAD).unwrap().to_be_bytes();
    let mut whole = vec![REPLY, 1, size[0], size[1], 0, 0, 1, 0];
    whole.extend_from_slice(tokens);
    whole
}

fn done(status: u16, rows: u64) -> Vec<u8> {
    let mut token = vec![0xFD];
    token.extend(status.to_le_bytes());
    token.extend(0_u16.to_le_bytes());
    token.extend(rows.to_le_bytes());
    token
}

fn counted(counts: &[u64]) -> Vec<u8> {
    let mut tokens = Vec::new();
    for count in counts {
        // More is to come, and it has a count.
        let mut token = done(0x11, *count);
        token[0] = 0xFF;
        tokens.extend(token);
    }
    let mut token = done(0, 0);
    token[0] = 0xFE;
    tokens.extend(token);
    tokens
}

fn told(rows: &[Vec<Option<String>>]) -> Vec<u8> {
    let columns = rows.first().map_or(1, Vec::len);
    let mut token = vec![0x81];
    token.extend(u16::try_from(columns).unwrap().to_le_bytes());
    for index in 0..columns {
        token.extend(0_u32.to_le_bytes());
        token.extend(1_u16.to_le_bytes());
        token.push(0xE7);
        token.extend(8_000_u16.to_le_bytes());
        token.extend([0x09, 0x04, 0xD0, 0x00, 0x34]);
        let name = format!("c{index}");
        token.push(u8::try_from(name.len()).unwrap());
        token.extend(units(&name));
    }
    for row in rows {
        token.push(0xD1);
        for cell in row {
            match cell {
                None => token.extend(u16::MAX.to_le_bytes()),
                Some(cell) => {
                    let bytes = units(cell);
                    token.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
                    token.extend(bytes);
                }
            }
        }
    }
    token.extend(done(0x10, u64::try_from(rows.len()).unwrap()));
    token
}

fn error(number: u32, words: &str) -> Vec<u8> {
    let mut inner = number.to_le_bytes().to_vec();
    inner.extend([1, 16]);
    inner.extend(u16::try_from(words.encode_utf16().count()).unwrap().to_le_bytes());
    inner.extend(units(words));
    inner.extend([0, 0]);
    inner.extend(1_u32.to_le_bytes());
    let mut token = vec![0xAA];
    token.extend(u16::try_from(inner.len()).unwrap().to_le_bytes());
    token.extend(inner);
    token.extend(done(0x02, 0));
    token
}
