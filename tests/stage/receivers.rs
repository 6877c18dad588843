//! Receivers of alarms: real servers on loopback. A test decides how they answer.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How the next request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status line, more headers (each ending its line) and a body.
    Http(&'static str, &'static str, &'static str),
    /// None, and the connection stays.
    Stall,
    /// None: the connection is reset.
    Reset,
    /// A body without end.
    Endless,
}

/// The answer of DingTalk and WeCom to a message that they accept.
pub const GOOD: Answer = Answer::Http("200 OK", "", r#"{"errcode":0,"errmsg":"ok"}"#);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Path and query.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

impl Received {
    /// The text of a DingTalk or WeCom message.
    pub fn text(&self) -> &str {
        self.body["text"]["content"].as_str().expect("a text message")
    }

    /// Its first line.
    pub fn title(&self) -> &str {
        self.text().lines().next().expect("a text has a line")
    }
}

/// A web server for one robot.
pub struct WebReceiver {
    address: SocketAddr,
    told: Arc<Told>,
    accepting: JoinHandle<()>,
}

struct Told {
    next: Mutex<VecDeque<Answer>>,
    then: Mutex<Answer>,
    received: Mutex<Vec<Received>>,
}

impl WebReceiver {
    /// One that answers so until it is told otherwise.
    pub async fn start(then: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        let told = Arc::new(Told { next: Mutex::default(), then: Mutex::new(then), received: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, {
            let told = told.clone();
            move |stream| answer_web(stream, told.clone())
        }));
        Self { address, told, accepting }
    }

    /// Its URL, with a secret token.
    pub fn url(&self) -> String {
        format!("http://{}/robot/send?access_token=TOKENTOKEN", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers the next request so, and the one after as before.
    pub fn next(&self, answer: Answer) {
        lock(&self.told.next).push_back(answer);
    }

    /// Answers so from now on.
    pub fn then(&self, answer: Answer) {
        *lock(&self.told.then) = answer;
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.told.received).clone()
    }

    /// The titles of all texts so far.
    pub fn titles(&self) -> Vec<String> {
        self.received().iter().map(|received| received.title().to_owned()).collect()
    }
}

impl Drop for WebReceiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer_web(stream: TcpStream, told: Arc<Told>) {
    let mut stream = BufReader::new(stream);
    let Some(received) = read_request(&mut stream).await else { return };
    lock(&told.received).push(received);
    let next = lock(&told.next).pop_front();
    let answer = next.unwrap_or_else(|| lock(&told.then).clone());
    let mut stream = stream.into_inner();
    match answer {
        Answer::Http(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
        Answer::Stall => std::future::pending().await,
        Answer::Reset => stream.set_zero_linger().expect("it is a socket"),
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { target, headers, body: serde_json::from_slice(&body).ok()? })
}

/// How a mail server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smtp {
    /// It takes everything.
    Good,
    /// It knows no such mailbox.
    NoMailbox,
    /// It takes nothing just now.
    Later,
    /// It says nothing after its greeting.
    Stall,
    /// It resets the connection where the message ends.
    Reset,
}

/// A mail server without TLS.
pub struct MailReceiver {
    address: SocketAddr,
    behaves: Arc<Mutex<Smtp>>,
    mails: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl MailReceiver {
    /// One that behaves so until it is told otherwise.
    pub async fn start(behaves: Smtp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
        let address = listener.local_addr().expect("it is bound");
        let (behaves, mails) = (Arc::new(Mutex::new(behaves)), Arc::<Mutex<Vec<String>>>::default());
        let accepting = tokio::spawn(accept(listener, {
            let (behaves, mails) = (behaves.clone(), mails.clone());
            move |stream| {
                let (behaves, mails) = (*lock(&behaves), mails.clone());
                async move {
                    // However the connection ends.
                    let _ = answer_mail(stream, behaves, &mails).await;
                }
            }
        }));
        Self { address, behaves, mails, accepting }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves so from now on.
    pub fn then(&self, behaves: Smtp) {
        *lock(&self.behaves) = behaves;
    }

    /// All that was sent between DATA and its end, taken or not.
    pub fn mails(&self) -> Vec<String> {
        lock(&self.mails).clone()
    }
}

impl Drop for MailReceiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer_mail(stream: TcpStream, behaves: Smtp, mails: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.split([' ', '\r']).next().unwrap_or_default().to_uppercase();
        let answer = match (command.as_str(), behaves) {
            (_, Smtp::Stall) => std::future::pending().await,
            ("EHLO", _) => "250-mail.example\r\n250 8BITMIME\r\n",
            ("RCPT", Smtp::NoMailbox) => "550 5.1.1 no such mailbox\r\n",
            ("MAIL", Smtp::Later) => "451 4.3.0 later\r\n",
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                let mail = read_mail(&mut stream).await?;
                lock(mails).push(mail);
                if behaves == Smtp::Reset {
                    return stream.into_inner().set_zero_linger();
                }
                "250 2.0.0 queued as 4711\r\n"
            }
            ("QUIT", _) => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn read_mail(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut mail = String::new();
    loop {
        let begin = mail.len();
        stream.read_line(&mut mail).await?;
        if mail[begin..] == *".\r\n" || mail.len() == begin {
            return Ok(mail);
        }
    }
}

async fn accept<F: Future<Output = ()> + Send + 'static>(listener: TcpListener, answer: impl Fn(TcpStream) -> F) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(connections.spawn(answer(stream))),
            Some(_) = connections.join_next() => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
