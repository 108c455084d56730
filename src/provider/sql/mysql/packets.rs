//! Packets of MySQL's protocol as they come from the server, without a copy of each: a comparison reads millions of rows, and
//! a driver's own path for one takes longer than all that is done with it. Must not know what is in them.
//!
//! Source: MySQL, "Client/Server protocol", section "MySQL packets"; MariaDB, "0 - Packet".

use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A packet of this size goes on in the next one.
const FULL: usize = 0xFF_FFFF;
/// So much is read at a time.
const READ: usize = 1 << 17;
const HEAD: usize = 4;

/// A stream to a server, in the clear or in TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Packets in both directions.
pub struct Packets {
    stream: Box<dyn Stream>,
    bytes: Vec<u8>,
    /// Where the next packet begins.
    at: usize,
    /// A packet that came in several parts.
    whole: Vec<u8>,
    /// The number of the next packet.
    number: u8,
}

/// An answer that is none.
pub fn wrong(words: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, words)
}

impl Packets {
    /// Over a stream that nothing was read of.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            bytes: Vec::with_capacity(2 * READ),
            at: 0,
            whole: Vec::new(),
            number: 0,
        }
    }

    /// The stream, where the other side has said all that was to be said so far.
    pub fn into_stream(self) -> io::Result<Box<dyn Stream>> {
        match self.bytes.len() == self.at {
            true => Ok(self.stream),
            false => Err(wrong("the server spoke before TLS began")),
        }
    }

    /// Goes on where a conversation was before TLS began.
    pub fn going_on(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// The number that the next packet has.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Sends the first packet of a new conversation.
    pub async fn begin(&mut self, body: &[u8]) -> io::Result<()> {
        self.number = 0;
        self.send(body).await
    }

    /// Sends a packet that answers.
    pub async fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let mut framed = Vec::with_capacity(body.len() + HEAD);
        let mut parts = body.chunks(FULL).peekable();
        let mut last = 0;
        if parts.peek().is_none() {
            self.head(&mut framed, 0);
        }
        for part in parts {
            self.head(&mut framed, part.len());
            framed.extend_from_slice(part);
            last = part.len();
        }
        if last == FULL {
            self.head(&mut framed, 0);
        }
        self.stream.write_all(&framed).await?;
        self.stream.flush().await
    }

    fn head(&mut self, framed: &mut Vec<u8>, size: usize) {
        let bytes = u32::try_from(size).unwrap_or(0).to_le_bytes();
        framed.extend_from_slice(bytes.get(..3).unwrap_or_default());
        framed.push(self.number);
        self.number = self.number.wrapping_add(1);
    }

    /// The next packet.
    pub async fn next(&mut self) -> io::Result<&[u8]> {
        let (from, size) = self.part().await?;
        if size < FULL {
            return self
                .bytes
                .get(from..from + size)
                .ok_or_else(|| wrong("a packet was lost"));
        }
        self.whole.clear();
        let mut part = (from, size);
        loop {
            let (from, size) = part;
            let bytes = self.bytes.get(from..from + size).unwrap_or_default();
            self.whole.extend_from_slice(bytes);
            if size < FULL {
                return Ok(&self.whole);
            }
            part = self.part().await?;
        }
    }

    /// Where the next part of a packet is, and how long.
    async fn part(&mut self) -> io::Result<(usize, usize)> {
        self.hold(HEAD).await?;
        let head = self.bytes.get(self.at..self.at + HEAD).unwrap_or_default();
        let &[low, middle, high, number] = head else {
            return Err(wrong("a packet without a head"));
        };
        if number != self.number {
            return Err(wrong("packets came out of order"));
        }
        self.number = number.wrapping_add(1);
        let size = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        self.hold(HEAD + size).await?;
        let from = self.at + HEAD;
        self.at = from + size;
        Ok((from, size))
    }

    /// Reads until so many bytes are there.
    async fn hold(&mut self, size: usize) -> io::Result<()> {
        while self.bytes.len() - self.at < size {
            if self.at > 0 {
                self.bytes.drain(..self.at);
                self.at = 0;
            }
            self.bytes.reserve(READ.max(size));
            if self.stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    "the server closed the connection",
                ));
            }
        }
        Ok(())
    }
}

