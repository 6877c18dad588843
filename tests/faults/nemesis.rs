//! Chooses faults and their order from a seed, causes them and ends them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::floor::{Floor, Patience};
use super::plant::{Ground, LEASE_TTL, Old, Plant};
use crate::stage::proxy::{Link, Proxy};

/// How often Redis is flushed in one strike, and in between.
const FLUSHES: usize = 10;
const BETWEEN_FLUSHES: Duration = Duration::from_millis(20);

/// A kind of fault; [`Fault::words`] says what each one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    ReplicaKilled,
    ReplicaPaused,
    ReplicasRolled,
    ReplicaClockStepped,
    WritesLate,
    RedisRestartedEmpty,
    RedisFlushed,
    RedisHung,
    RedisCutOff,
    RedisPromoted,
    RedisClockStepped,
    PostgresRestarted,
    PostgresKilled,
    PostgresFailedOver,
    PostgresFrozen,
    PostgresSilent,
    PostgresCutOff,
    PostgresAnswersCut,
    PostgresAnswersLost,
    RedisSilent,
    DiskFull,
    DoorSlow,
    DoorJitters,
    DoorNarrow,
    DoorStalled,
    DoorReset,
    DoorAnswersCut,
    ClientsVanish,
}

/// The part of the plant that a fault needs. Two faults that need the same part never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Replica(usize),
    Clock(usize),
    Door(usize),
    Postgres,
    Redis,
    RedisClock,
    Clients,
}

impl Fault {
    /// Every kind: whether the embedded deployment has it too, how many of it are in a deck,
    /// and how long it lasts, in milliseconds. Silent and frozen servers last until most of the replicas have
    /// noticed, so that the next fault strikes a service that counts.
    const ALL: [(Self, bool, usize, [u64; 2]); 28] = [
        (Self::ReplicaKilled, true, 3, [100, 700]),
        (Self::ReplicaPaused, true, 2, [2200, 2800]),
        (Self::ReplicasRolled, true, 1, [0, 1]),
        (Self::ReplicaClockStepped, true, 2, [300, 900]),
        (Self::WritesLate, false, 1, [2600, 3000]),
        (Self::RedisRestartedEmpty, false, 1, [50, 700]),
        (Self::RedisFlushed, false, 2, [0, 1]),
        (Self::RedisHung, false, 1, [600, 1400]),
        (Self::RedisCutOff, false, 1, [500, 1400]),
        (Self::RedisPromoted, false, 1, [300, 700]),
        (Self::RedisClockStepped, false, 2, [300, 900]),
        (Self::PostgresRestarted, false, 1, [0, 1]),
        (Self::PostgresKilled, false, 1, [50, 400]),
        (Self::PostgresFailedOver, false, 1, [0, 1]),
        (Self::PostgresFrozen, false, 1, [6500, 7000]),
        (Self::PostgresSilent, false, 1, [4000, 4500]),
        (Self::PostgresCutOff, false, 1, [300, 900]),
        (Self::PostgresAnswersCut, false, 2, [200, 500]),
        (Self::PostgresAnswersLost, false, 1, [300, 900]),
        (Self::RedisSilent, false, 1, [0, 1]),
        (Self::DiskFull, true, 1, [700, 1500]),
        (Self::DoorSlow, true, 1, [800, 1200]),
        (Self::DoorJitters, true, 1, [300, 900]),
        (Self::DoorNarrow, true, 1, [300, 900]),
        (Self::DoorStalled, true, 1, [300, 900]),
        (Self::DoorReset, true, 1, [0, 1]),
        (Self::DoorAnswersCut, true, 2, [200, 500]),
        (Self::ClientsVanish, true, 1, [300, 900]),
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ReplicaKilled => "replica killed (kill -9) and restarted",
            Self::ReplicaPaused => "replica paused (SIGSTOP) for longer than its leases",
            Self::ReplicasRolled => "rolling restart",
            Self::ReplicaClockStepped => "wall clock of a replica stepped by an hour",
            Self::WritesLate => "a replica's writes later than its leases",
            Self::RedisRestartedEmpty => "Redis killed and restarted empty",
            Self::RedisFlushed => "Redis flushed",
            Self::RedisHung => "Redis hung",
            Self::RedisCutOff => "a replica cut off from Redis",
            Self::RedisPromoted => "replica of Redis promoted, the link to its master dead",
            Self::RedisClockStepped => "wall clock of Redis stepped by an hour",
            Self::PostgresRestarted => "PostgreSQL restarted (fast)",
            Self::PostgresKilled => "PostgreSQL killed (kill -9)",
            Self::PostgresFailedOver => "PostgreSQL's primary killed, its standby promoted",
            Self::PostgresFrozen => "PostgreSQL's primary frozen (SIGSTOP), its standby promoted",
            Self::PostgresSilent => "a replica's open sessions silent, new ones good",
            Self::PostgresCutOff => "a replica cut off from PostgreSQL",
            Self::PostgresAnswersCut => "PostgreSQL's answers cut after 0..n bytes",
            Self::PostgresAnswersLost => "PostgreSQL's answers lost",
            Self::RedisSilent => "a replica's connections to Redis silent, new ones good",
            Self::DiskFull => "disk full",
            Self::DoorSlow => "200 ms latency, and clients that give up after 150 ms",
            Self::DoorJitters => "jitter before a replica",
            Self::DoorNarrow => "little bandwidth before a replica",
            Self::DoorStalled => "a black hole before a replica",
            Self::DoorReset => "connections to a replica reset",
            Self::DoorAnswersCut => "a replica's answers cut after 0..n bytes",
            Self::ClientsVanish => "clients that vanish",
        }
    }

    /// Every kind that a plant has.
    pub fn all_of(embedded: bool) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |&(_, also, ..)| also || !embedded).map(|(fault, ..)| fault)
    }

    /// The parts that it needs.
    fn holds(self, target: usize) -> Vec<Hold> {
        match self {
            Self::ReplicaKilled => vec![Hold::Replica(target)],
            Self::ReplicaPaused | Self::WritesLate => vec![Hold::Replica(target)],
            // They wait until a replica is ready again, so no other fault may delay that.
            Self::ReplicasRolled => {
                vec![Hold::Replica(0), Hold::Replica(1), Hold::Replica(2), Hold::Postgres, Hold::Redis]
            }
            Self::ReplicaClockStepped => vec![Hold::Clock(target)],
            Self::RedisRestartedEmpty | Self::RedisFlushed | Self::RedisHung | Self::RedisPromoted => vec![Hold::Redis],
            Self::RedisCutOff | Self::RedisSilent => vec![Hold::Redis, Hold::Replica(target)],
            Self::RedisClockStepped => vec![Hold::RedisClock],
            Self::PostgresRestarted
            | Self::PostgresKilled
            | Self::PostgresFailedOver
            | Self::PostgresFrozen
            | Self::DiskFull => vec![Hold::Postgres],
            Self::PostgresSilent | Self::PostgresCutOff | Self::PostgresAnswersCut | Self::PostgresAnswersLost => {
                vec![Hold::Replica(target)]
            }
            Self::DoorSlow => vec![Hold::Door(0), Hold::Door(1), Hold::Door(2), Hold::Clients],
            Self::DoorJitters | Self::DoorNarrow | Self::DoorStalled | Self::DoorReset | Self::DoorAnswersCut => {
                vec![Hold::Door(target)]
            }
            Self::ClientsVanish => vec![Hold::Clients],
        }
    }
}

