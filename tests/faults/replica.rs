//! A replica as an operator runs it: a process that is restarted when it ends. Its address stays the same, and
//! it has a link of its own to every server that it needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::stage::client::Client;
use crate::stage::clock::Clock;
use crate::stage::proxy::{Leader, Link, Proxy};
use crate::stage::service::{Service, Setup};
use crate::stage::{SOON, eventually, tail};

/// How often a replica is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// One replica.
pub struct Replica {
    /// The way of its clients to it.
    pub door: Proxy,
    /// Its link to PostgreSQL, if it uses PostgreSQL.
    pub to_postgres: Option<Proxy>,
    /// Its link to Redis, if it uses Redis.
    pub to_redis: Option<Proxy>,
    /// Its wall clock.
    pub clock: Clock,
    cared_for: Arc<CaredFor>,
    carer: JoinHandle<()>,
}

/// The process, and what is known of those before it.
struct CaredFor {
    setup: Setup,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    service: Option<Service>,
    /// Counts the processes.
    number: u64,
    /// Whether it must stay down now.
    held_down: bool,
    /// Whether the test has ended it.
    ended_by_us: bool,
    /// What is wrong with those that have ended.
    complaints: Vec<String>,
    /// How often the ended processes have reported that Redis is away.
    breaker_openings: usize,
}

impl Replica {
    /// Starts one with this setup, and waits until it is ready.
    pub async fn start(setup: Setup, to_postgres: Option<Proxy>, to_redis: Option<Proxy>) -> Self {
        let clock = Clock::right();
        let setup = clock.environment().iter().fold(setup, |setup, (name, value)| setup.set(name, value));
        let first = setup.start().await;
        let door = Proxy::before(&first.base_url()).await;
        let state = State { service: Some(first), number: 1, ..State::default() };
        let cared_for = Arc::new(CaredFor { setup, state: Mutex::new(state) });
        let carer = tokio::spawn(care(Arc::clone(&cared_for), door.leader()));
        Self { door, to_postgres, to_redis, clock, cared_for, carer }
    }

    /// The URL of its door, without a slash at its end.
    pub fn url(&self) -> String {
        self.door.url().trim_end_matches('/').to_owned()
    }

    /// Kills it, and keeps it down until [`Replica::let_up`].
    pub fn kill9(&self) {
        let state = &mut *self.cared_for.state();
        state.held_down = true;
        if let Some(service) = &mut state.service {
            state.ended_by_us = true;
            service.kill9();
        }
    }

    /// Lets it be started again.
    pub fn let_up(&self) {
        self.cared_for.state().held_down = false;
    }

    /// Pauses it (SIGSTOP).
    pub fn pause(&self) {
        self.cared_for.state().service.iter().for_each(Service::pause);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.cared_for.state().service.iter().for_each(Service::resume);
    }

    /// Asks it to stop, and waits until the next one is ready.
    pub async fn roll(&self) {
        let number = {
            let state = &mut *self.cared_for.state();
            if let Some(service) = &state.service {
                state.ended_by_us = true;
                service.ask_to_stop();
            }
            state.number
        };
        eventually("a replica is rolled over", SOON, async || (self.process()?.0 > number).then_some(())).await;
        self.ready().await;
    }

    /// Waits until it can count.
    pub async fn ready(&self) {
        eventually("a replica is ready", SOON, async || self.is_ready().await.then_some(())).await;
    }

    /// Whether it can count.
    pub async fn is_ready(&self) -> bool {
        let Some((_, address)) = self.process() else { return false };
        let asked = Client::new(&format!("http://{address}"));
        asked.request("GET", "/readyz", &[], "").await.is_ok_and(|reply| reply.status.is_success())
    }

    /// Which process it is, and where that listens, once it does.
    pub fn process(&self) -> Option<(u64, SocketAddr)> {
        self.cared_for.process()
    }

    /// The same, for somebody else to ask.
    pub fn processes(&self) -> Processes {
        Processes(Arc::clone(&self.cared_for))
    }

    /// Its open files, and its memory in KiB.
    pub fn holds(&self) -> Option<(usize, u64)> {
        let state = self.cared_for.state();
        state.service.as_ref().map(|service| (service.open_files(), service.memory()))
    }

    /// What was wrong with its processes up to now.
    pub fn complaints(&self) -> Vec<String> {
        let state = self.cared_for.state();
        let mut complaints = state.complaints.clone();
        complaints.extend(state.service.iter().filter_map(complaint));
        complaints
    }

    /// How often it has reported that Redis is away.
    pub fn breaker_openings(&self) -> usize {
        let state = self.cared_for.state();
        state.breaker_openings + state.service.iter().map(breaker_openings).sum::<usize>()
    }

    /// How often the present process noted that its disk is full.
    pub fn full_disks_noted(&self) -> usize {
        let state = self.cared_for.state();
        state.service.as_ref().map_or(0, |service| service.log().matches("disk is full").count())
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.cared_for.state().service.as_ref().map(|service| tail(&service.log())).unwrap_or_default()
    }

    /// Mends its links.
    pub fn mend(&self) {
        for link in [Some(&self.door), self.to_postgres.as_ref(), self.to_redis.as_ref()].into_iter().flatten() {
            link.set(Link::Good);
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.carer.abort();
    }
}

/// Which process a replica is at any time.
pub struct Processes(Arc<CaredFor>);

impl Processes {
    /// Which it is now, and where that listens, once it does.
    pub fn now(&self) -> Option<(u64, SocketAddr)> {
        self.0.process()
    }
}

impl CaredFor {
    fn process(&self) -> Option<(u64, SocketAddr)> {
        let mut state = self.state();
        let number = state.number;
        let address = state.service.as_mut()?.listens()?;
        Some((number, address))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts it whenever it has ended, and points its address to it as soon as it listens.
async fn care(cared_for: Arc<CaredFor>, door: Leader) {
    let mut led_to = None;
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let mut state = cared_for.state();
        if let Some(service) = &mut state.service {
            if let Some(address) = service.listens().filter(|address| led_to != Some(*address)) {
                door.lead_to(address);
                led_to = Some(address);
            }
            let Some(code) = service.ended() else { continue };
            let mut service = state.service.take().expect("it has just ended");
            state.complaints.extend(complaint(&service));
            state.breaker_openings += breaker_openings(&service);
            // Before it listens it may give up, for example if the database is away. A running service ends only
            // when it is asked to, and with code 0.
            let served = service.listens().is_some();
            let well = state.ended_by_us && code.is_none_or(|code| code == 0);
            if served && !well {
                state.complaints.push(format!("it ended with {code:?}:\n{}", tail(&service.log())));
            }
            state.ended_by_us = false;
        }
        if !state.held_down {
            state.number += 1;
            state.service = Some(cared_for.setup.spawn());
        }
    }
}

/// What a log must not have.
fn complaint(service: &Service) -> Option<String> {
    let log = service.log();
    let at = log.find("panicked at")?;
    Some(log[at..].lines().take(3).collect::<Vec<_>>().join("\n"))
}

fn breaker_openings(service: &Service) -> usize {
    service.logged("Redis is away: the fallback is in force").len()
}
