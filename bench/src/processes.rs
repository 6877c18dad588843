//! CPU and memory of processes with all their children, read from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::str::FromStr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::results::Usage;

/// A process to watch, given as `name=pid`. Its children are part of it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name in the results.
    pub name: String,
    /// The root of its tree.
    pub pid: u32,
}

/// How often memory is sampled. This costs nothing beside the load.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// The kernel's unit of CPU time in `/proc`: 100 a second on every Linux in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// Watches from `from` to `to` on a thread of its own. The thread ends at `to`.
pub fn watch(watched: Vec<Watched>, from: Instant, to: Instant) -> JoinHandle<Vec<Usage>> {
    thread::spawn(move || {
        thread::sleep(from.saturating_duration_since(Instant::now()));
        let started = Snapshot::take();
        let before: Vec<u64> = watched.iter().map(|one| started.ticks(one.pid)).collect();
        let mut peaks: Vec<u64> = watched.iter().map(|one| started.memory(one.pid)).collect();
        loop {
            let left = to.saturating_duration_since(Instant::now());
            thread::sleep(left.min(MEMORY_INTERVAL));
            let now = Snapshot::take();
            for (peak, one) in peaks.iter_mut().zip(&watched) {
                *peak = (*peak).max(now.memory(one.pid));
            }
            if left <= MEMORY_INTERVAL {
                return usages(&watched, &before, &peaks, &now);
            }
        }
    })
}

fn usages(watched: &[Watched], before: &[u64], peaks: &[u64], end: &Snapshot) -> Vec<Usage> {
    watched
        .iter()
        .zip(before)
        .zip(peaks)
        .map(|((one, before), peak)| Usage {
            name: one.name.clone(),
            cpu_seconds: end.ticks(one.pid).saturating_sub(*before) as f64 / TICKS_PER_SECOND,
            peak_bytes: *peak,
        })
        .collect()
}

impl FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("expected name=pid")?;
        let pid = pid.parse().map_err(|error| format!("pid {pid:?}: {error}"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// All processes at one moment.
struct Snapshot {
    ticks: HashMap<u32, u64>,
    children: HashMap<u32, Vec<u32>>,
}

impl Snapshot {
    fn take() -> Self {
        let mut snapshot = Self { ticks: HashMap::new(), children: HashMap::new() };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            // A process that has ended meanwhile is in its parent's CPU time.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            if let Some((parent, ticks)) = stat.ok().as_deref().and_then(parent_and_ticks) {
                snapshot.ticks.insert(pid, ticks);
                snapshot.children.entry(parent).or_default().push(pid);
            }
        }
        snapshot
    }

    fn tree(&self, root: u32) -> Vec<u32> {
        let mut found = vec![root];
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(self.children.get(pid).into_iter().flatten());
            next += 1;
        }
        found
    }

    fn ticks(&self, root: u32) -> u64 {
        self.tree(root).iter().filter_map(|pid| self.ticks.get(pid)).sum()
    }

    /// Shared memory is counted once: every process of a database has the same buffers.
    fn memory(&self, root: u32) -> u64 {
        let (mut private, mut shared) = (0, 0);
        for pid in self.tree(root) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            private += kibibytes(&status, "RssAnon:");
            shared = shared.max(kibibytes(&status, "RssShmem:") + kibibytes(&status, "RssFile:"));
        }
        (private + shared) * 1024
    }
}

/// The parent, and the CPU time, including children that have ended and were waited for.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    // The second field is the program's name in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some((parent, ticks))
}

fn kibibytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 99";
        assert_eq!(parent_and_ticks(stat), Some((7, 124)));
    }

    #[test]
    fn this_process_has_used_memory_and_is_in_its_own_tree() {
        let snapshot = Snapshot::take();
        let own = std::process::id();
        assert_eq!(snapshot.tree(own)[0], own);
        assert!(snapshot.memory(own) > 0);
    }
}