/// One fault of a schedule.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// The replica that it concerns, if it concerns one.
    pub target: usize,
    /// From 0 to 1: how many bytes pass.
    pub size: f64,
    /// How long it lasts.
    pub lasts: Duration,
    /// Whether the next one waits until it is over.
    pub alone: bool,
    /// Until the next one after that.
    pub pause: Duration,
}

/// The faults of one round: every kind alone, in some order, and then several at once.
pub fn round(seed: u64, round: u64, replicas: usize, embedded: bool) -> Vec<Strike> {
    let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round << 1 ^ u64::from(embedded));
    let mut deck: Vec<_> = Fault::ALL
        .into_iter()
        .filter(|&(_, also, ..)| also || !embedded)
        .flat_map(|(fault, _, times, lasts)| std::iter::repeat_n((fault, lasts), times))
        .collect();
    let mut strikes = Vec::new();
    for alone in [true, false] {
        deck.shuffle(&mut chance);
        for &(fault, [least, most]) in &deck {
            let heavy = matches!(fault, Fault::PostgresFailedOver | Fault::PostgresFrozen | Fault::ReplicasRolled);
            if !alone && heavy {
                continue; // they wait for what others may have broken
            }
            strikes.push(Strike {
                fault,
                target: chance.random_range(0..replicas),
                size: chance.random(),
                lasts: Duration::from_millis(chance.random_range(least..most)),
                alone,
                pause: Duration::from_millis(if alone {
                    chance.random_range(50..250)
                } else {
                    chance.random_range(100..500)
                }),
            });
        }
    }
    strikes
}

