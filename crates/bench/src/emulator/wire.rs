//! A client's end of one kept HTTP/1.1 connection, as thin as it can be: prepared bytes out, status,
//! `Location` and the end of the answer in.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Why a call gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the answer is not HTTP")]
    Http(#[from] httparse::Error),
    #[error("the answer has no length, or a broken one")]
    Framing,
    #[error("status {found} instead of {wanted}")]
    Status { found: u16, wanted: u16 },
    #[error("the answer has no Location")]
    Location,
}

/// A kept connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The start of an answer; its body was read and dropped.
#[derive(Debug)]
struct Head {
    status: u16,
    /// The path of `Location`.
    location: Option<String>,
    /// Where the body starts.
    length: usize,
    body: Framing,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Sized(usize),
    Chunked,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, CallError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Makes a call that must be answered with this status.
    pub(super) async fn call(&mut self, request: &[u8], wanted: u16) -> Result<(), CallError> {
        self.exchange(request, wanted, false).await.map(drop)
    }

    /// Makes a call, and returns the path of the answer's `Location`.
    pub(super) async fn call_for_location(&mut self, request: &[u8], wanted: u16) -> Result<String, CallError> {
        self.exchange(request, wanted, true).await?.ok_or(CallError::Location)
    }

    async fn exchange(
        &mut self,
        request: &[u8],
        wanted: u16,
        with_location: bool,
    ) -> Result<Option<String>, CallError> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.fill().await?;
            if let Some(head) = Head::parse(&self.buffer, with_location)? {
                break head;
            }
        };
        let mut end = body_end(&self.buffer, &head)?;
        while end.is_none_or(|end| end > self.buffer.len()) {
            self.fill().await?;
            end = body_end(&self.buffer, &head)?;
        }
        if head.status == wanted { Ok(head.location) } else { Err(CallError::Status { found: head.status, wanted }) }
    }

    async fn fill(&mut self) -> Result<(), CallError> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(CallError::Closed),
            _ => Ok(()),
        }
    }
}

impl Head {
    fn parse(bytes: &[u8], with_location: bool) -> Result<Option<Self>, CallError> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
        let mut body = None;
        let mut location = None;
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
                body = Some(Framing::Sized(length.ok_or(CallError::Framing)?));
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                body = Some(Framing::Chunked);
            } else if with_location && header.name.eq_ignore_ascii_case("location") {
                location = std::str::from_utf8(header.value).ok().and_then(path).map(str::to_owned);
            }
        }
        let body = body.ok_or(CallError::Framing)?;
        Ok(Some(Self { status: response.code.unwrap_or(0), location, length, body }))
    }
}

/// Where the answer ends, if that is known yet.
fn body_end(bytes: &[u8], head: &Head) -> Result<Option<usize>, CallError> {
    let mut at = head.length;
    if let Framing::Sized(length) = head.body {
        return Ok(Some(at + length));
    }
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Ok(httparse::Status::Complete((digits, size))) = httparse::parse_chunk_size(rest) else {
            return Ok(None);
        };
        let size = usize::try_from(size).map_err(|_| CallError::Framing)?;
        // The line of the size, the chunk, and the end of its line; there are no trailers.
        at = at.saturating_add(digits).saturating_add(size).saturating_add(2);
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

/// The path of an absolute URL.
fn path(url: &str) -> Option<&str> {
    let after_scheme = url.find("://")? + 3;
    let start = url.get(after_scheme..)?.find('/')?;
    url.get(after_scheme + start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKED: &[u8] = b"HTTP/1.1 201 Created\r\nlocation: http://localhost:1/q/messages/1/token\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    #[test]
    fn an_answer_ends_with_its_last_chunk_and_not_before() {
        for cut in 0..LOCKED.len() {
            let whole = Head::parse(&LOCKED[..cut], true).unwrap().map(|head| body_end(&LOCKED[..cut], &head).unwrap());
            let ended = whole.flatten().is_some_and(|end| end <= cut);
            assert!(!ended, "cut at {cut}");
        }
        let head = Head::parse(LOCKED, true).unwrap().unwrap();
        assert_eq!(body_end(LOCKED, &head).unwrap(), Some(LOCKED.len()));
        assert_eq!((head.status, head.location.as_deref()), (201, Some("/q/messages/1/token")));
    }

    #[test]
    fn an_answer_may_say_its_length() {
        let answer = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        let head = Head::parse(answer, false).unwrap().unwrap();
        assert_eq!((head.status, body_end(answer, &head).unwrap()), (204, Some(answer.len())));
        let silent = b"HTTP/1.1 200 OK\r\n\r\n";
        assert!(matches!(Head::parse(silent, false), Err(CallError::Framing)));
    }
}