/// A number of a length at the beginning of `bytes`, which moves beyond it; nothing where it stands for NULL.
pub fn length(bytes: &mut &[u8]) -> io::Result<Option<usize>> {
    let short = || wrong("a packet ends too early");
    let (first, rest) = bytes.split_first().ok_or_else(short)?;
    let wide = match first {
        0xFB => {
            *bytes = rest;
            return Ok(None);
        }
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        0xFF => return Err(wrong("a length that is none")),
        short => {
            *bytes = rest;
            return Ok(Some(usize::from(*short)));
        }
    };
    let (number, rest) = rest.split_at_checked(wide).ok_or_else(short)?;
    *bytes = rest;
    let mut whole = [0; 8];
    whole.get_mut(..wide).ok_or_else(short)?.copy_from_slice(number);
    usize::try_from(u64::from_le_bytes(whole))
        .map(Some)
        .map_err(|_far| short())
}

/// A value of a row at the beginning of `bytes`, which moves beyond it; nothing where it is NULL.
pub fn value<'a>(bytes: &mut &'a [u8]) -> io::Result<Option<&'a [u8]>> {
    let Some(size) = length(bytes)? else { return Ok(None) };
    let (value, rest) = bytes
        .split_at_checked(size)
        .ok_or_else(|| wrong("a packet ends too early"))?;
    *bytes = rest;
    Ok(Some(value))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            let Some(value) = value else {
                bytes.push(0xFB);
                continue;
            };
            let size = value.len();
            let wide = size.to_le_bytes();
            match size {
                0..0xFB => bytes.push(wide[0]),
                0xFB..0x1_0000 => bytes.extend([&[0xFC], &wide[..2]].concat()),
                0x1_0000..0x100_0000 => bytes.extend([&[0xFD], &wide[..3]].concat()),
                _ => bytes.extend([&[0xFE], &wide[..8]].concat()),
            }
            bytes.extend(value);
        }
        bytes
    }

    #[tokio::test]
    async fn a_packet_of_several_parts_is_one() {
        for size in [0, 1, FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 7] {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let sent = body.clone();
            let sending = async move {
                let mut packets = Packets::new(Box::new(theirs));
                packets.begin(&sent).await.unwrap();
                packets.send(b"the next").await.unwrap();
                packets
            };
            let reading = async move {
                let mut packets = Packets::new(Box::new(ours));
                assert!(packets.next().await.unwrap() == body, "{size}");
                assert_eq!(packets.next().await.unwrap(), b"the next");
                packets
            };
            let (_theirs, ours) = tokio::join!(sending, reading);
            ours.into_stream().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_cut_or_out_of_order_is_an_error() {
        for (bytes, kind) in [
            (&b"\x05\0\0\0abc"[..], ErrorKind::UnexpectedEof),
            (&b"\x05\0"[..], ErrorKind::UnexpectedEof),
            (&b"\x01\0\0\x07a"[..], ErrorKind::InvalidData),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(bytes).await.unwrap();
            drop(theirs);
            let mut packets = Packets::new(Box::new(ours));
            assert_eq!(packets.next().await.unwrap_err().kind(), kind, "{bytes:?}");
        }
        for cut in [
            &b""[..],
            b"\x05abc",
            b"\xfc\x01",
            b"\xff",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let mut rest = cut;
            assert!(value(&mut rest).is_err(), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn values_come_as_they_were_written(
            values in proptest::collection::vec(
                proptest::option::of(prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    proptest::collection::vec(any::<u8>(), 240..300),
                    proptest::collection::vec(any::<u8>(), 65_500..65_600),
                ]),
                0..8,
            ),
        ) {
            let bytes = written(&values);
            let mut rest = bytes.as_slice();
            for wanted in &values {
                prop_assert_eq!(value(&mut rest).unwrap(), wanted.as_deref());
            }
            prop_assert!(rest.is_empty());
        }
    }
}
