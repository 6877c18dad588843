//! A plant: replicas and the servers below them. Every link can be broken.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::replica::Replica;
use super::snapshot::Books;
use crate::stage::clock::Clock;
use crate::stage::disk::Disk;
use crate::stage::postgres::Postgres;
use crate::stage::proxy::{Link, Proxy};
use crate::stage::redis::Redis;
use crate::stage::service::Setup;

/// Short, so that a fault can last longer than it within seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(2);
/// Settings of PostgreSQL: durable as by default, and small.
const POSTGRES: [(&str, &str); 7] = [
    ("max_connections", "100"),
    ("shared_buffers", "32MB"),
    ("min_wal_size", "32MB"),
    ("max_wal_size", "64MB"),
    // A standby may fall behind by this much while its primary is down.
    ("wal_keep_size", "64MB"),
    ("wal_retrieve_retry_interval", "100ms"),
    ("checkpoint_timeout", "1min"),
];

/// Replicas, and what is under them.
pub struct Plant {
    /// Some replicas behind a load balancer, or one.
    pub replicas: Vec<Replica>,
    /// The servers below them.
    pub ground: Ground,
}

/// The servers below the replicas.
pub enum Ground {
    /// PostgreSQL with a standby, and Redis with a replica.
    Shared(Box<Shared>),
    /// A data folder, on a disk of its own.
    Embedded(Disk),
}

/// PostgreSQL and Redis, two of each.
pub struct Shared {
    pub postgres: Cluster,
    pub redis: Pair,
}

impl Plant {
    /// The shared deployment, on disks of so many MiB.
    pub async fn shared(replicas: usize, disk: u64) -> Self {
        let (postgres, redis) = (Cluster::start(disk).await, Pair::start().await);
        let mut all = Vec::new();
        for _ in 0..replicas {
            let to_postgres = Proxy::before(&postgres.primary.url("postgres")).await;
            let to_redis = Proxy::before(&redis.master.url()).await;
            let setup = Setup::shared(to_postgres.url())
                .redis(to_redis.url())
                .set("SCANFENCE_LEASE_TTL", &format!("{}s", LEASE_TTL.as_secs()));
            all.push(Replica::start(setup, Some(to_postgres), Some(to_redis)).await);
        }
        Self { replicas: all, ground: Ground::Shared(Box::new(Shared { postgres, redis })) }
    }

    /// The embedded deployment, on a disk of so many MiB.
    pub async fn embedded(disk: u64) -> Self {
        let disk = Disk::small(disk);
        let setup = Setup::embedded(&disk.path().join("data"));
        let setup = disk.environment().iter().fold(setup, |setup, (name, value)| setup.set(name, value));
        let replica = Replica::start(setup, None, None).await;
        Self { replicas: vec![replica], ground: Ground::Embedded(disk) }
    }

    /// The URLs of its doors.
    pub fn doors(&self) -> Vec<String> {
        self.replicas.iter().map(Replica::url).collect()
    }

    /// Where its books are now.
    pub fn books(&self) -> Books {
        match &self.ground {
            Ground::Shared(shared) => Books::Postgres(shared.postgres.primary.url("postgres")),
            Ground::Embedded(disk) => Books::Sqlite(disk.path().join("data/scanfence.db")),
        }
    }

    /// PostgreSQL and Redis; only shared plants have them.
    pub fn shared_ground(&mut self) -> &mut Shared {
        match &mut self.ground {
            Ground::Shared(shared) => shared,
            Ground::Embedded(_) => unreachable!("only shared plants are struck so"),
        }
    }

    /// The disk of the database.
    pub fn disk(&self) -> &Disk {
        match &self.ground {
            Ground::Shared(shared) => &shared.postgres.disks[shared.postgres.on],
            Ground::Embedded(disk) => disk,
        }
    }

    /// How often a database wrote that its disk is full.
    pub fn full_disks_noted(&self) -> usize {
        match &self.ground {
            Ground::Shared(shared) => {
                let note = "No space left on device";
                shared.postgres.primary.log().matches(note).count()
            }
            Ground::Embedded(_) => self.replicas[0].full_disks_noted(),
        }
    }

    /// Ends the primary so, promotes the standby, leads the replicas to it, and gives it a standby.
    pub async fn fail_over(&mut self, old: Old) {
        let postgres = &mut self.shared_ground().postgres;
        postgres.fail_over(old).await;
        let port = postgres.primary.port();
        for replica in &self.replicas {
            replica.to_postgres.iter().for_each(|link| link.lead_to(local(port)));
        }
        if old == Old::Killed {
            self.shared_ground().postgres.add_standby().await;
        }
    }

