//! The socket under hyper. It turns hyper's own refusals into problem+json.
//!
//! What isn't HTTP never reaches a handler: hyper answers it with a 400, 414 or 431 without a body,
//! and closes. Every response of the service has a `Content-Type`, and no body of the service ends
//! with an empty line (CR LF CR LF). So a bare refusal is recognized by its bytes, and replaced
//! before it is sent.
//!
//! By hand, because hyper has no hook for these answers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::http::output::code::Code;
use crate::http::output::language::Language;
use crate::http::output::problem::Problem;
use crate::http::output::response::json_bytes;

/// A socket under hyper.
pub(super) struct Wire<S> {
    socket: S,
    /// The answer that replaces a bare refusal, as far as it is not written yet.
    pending: Vec<u8>,
}

impl<S> Wire<S> {
    pub(super) fn over(socket: S) -> Self {
        Self { socket, pending: Vec::new() }
    }
}

impl<S: Write + Unpin> Wire<S> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Read + Unpin> Read for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if let Some(code) = bare_refusal(buf) {
            self.pending = answer(code);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [only] => self.poll_write(cx, only),
            _ => {
                ready!(self.poll_pending(cx))?;
                Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
            }
        }
    }
}

/// The problem that hyper's refusal stands for, if these bytes are one.
fn bare_refusal(head: &[u8]) -> Option<Code> {
    let status = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
    let code = match status {
        b"400" => Code::MalformedRequest,
        b"414" | b"431" => Code::HeadersTooLarge,
        _ => return None,
    };
    let typed = head.windows(b"content-type".len()).any(|name| name.eq_ignore_ascii_case(b"content-type"));
    (head.ends_with(b"\r\n\r\n") && !typed).then_some(code)
}

/// The refusal as a problem, in English: the request could not be read, so its path and languages
/// are not known.
fn answer(code: Code) -> Vec<u8> {
    let problem = Problem::new(code, "the request could not be read as HTTP/1.1 within the limits");
    let body = json_bytes(&problem.members(Language::English, "", false));
    let status = code.status();
    let mut response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-language: en\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    response.extend(body);
    response
}
