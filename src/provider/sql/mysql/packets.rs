//! Packets of MySQL's protocol as they come from the server, without a copy of each: a comparison reads millions of rows, and
//! a driver's own path for one takes longer than all that is done with it. Must not know what is in them.
//!
//! Source: MySQL, "Client/Server protocol", section "MySQL packets"; MariaDB, "0 - Packet".

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// A packet of this size goes on in the next one.
const FULL: usize = 0xFF_FFFF;
/// So much is read at a time.
const READ: usize = 1 << 17;
const HEAD: usize = 4;
/// What an error begins with, and no row.
pub const REFUSED: u8 = 0xFF;

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
    /// A server that says nothing for so long has gone.
    patience: Duration,
}

/// An answer that is none.
pub fn wrong(words: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, words)
}

/// What a server asks for that is not done, or says in a language that is not known.
pub fn unheard(words: &str) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, words)
}

impl Packets {
    /// Over a stream that nothing was read of.
    pub fn new(stream: Box<dyn Stream>, patience: Duration) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            at: 0,
            whole: Vec::new(),
            number: 0,
            patience,
        }
    }

    /// Goes on in TLS.
    pub async fn within(mut self, connector: &TlsConnector, name: ServerName<'static>) -> io::Result<Self> {
        if self.bytes.len() != self.at {
            return Err(wrong("the server spoke before TLS began"));
        }
        self.stream = Box::new(connector.connect(name, self.stream).await?);
        Ok(self)
    }

    /// Leaves nothing here; what there was goes on elsewhere.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(Box::new(tokio::io::empty()), self.patience))
    }

    /// Sends the first packet of a new conversation.
    pub async fn begin(&mut self, body: &[u8]) -> io::Result<()> {
        if self.bytes.len() != self.at {
            return Err(wrong("the server said more than it was asked"));
        }
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
        if self.whole.capacity() > 0 {
            self.whole = Vec::new();
        }
        let (from, size) = match self.held(true)? {
            Some(part) => part,
            None => self.part(true).await?,
        };
        if size < FULL {
            return self
                .bytes
                .get(from..from + size)
                .ok_or_else(|| wrong("a packet was lost"));
        }
        let mut part = (from, size);
        loop {
            let (from, size) = part;
            let bytes = self.bytes.get(from..from + size).unwrap_or_default();
            self.whole.extend_from_slice(bytes);
            if size < FULL {
                return Ok(&self.whole);
            }
            part = self.part(false).await?;
        }
    }

    /// Where the next part of a packet is, and how long.
    async fn part(&mut self, first: bool) -> io::Result<(usize, usize)> {
        self.hold(HEAD).await?;
        let size = self.coming().map_or(0, |(size, _)| size);
        self.hold(HEAD + size).await?;
        self.held(first)?.ok_or_else(|| wrong("a packet without a head"))
    }

    /// How long the part is whose head is here, and its number.
    #[inline]
    fn coming(&self) -> Option<(usize, u8)> {
        let &[low, middle, high, number] = self.bytes.get(self.at..)?.first_chunk()?;
        let size = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        Some((size, number))
    }

    /// Where the next part is, and how long, if all of it is here. A packet's `first` part may be an error that has a number
    /// of its own.
    #[inline]
    fn held(&mut self, first: bool) -> io::Result<Option<(usize, usize)>> {
        let Some((size, number)) = self.coming() else {
            return Ok(None);
        };
        let from = self.at + HEAD;
        if self.bytes.len() - from < size {
            return Ok(None);
        }
        if number != self.number && !(first && self.bytes.get(from) == Some(&REFUSED) && size > 0) {
            return Err(wrong("packets came out of order"));
        }
        self.number = number.wrapping_add(1);
        self.at = from + size;
        Ok(Some((from, size)))
    }

    /// Reads until so many bytes are there.
    async fn hold(&mut self, size: usize) -> io::Result<()> {
        while self.bytes.len() - self.at < size {
            if self.at > 0 {
                self.bytes.drain(..self.at);
                self.at = 0;
            }
            if self.bytes.capacity() > 4 * READ && size <= READ {
                self.bytes.shrink_to(2 * READ);
            }
            self.bytes.reserve(READ.max(size.saturating_sub(self.bytes.len())));
            let reading = tokio::time::timeout(self.patience, self.stream.read_buf(&mut self.bytes));
            let read = reading.await.map_err(|_elapsed| {
                let words = format!("the server has said nothing for {} s", self.patience.as_secs());
                io::Error::new(ErrorKind::TimedOut, words)
            })?;
            if read? == 0 {
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
#[inline]
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
#[inline]
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

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let mut packets = Packets::new(Box::new(ours), LONG);
        let error = packets.next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("60 s"), "{error}");
    }

    #[tokio::test]
    async fn an_error_may_have_any_number_and_a_part_of_a_row_not() {
        let (ours, mut theirs) = tokio::io::duplex(2 * FULL);
        theirs.write_all(b"\x03\0\0\x07\xff\xbf\x0f").await.unwrap();
        let mut packets = Packets::new(Box::new(ours), LONG);
        assert_eq!(packets.next().await.unwrap(), b"\xff\xbf\x0f");
        let begin = [&b"\xff\xff\xff\x08"[..], &vec![7; FULL]].concat();
        theirs.write_all(&begin).await.unwrap();
        theirs.write_all(b"\x03\0\0\x01\xff\xbf\x0f").await.unwrap();
        assert_eq!(packets.next().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }

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
                let mut packets = Packets::new(Box::new(theirs), LONG);
                packets.begin(&sent).await.unwrap();
                packets.send(b"the next").await.unwrap();
                packets
            };
            let reading = async move {
                let mut packets = Packets::new(Box::new(ours), LONG);
                assert!(packets.next().await.unwrap() == body, "{size}");
                assert_eq!(packets.next().await.unwrap(), b"the next");
                packets
            };
            let (_theirs, mut ours) = tokio::join!(sending, reading);
            ours.begin(b"nothing was left").await.unwrap();
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
            let mut packets = Packets::new(Box::new(ours), LONG);
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
