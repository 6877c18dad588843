//! A keep-alive HTTP/1.1 connection. The generator shares the machine with what it
//! measures, so this does only what a terminal must do: write, read, look at the status.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to one address. It is opened when first used, and again after it broke.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    input: Vec<u8>,
}

/// An answer, its body borrowed from the connection.
#[derive(Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Whether it carries `Idempotency-Replayed: true`.
    pub replayed: bool,
    /// The body.
    pub body: &'a [u8],
}

/// What the head of an answer says.
struct Head {
    status: u16,
    replayed: bool,
    close: bool,
    /// Length of the head, and of head and body together.
    body_at: usize,
    end: usize,
}

/// More headers than any answer here has.
const MOST_HEADERS: usize = 32;
/// Room for one usual answer, so that one read takes it whole.
const USUAL_ANSWER: usize = 4096;
/// No answer here is near this size. A larger one is an error.
const LONGEST_ANSWER: usize = 1 << 20;

impl Connection {
    /// A connection to `host:port`, not opened yet.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None, input: Vec::with_capacity(USUAL_ANSWER) }
    }

    /// `host:port`, for the Host header.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request, given in full, and reads its answer.
    ///
    /// # Errors
    /// The connection could not be opened or broke, or the answer is not HTTP/1.1 with
    /// a content length. The next request opens a new one.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        // Taken out, so that a failure half-way leaves no connection behind.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        self.input.clear();
        let head = loop {
            if stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = head(&self.input)? {
                break head;
            }
        };
        while self.input.len() < head.end {
            if stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, replayed: head.replayed, body: &self.input[head.body_at..head.end] })
    }
}

fn head(input: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(input).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(body_at) = parsed else { return Ok(None) };
    let (mut length, mut replayed, mut close) = (None, false, false);
    for header in answer.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok().and_then(|value| value.parse::<usize>().ok());
        } else if header.name.eq_ignore_ascii_case("idempotency-replayed") {
            replayed = header.value == b"true";
        } else if header.name.eq_ignore_ascii_case("connection") {
            close = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let length = length
        .filter(|length| *length <= LONGEST_ANSWER)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no usable content-length"))?;
    let status = answer.code.expect("a complete head has a status");
    Ok(Some(Head { status, replayed, close, body_at, end: body_at + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nidempotency-replayed: true\r\n\r\n{}";
        assert!(head(&whole[..40]).expect("well formed so far").is_none());
        let read = head(whole).expect("well formed").expect("complete");
        assert_eq!((read.status, read.replayed, read.close), (201, true, false));
        assert_eq!(&whole[read.body_at..read.end], b"{}");
    }

    #[test]
    fn an_answer_without_a_length_is_an_error_and_not_a_wait() {
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