    /// Promotes the replica of Redis. New connections lead to it, and old connections stay with the old
    /// master: two masters grant leases.
    pub fn promote_redis(&mut self) {
        let redis = &mut self.shared_ground().redis;
        redis.promote();
        let port = redis.master.port;
        for replica in &self.replicas {
            replica.to_redis.iter().for_each(|link| link.lead_to(local(port)));
        }
    }

    /// Resets what leads to the Redis of before.
    pub async fn forget_old_redis(&mut self) {
        for replica in &self.replicas {
            if let Some(link) = &replica.to_redis {
                link.reset().await;
            }
        }
        self.shared_ground().redis.follow();
    }
}

/// What becomes of a primary whose standby takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// It is gone, and its sessions are closed.
    Killed,
    /// It does not answer, and its sessions stay open.
    Frozen,
}

/// A primary and its synchronous standby, each on a disk of its own.
pub struct Cluster {
    pub primary: Postgres,
    /// The primary of before, which does not know it.
    frozen: Option<Postgres>,
    standby: Option<Postgres>,
    disks: [Disk; 2],
    /// The disk of the primary.
    on: usize,
}

impl Cluster {
    async fn start(disk: u64) -> Self {
        let disks = [Disk::small(disk), Disk::small(disk)];
        let primary = Postgres::start_on(&disks[0], &POSTGRES).await;
        let standby = primary.standby_on(&disks[1]).await;
        Self { primary, frozen: None, standby: Some(standby), disks, on: 0 }
    }

    /// How many sessions hold a transaction open without doing anything in it.
    pub async fn idle_in_transaction(&self) -> i64 {
        self.primary.idle_in_transaction().await
    }

    async fn fail_over(&mut self, old: Old) {
        match old {
            Old::Killed => self.primary.kill9().await,
            Old::Frozen => self.primary.pause(),
        }
        let standby = self.standby.take().expect("it has a standby between two failovers");
        standby.promote().await;
        let primary = std::mem::replace(&mut self.primary, standby);
        self.frozen = (old == Old::Frozen).then_some(primary);
        self.on = 1 - self.on;
    }

    /// The frozen one is killed, as by somebody who sees that there are two, and a standby takes its place.
    pub async fn end_the_frozen_one(&mut self) {
        if let Some(mut frozen) = self.frozen.take() {
            frozen.kill9().await;
        }
        self.add_standby().await;
    }

    async fn add_standby(&mut self) {
        self.standby = Some(self.primary.standby_on(&self.disks[1 - self.on]).await);
    }
}

/// A Redis and its replica, by one wall clock.
pub struct Pair {
    pub master: Redis,
    pub clock: Clock,
    replica: Redis,
    /// From the replica to the master.
    link: Proxy,
}

impl Pair {
    async fn start() -> Self {
        let clock = Clock::right();
        let at_once = ["--repl-diskless-sync-delay", "0"];
        let (master, replica) =
            (Redis::start_by(&clock.environment(), &at_once), Redis::start_by(&clock.environment(), &at_once));
        let link = Proxy::before(&master.url()).await;
        let pair = Self { master, clock, replica, link };
        pair.follow();
        pair
    }

    /// Has the replica follow the master.
    fn follow(&self) {
        self.link.lead_to(local(self.master.port));
        self.link.set(Link::Good);
        self.replica.ask(&["REPLICAOF", "127.0.0.1", &self.link.address().port().to_string()]);
    }

    /// The leases that are there and will run out within this time. One that was granted while
    /// the clock was ahead stays for as long as the clock is then behind.
    pub fn leases_within(&self, time: Duration) -> Vec<String> {
        let keys = self.master.ask(&["KEYS", "scanfence:*:lease"]);
        let soon = |key: &&str| {
            let left: i64 = self.master.ask(&["PTTL", key]).parse().unwrap_or_default();
            (1..=i64::try_from(time.as_millis()).unwrap_or(i64::MAX)).contains(&left)
        };
        keys.lines().filter(|key| !key.is_empty()).filter(soon).map(ToOwned::to_owned).collect()
    }

    /// Cuts the link between them: what is granted from now on, the replica does not know.
    pub fn part(&self) {
        self.link.set(Link::Stalled);
    }

    /// Makes the replica a master, and the master a replica to be.
    fn promote(&mut self) {
        self.replica.ask(&["REPLICAOF", "NO", "ONE"]);
        std::mem::swap(&mut self.master, &mut self.replica);
    }
}

/// A port of this machine.
fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