/// Causes faults in a plant, and ends them.
pub struct Nemesis {
    /// What is broken now, and until when.
    broken: Vec<(tokio::time::Instant, Strike)>,
    /// The faults caused so far.
    pub struck: Vec<Fault>,
    /// Requests that were under way to a replica when it was killed, each time.
    pub under_way_at_kills: Vec<usize>,
}

impl Nemesis {
    /// Nothing is broken yet.
    pub fn new() -> Self {
        Self { broken: Vec::new(), struck: Vec::new(), under_way_at_kills: Vec::new() }
    }

    /// Causes a fault as soon as no other one needs the same part.
    pub async fn strike(&mut self, strike: &Strike, plant: &mut Plant, floor: &Floor) {
        let holds = strike.fault.holds(strike.target);
        let in_the_way = |other: &Strike| other.fault.holds(other.target).iter().any(|hold| holds.contains(hold));
        while let Some(until) = self.broken.iter().filter(|(_, other)| in_the_way(other)).map(|(until, _)| *until).max()
        {
            self.mend_until(until, plant, floor).await;
        }
        self.inflict(strike, plant, floor).await;
        self.struck.push(strike.fault);
        let until = tokio::time::Instant::now() + strike.lasts;
        self.broken.push((until, strike.clone()));
        let until = if strike.alone { until } else { tokio::time::Instant::now() };
        self.mend_until(until, plant, floor).await;
        self.mend_until(tokio::time::Instant::now() + strike.pause, plant, floor).await;
    }

    /// Ends all faults, each at its time.
    pub async fn calm(&mut self, plant: &mut Plant, floor: &Floor) {
        if let Some(last) = self.broken.iter().map(|(until, _)| *until).max() {
            self.mend_until(last, plant, floor).await;
        }
    }

    /// Waits until then, and ends the faults that are over by then.
    async fn mend_until(&mut self, until: tokio::time::Instant, plant: &mut Plant, floor: &Floor) {
        loop {
            let next = self.broken.iter().enumerate().min_by_key(|(_, (until, _))| *until);
            let Some((place, due)) = next.map(|(place, (due, _))| (place, *due)).filter(|(_, due)| *due <= until)
            else {
                return tokio::time::sleep_until(until).await;
            };
            tokio::time::sleep_until(due).await;
            let (_, strike) = self.broken.swap_remove(place);
            mend(&strike, plant, floor).await;
        }
    }

    // Long: one arm for each fault.
    async fn inflict(&mut self, strike: &Strike, plant: &mut Plant, floor: &Floor) {
        let target = strike.target;
        // Forwards and backwards in turn, so that both happen.
        let hour =
            if self.struck.iter().filter(|struck| **struck == strike.fault).count() % 2 == 0 { 3600 } else { -3600 };
        let bytes = |most: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and most")]
            let bytes = (strike.size * most) as usize;
            bytes
        };
        match strike.fault {
            Fault::ReplicaKilled => {
                self.under_way_at_kills.push(floor.history.under_way(target));
                plant.replicas[target].kill9();
            }
            Fault::ReplicaPaused => plant.replicas[target].pause(),
            Fault::ReplicasRolled => {
                for replica in &plant.replicas {
                    replica.roll().await;
                }
            }
            Fault::ReplicaClockStepped => plant.replicas[target].clock.step(hour),
            Fault::WritesLate => {
                // A write that is under way arrives after another replica has got the lease.
                let late = LEASE_TTL + Duration::from_millis(500);
                set(plant.replicas[target].to_postgres.as_ref(), Link::Slow(late));
                set(plant.replicas[target].to_redis.as_ref(), Link::Stalled);
            }
            Fault::RedisRestartedEmpty => plant.shared_ground().redis.master.kill(),
            Fault::RedisFlushed => {
                // Again and again, leases are granted to others while their holders still work.
                for _ in 0..FLUSHES {
                    plant.shared_ground().redis.master.ask(&["FLUSHALL"]);
                    tokio::time::sleep(BETWEEN_FLUSHES).await;
                }
            }
            Fault::RedisHung => plant.shared_ground().redis.master.pause(),
            Fault::RedisCutOff => set(plant.replicas[target].to_redis.as_ref(), Link::Stalled),
            Fault::RedisPromoted => {
                plant.shared_ground().redis.part();
                tokio::time::sleep(strike.lasts).await;
                plant.promote_redis();
            }
            Fault::RedisClockStepped => plant.shared_ground().redis.clock.step(hour),
            Fault::PostgresRestarted => plant.shared_ground().postgres.primary.restart_fast().await,
            Fault::PostgresKilled => plant.shared_ground().postgres.primary.kill9().await,
            Fault::PostgresFailedOver => plant.fail_over(Old::Killed).await,
            Fault::PostgresFrozen => plant.fail_over(Old::Frozen).await,
            Fault::PostgresSilent => link(plant.replicas[target].to_postgres.as_ref()).silence(),
            Fault::RedisSilent => link(plant.replicas[target].to_redis.as_ref()).silence(),
            Fault::PostgresCutOff => set(plant.replicas[target].to_postgres.as_ref(), Link::Down),
            Fault::PostgresAnswersCut => {
                set(plant.replicas[target].to_postgres.as_ref(), Link::AnswersCutAfter(bytes(4000.0)));
            }
            Fault::PostgresAnswersLost => set(plant.replicas[target].to_postgres.as_ref(), Link::AnswersStalled),
            Fault::DiskFull => plant.disk().fill(),
            Fault::DoorSlow => {
                floor.set_patience(Patience::Hasty);
                for replica in &plant.replicas {
                    replica.door.set(Link::Slow(Duration::from_millis(100))); // there and back
                }
            }
            Fault::DoorJitters => plant.replicas[target].door.set(Link::Jitter(Duration::from_millis(80))),
            Fault::DoorNarrow => plant.replicas[target].door.set(Link::Narrow(8_000)),
            Fault::DoorStalled => plant.replicas[target].door.set(Link::Stalled),
            Fault::DoorReset => plant.replicas[target].door.reset().await,
            Fault::DoorAnswersCut => plant.replicas[target].door.set(Link::AnswersCutAfter(bytes(800.0))),
            Fault::ClientsVanish => floor.set_patience(Patience::Vanishing),
        }
    }
}

