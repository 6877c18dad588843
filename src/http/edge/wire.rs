//! The socket under hyper. It turns hyper's own refusals into problem+json, and limits how long a client
//! may take to send a head and to read an answer.
//!
//! What isn't HTTP never reaches a handler: hyper answers it with a 400, 414 or 431 without a body,
//! and closes. Every response of the service has a `Content-Type`, and no body of the service ends
//! with an empty line (CR LF CR LF). So a bare refusal is recognized by its bytes, and replaced
//! before it is sent.
//!
//! A slow head is answered 408. An answer that its client does not read ends the connection: such clients
//! would hold their connections for ever.
//!
//! By hand, because hyper has no hook for these answers, and no time limit for writing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::output::code::Code;
use crate::http::output::language::Language;
use crate::http::output::problem::Problem;
use crate::http::output::response::json_bytes;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, from its first byte. For the first head, from the beginning.
    pub head: Duration,
    /// To read the next bytes of an answer.
    pub progress: Duration,
    /// To read a whole answer.
    pub answer: Duration,
}

/// What a connection waits for. Who answers its requests says when one begins and ends.
#[derive(Debug)]
pub(super) struct Phase(AtomicU8);

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

impl Phase {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(HEAD)))
    }

    /// The head of a request is complete.
    pub(super) fn busy(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// The request is answered.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

/// A socket under hyper.
pub(super) struct Wire<S> {
    socket: S,
    /// The answer that replaces a bare refusal, as far as it is not written yet.
    pending: Vec<u8>,
    phase: Arc<Phase>,
    patience: Patience,
    /// While a head is awaited.
    head: Option<Pin<Box<Sleep>>>,
    /// Whether any of it has come.
    begun: bool,
    /// While the client does not read.
    writing: Option<Pin<Box<Sleep>>>,
    /// Since when there is something that the client has not read.
    behind_since: Option<Instant>,
}

impl<S> Wire<S> {
    pub(super) fn over(socket: S, phase: Arc<Phase>, patience: Patience) -> Self {
        let (pending, head, writing, behind_since) = (Vec::new(), None, None, None);
        Self { socket, pending, phase, patience, head, begun: false, writing, behind_since }
    }

    /// Ends the wait for a client that does not read.
    fn within_patience<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let now = Instant::now();
        let behind_since = *self.behind_since.get_or_insert(now);
        let until = (now + self.patience.progress).min(behind_since + self.patience.answer);
        let writing = self.writing.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(writing.as_mut().poll(cx));
        tracing::debug!("a client did not read its answer in time: its connection is closed");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
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

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Ends the wait for a head, with a 408 if some of it has come.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let until = Instant::now() + self.patience.head;
        let head = self.head.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(head.as_mut().poll(cx));
        if self.begun {
            self.pending = answer(Code::RequestTimeout, "the head of the request did not arrive in time");
            // What does not fit into the socket's buffer now is lost.
            let _ = self.poll_pending(cx);
            let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        let phase = self.phase.0.load(Ordering::Relaxed);
        match polled {
            Poll::Pending if phase == HEAD => self.poll_head(cx),
            Poll::Ready(Ok(())) if phase != BUSY && buf.filled().len() > before => {
                self.begun = true;
                if phase == IDLE {
                    self.head = None;
                    self.phase.0.store(HEAD, Ordering::Relaxed);
                }
                polled
            }
            polled => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        if let Some(code) = bare_refusal(buf) {
            self.pending = answer(code, "the request could not be read as HTTP/1.1 within the limits");
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.within_patience(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        if polled.is_ready() {
            self.behind_since = None;
        }
        self.within_patience(cx, polled)
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
                let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
                self.within_patience(cx, polled)
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
fn answer(code: Code, detail: &'static str) -> Vec<u8> {
    let problem = Problem::new(code, detail);
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
