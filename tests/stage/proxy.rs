//! A network link that can be broken: a TCP proxy on loopback, in the test's own process.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

/// The state of the link. It holds for later bytes, on old connections and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    Good,
    /// Everything passes with this delay in each direction.
    Slow(Duration),
    /// Everything passes. Each piece has a random delay up to this one.
    Jitter(Duration),
    /// Everything passes at this many bytes a second in each direction.
    Narrow(u32),
    /// A black hole: connections are accepted and kept, nothing passes.
    Stalled,
    /// Requests pass, answers don't: the work is done, and the client gets no answer.
    AnswersStalled,
    /// This many more bytes of answers pass on each connection; the next byte resets it.
    AnswersCutAfter(usize),
    /// Connections are reset: those that are there and those that come.
    Down,
}

/// After this time a server notices that its client is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A proxy between a client and a server.
pub struct Proxy {
    address: SocketAddr,
    url: String,
    server: Arc<Mutex<String>>,
    link: watch::Sender<Link>,
    /// Rises when all that is open goes silent.
    silenced: watch::Sender<u64>,
    /// How many answers were cut off. Every connection holds one.
    cuts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A good link to the server of this URL, which names host and port.
    pub async fn before(url: &str) -> Self {
        let mut url = Url::parse(url).expect("the server's URL is one");
        let server = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let server = Arc::new(Mutex::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let (link, seen) = watch::channel(Link::Good);
        let (silenced, silence) = watch::channel(0);
        let cuts = Arc::default();
        let accepting = tokio::spawn(accept(listener, server.clone(), seen, silence, Arc::clone(&cuts)));
        Self { address, url: url.into(), server, link, silenced, cuts, accepting }
    }

    /// The server's URL, by way of this proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections to another server. Existing ones stay.
    pub fn lead_to(&self, server: SocketAddr) {
        self.leader().lead_to(server);
    }

    /// What leads new connections to another server, for somebody else to use.
    pub fn leader(&self) -> Leader {
        Leader(Arc::clone(&self.server))
    }

    /// How the link is.
    pub fn link(&self) -> Link {
        *self.link.borrow()
    }

    /// Makes the link so from now on.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Resets the connections there are; the link is good for those that come.
    pub async fn reset(&self) {
        self.set(Link::Down);
        super::eventually("connections are reset", super::SOON, async || (self.connections() == 0).then_some(())).await;
        self.set(Link::Good);
    }

    /// Nothing passes any more on the connections there are, and nobody closes them: the machine behind them
    /// lost its power. New ones are good.
    pub fn silence(&self) {
        self.silenced.send_modify(|times| *times += 1);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        Arc::strong_count(&self.cuts) - 2 // here and where they are accepted
    }

    /// How many answers were cut off so far.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Where a proxy leads new connections.
pub struct Leader(Arc<Mutex<String>>);

impl Leader {
    /// To this server from now on.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = server.to_string();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The task owns every connection's task.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<Mutex<String>>,
    link: watch::Receiver<Link>,
    silence: watch::Receiver<u64>,
    cuts: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let server = server.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let mut silence = silence.clone();
                silence.mark_unchanged();
                connections.spawn(connection(client, server, link.clone(), silence, Arc::clone(&cuts)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    mut client: TcpStream,
    server: String,
    link: watch::Receiver<Link>,
    mut silence: watch::Receiver<u64>,
    cuts: Arc<AtomicUsize>,
) {
    let mut until_down = link.clone();
    let mut to_server = None;
    let work = async {
        let server = to_server.insert(TcpStream::connect(server).await?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((mut asked, mut answer), (mut answered, mut ask)) = (client.split(), server.split());
        let questions = pass(&mut asked, &mut ask, link.clone(), Way::Question, &cuts);
        let answers = pass(&mut answered, &mut answer, link.clone(), Way::Answer, &cuts);
        tokio::try_join!(questions, answers).map(|_| ())
    };
    let down = || io::Result::Err(io::ErrorKind::ConnectionReset.into());
    let ended: Option<io::Result<()>> = tokio::select! {
        ended = work => Some(ended),
        _ = silence.changed() => None,
        _ = until_down.wait_for(|link| *link == Link::Down) => Some(down()),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // The server notices some time later that its client is gone. The client may wait for ever.
            let server = to_server.take();
            let _ = timeout(KEEPALIVE, until_down.wait_for(|link| *link == Link::Down)).await.is_ok();
            drop(server);
            let _ = until_down.wait_for(|link| *link == Link::Down).await.is_ok();
            down()
        }
    };
    if ended.is_err() {
        // A linger of zero makes their end a reset.
        for end in [Some(&client), to_server.as_ref()].into_iter().flatten() {
            let _ = end.set_zero_linger();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Question,
    Answer,
}

/// Passes bytes until their end, as the link allows.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut link: watch::Receiver<Link>,
    way: Way,
    cuts: &AtomicUsize,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    link.mark_changed();
    let mut left = None;
    loop {
        // What was read waits here while the link is stalled.
        let read = from.read(&mut bytes).await?;
        let arrived = Instant::now();
        loop {
            if link.has_changed().map_err(io::Error::other)? {
                left = match *link.borrow_and_update() {
                    Link::AnswersCutAfter(left) if way == Way::Answer => Some(left),
                    _ => None,
                };
            }
            let now = *link.borrow();
            match now {
                Link::Stalled => {}
                Link::AnswersStalled if way == Way::Answer => {}
                Link::Slow(delay) => break sleep_until(arrived + delay).await,
                Link::Jitter(most) => break sleep_until(arrived + most.mul_f64(rand::random())).await,
                Link::Narrow(bytes) => break sleep_until(arrived + time_for(read, bytes)).await,
                Link::Good | Link::AnswersStalled | Link::AnswersCutAfter(_) | Link::Down => break,
            }
            link.changed().await.map_err(io::Error::other)?;
            link.mark_changed();
        }
        if read == 0 {
            return to.shutdown().await;
        }
        let passing = left.unwrap_or(read).min(read);
        to.write_all(&bytes[..passing]).await?;
        if passing < read {
            cuts.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        left = left.map(|left| left - passing);
    }
}

/// How long so many bytes take at so many a second.
fn time_for(bytes: usize, a_second: u32) -> Duration {
    Duration::from_secs(1) * u32::try_from(bytes).unwrap_or(u32::MAX) / a_second.max(1)
}