async fn mend(strike: &Strike, plant: &mut Plant, floor: &Floor) {
    let replica = &plant.replicas[strike.target];
    match strike.fault {
        Fault::ReplicaKilled => replica.let_up(),
        Fault::ReplicaPaused => replica.resume(),
        Fault::ReplicaClockStepped => replica.clock.step(0),
        Fault::RedisRestartedEmpty => plant.shared_ground().redis.master.restart_empty(),
        Fault::RedisHung => plant.shared_ground().redis.master.resume(),
        Fault::RedisPromoted => plant.forget_old_redis().await,
        Fault::RedisClockStepped => plant.shared_ground().redis.clock.step(0),
        Fault::PostgresKilled => plant.shared_ground().postgres.primary.start_again().await,
        Fault::PostgresFrozen => plant.shared_ground().postgres.end_the_frozen_one().await,
        Fault::DiskFull => {
            plant.disk().free();
            if let Ground::Shared(shared) = &mut plant.ground {
                shared.postgres.primary.revive().await;
            }
        }
        Fault::DoorSlow => {
            floor.set_patience(Patience::Usual);
            plant.replicas.iter().for_each(|replica| replica.door.set(Link::Good));
        }
        Fault::ClientsVanish => floor.set_patience(Patience::Usual),
        Fault::WritesLate => {
            set(replica.to_postgres.as_ref(), Link::Good);
            set(replica.to_redis.as_ref(), Link::Good);
        }
        Fault::RedisCutOff => set(replica.to_redis.as_ref(), Link::Good),
        Fault::PostgresCutOff | Fault::PostgresAnswersCut | Fault::PostgresAnswersLost => {
            set(replica.to_postgres.as_ref(), Link::Good);
        }
        Fault::DoorJitters | Fault::DoorNarrow | Fault::DoorStalled | Fault::DoorAnswersCut => {
            replica.door.set(Link::Good);
        }
        // These have no duration.
        Fault::ReplicasRolled
        | Fault::RedisFlushed
        | Fault::PostgresRestarted
        | Fault::PostgresFailedOver
        | Fault::PostgresSilent
        | Fault::RedisSilent
        | Fault::DoorReset => {}
    }
}

fn link(link: Option<&Proxy>) -> &Proxy {
    link.expect("only shared plants are struck so")
}

fn set(of: Option<&Proxy>, state: Link) {
    link(of).set(state);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_strikes_the_same_again() {
        let words = |seed, of| format!("{:?}", round(seed, of, 3, false));
        assert_eq!(words(7, 0), words(7, 0));
        assert_ne!(words(7, 0), words(8, 0));
        assert_ne!(words(7, 0), words(7, 1));
    }

    #[test]
    fn every_round_has_every_kind_of_fault() {
        for embedded in [true, false] {
            let struck: Vec<Fault> = round(1, 0, 2, embedded).iter().map(|strike| strike.fault).collect();
            let missing: Vec<Fault> = Fault::all_of(embedded).filter(|fault| !struck.contains(fault)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }
}
