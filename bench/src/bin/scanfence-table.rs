//! Turns the cells of a run into Markdown, and into JSON if asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use scanfence_bench::results::{Cell, GENERATOR, Latency, Phase};

#[derive(Debug, Parser)]
#[command(about = "Prints the table of a run")]
struct Args {
    /// Lines about the machine, put above the table
    #[arg(long)]
    machine: PathBuf,
    /// The cells, one line of JSON each
    #[arg(long)]
    cells: PathBuf,
    /// Also writes everything to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The cells of a run. If a cell was measured several times, its median.
struct Table(BTreeMap<(String, usize, usize), Cell>);

/// A target of the project, to compare with the figures.
struct Target {
    what: &'static str,
    wanted: f64,
    seen: Option<f64>,
    /// Whether less is better.
    at_most: bool,
}

const BASELINE: &str = "pgbench-interactive";
/// The scripts that write what Scanfence writes.
const PGBENCH: [&str; 2] = [BASELINE, "pgbench-one-statement"];
/// The one that writes less.
const LEAN: [&str; 1] = ["pgbench-lean"];
/// In the order of the rows.
const CONTENDERS: [&str; 8] =
    [PGBENCH[0], PGBENCH[1], LEAN[0], "per-request", "embedded", "shared", "shared-two-replicas", "http-alone"];
const LOADS: [(&str, &str); 3] = [
    ("hot", "Hot: one work order"),
    ("spread", "Spread: 1000 work orders"),
    ("factory", "Factory-like: 1000 work orders, a new barcode with every scan, 10 % repeats"),
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let machine = fs::read_to_string(&args.machine).context("reading the machine")?;
    let lines = fs::read_to_string(&args.cells).context("reading the cells")?;
    let cells = lines.lines().map(serde_json::from_str).collect::<Result<Vec<Cell>, _>>()?;
    if let Some(path) = args.json {
        let all = serde_json::json!({"machine": machine.lines().collect::<Vec<_>>(), "cells": cells});
        fs::write(&path, serde_json::to_string_pretty(&all)? + "\n").with_context(|| path.display().to_string())?;
    }
    println!("{}", machine.trim_end().lines().collect::<Vec<_>>().join("  \n"));
    print!("{}", Table::new(cells).markdown());
    Ok(())
}

impl Table {
    fn new(cells: Vec<Cell>) -> Self {
        let mut rounds: BTreeMap<_, Vec<Cell>> = BTreeMap::new();
        for cell in cells {
            let rank = CONTENDERS.iter().position(|name| *name == cell.name).unwrap_or(CONTENDERS.len());
            rounds.entry((cell.load.clone(), cell.connections, rank)).or_default().push(cell);
        }
        let median = |mut cells: Vec<Cell>| {
            cells.sort_by(|one, other| one.closed.per_second.total_cmp(&other.closed.per_second));
            let middle = cells.len() / 2;
            cells.swap_remove(middle)
        };
        Self(rounds.into_iter().map(|(key, cells)| (key, median(cells))).collect())
    }

    fn cell(&self, name: &str, load: &str, connections: usize) -> Option<&Cell> {
        self.0.values().find(|cell| cell.name == name && cell.load == load && cell.connections == connections)
    }

    fn rate(&self, name: &str, load: &str, connections: usize) -> Option<f64> {
        self.cell(name, load, connections).map(|cell| cell.closed.per_second)
    }

    /// The most that pgbench reaches with any of these scripts and any number of clients. It is
    /// unknown if `--only` left out the last script, which is the fastest.
    fn best_of(&self, scripts: &[&str], load: &str) -> Option<f64> {
        self.0.values().find(|cell| cell.load == load && Some(&cell.name.as_str()) == scripts.last())?;
        let rates = self.0.values().filter(|cell| cell.load == load && scripts.contains(&cell.name.as_str()));
        rates.map(|cell| cell.closed.per_second).max_by(f64::total_cmp)
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        for (load, title) in LOADS {
            self.load(&mut text, load, title);
        }
        self.replicas(&mut text);
        self.remarks(&mut text);
        self.targets(&mut text);
        text
    }

    fn load(&self, text: &mut String, load: &str, title: &str) {
        let cells: Vec<&Cell> = self.0.values().filter(|cell| cell.load == load).collect();
        if cells.is_empty() {
            return;
        }
        // pgbench has no load like the factory's. The rival there is the usual way.
        let factory = load == "factory";
        let ratios = if factory { "× per-request" } else { "× pgbench interactive | × pgbench's best" };
        line(text, format_args!("\n## {title}\n"));
        line(
            text,
            format_args!(
                "| connections | contender | requests/s | {ratios} | p50, p99 at full load (ms) | p50, p99 from due, at 70 % (ms) | CPU s per 1000 (of it) | memory (MiB) |"
            ),
        );
        let right = if factory { "--: | --:" } else { "--: | --: | --:" };
        line(text, format_args!("| --: | --- | {right} | --: | --: | --: | --: |"));
        for cell in cells {
            let over =
                |rival: Option<f64>| rival.map_or("–".to_owned(), |rival| ratio(cell.closed.per_second / rival));
            let ratios = if factory {
                over(self.rate("per-request", load, cell.connections))
            } else {
                let same = over(self.rate(BASELINE, load, cell.connections));
                format!("{same} | {}", over(self.best_of(&PGBENCH, load)))
            };
            line(
                text,
                format_args!(
                    "| {} | {} | {:.0} | {ratios} | {} | {} | {} | {} |",
                    cell.connections,
                    cell.name,
                    cell.closed.per_second,
                    latency(&cell.closed.latency),
                    cell.open.as_ref().map_or("–".to_owned(), |open| latency(&open.latency)),
                    cpu(&cell.closed),
                    memory(&cell.closed),
                ),
            );
        }
    }

    fn replicas(&self, text: &mut String) {
        let several: Vec<&Cell> = self.0.values().filter(|cell| !cell.closed.replicas.is_empty()).collect();
        if several.is_empty() {
            return;
        }
        line(text, format_args!("\n## Two replicas: p50, p99 of each at full load (ms)\n"));
        for cell in several {
            let each: Vec<String> = cell.closed.replicas.iter().map(latency).collect();
            line(text, format_args!("- {}, {} connections: {}", cell.load, cell.connections, each.join("; ")));
        }
    }

    /// All that was not a plain 201.
    fn remarks(&self, text: &mut String) {
        let mut remarks = String::new();
        let (mut acknowledged, mut replayed) = (0, 0);
        for cell in self.0.values() {
            acknowledged += cell.check.acknowledged;
            replayed += cell.check.replayed;
            let place = format!("{}, {}, {} connections", cell.name, cell.load, cell.connections);
            for phase in std::iter::once(&cell.closed).chain(&cell.open) {
                for (answer, number) in &phase.others {
                    line(&mut remarks, format_args!("- {place}: {number} × {answer}"));
                }
                if phase.unsent > 0 {
                    line(
                        &mut remarks,
                        format_args!("- {place}: {} were due and could not be sent in time", phase.unsent),
                    );
                }
            }
            if cell.check.settled + cell.check.unsettled > 0 {
                let (settled, unsettled) = (cell.check.settled, cell.check.unsettled);
                line(&mut remarks, format_args!("- {place}: {settled} settled by repeating them, {unsettled} not"));
            }
        }
        line(
            text,
            format_args!(
                "\n## Checked\n\nIn every cell the quantities are the acknowledged scans: {acknowledged} in all, and {replayed} repeats answered as before."
            ),
        );
        if !remarks.is_empty() {
            line(text, format_args!("\nAnswers other than 201:\n\n{}", remarks.trim_end()));
        }
    }

    fn targets(&self, text: &mut String) {
        let shared = |load, connections, rival: Option<f64>| Some(self.rate("shared", load, connections)? / rival?);
        let pgbench = |load, connections| self.rate(BASELINE, load, connections);
        let factory = |name| Some(self.rate(name, "factory", 64)? / self.rate("per-request", "factory", 64)?);
        let spread_of = |load| {
            let latencies = &self.cell("shared-two-replicas", load, 64)?.closed.replicas;
            latencies.iter().map(|latency| latency.p99_us as f64 / latency.p50_us as f64).max_by(f64::total_cmp)
        };
        let at_least = |what, wanted, seen| Target { what, wanted, seen, at_most: false };
        let at_most = |what, wanted, seen| Target { what, wanted, seen, at_most: true };
        let targets = [
            at_least("shared, hot, 64: × pgbench interactive", 20.0, shared("hot", 64, pgbench("hot", 64))),
            at_least("shared, hot, 64: × pgbench's best", 8.0, shared("hot", 64, self.best_of(&PGBENCH, "hot"))),
            at_least("shared, spread, 64: × pgbench interactive", 3.5, shared("spread", 64, pgbench("spread", 64))),
            at_least(
                "shared, spread, 64: × pgbench's best",
                2.0,
                shared("spread", 64, self.best_of(&PGBENCH, "spread")),
            ),
            at_least("shared, hot, 1: × pgbench interactive", 0.8, shared("hot", 1, pgbench("hot", 1))),
            at_least("shared, spread, 1: × pgbench interactive", 0.8, shared("spread", 1, pgbench("spread", 1))),
            at_least("shared, factory, 64: × per-request", 5.0, factory("shared")),
            at_least("embedded, factory, 64: × per-request", 3.0, factory("embedded")),
            at_most("two replicas, hot, 64: worst p99 over median", 5.0, spread_of("hot")),
            at_most("two replicas, spread, 64: worst p99 over median", 5.0, spread_of("spread")),
        ];
        if targets.iter().all(|target| target.seen.is_none()) {
            return;
        }
        line(text, format_args!("\n## Targets\n\n| | wanted | seen | |\n| --- | --: | --: | --- |"));
        for target in targets {
            let Some(seen) = target.seen else { continue };
            let met = if target.at_most { seen <= target.wanted } else { seen >= target.wanted };
            let sign = if target.at_most { '≤' } else { '≥' };
            let verdict = if met { "met" } else { "**missed**" };
            line(text, format_args!("| {} | {sign} {} | {} | {verdict} |", target.what, target.wanted, ratio(seen)));
        }
        for load in ["hot", "spread"] {
            let Some(seen) = shared(load, 64, self.best_of(&LEAN, load)) else { continue };
            line(text, format_args!("| shared, {load}, 64: × pgbench's best on lean tables | – | {} | |", ratio(seen)));
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a String takes all that is written");
}

fn ratio(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

fn latency(latency: &Latency) -> String {
    let [p50, p99] = [latency.p50_us, latency.p99_us].map(|micros| {
        let millis = micros as f64 / 1000.0;
        if millis < 9.95 { format!("{millis:.2}") } else { format!("{millis:.0}") }
    });
    format!("{p50}, {p99}")
}

/// The whole, and the share of each process. The generator's share is not the contender's.
fn cpu(phase: &Phase) -> String {
    let thousands = phase.answered as f64 / 1000.0;
    let own = phase.processes.iter().filter(|usage| usage.name != GENERATOR);
    let whole: f64 = own.clone().map(|usage| usage.cpu_seconds).sum();
    let each: Vec<String> = own.map(|usage| format!("{} {:.2}", usage.name, usage.cpu_seconds / thousands)).collect();
    format!("{:.2} ({})", whole / thousands, each.join(", "))
}

fn memory(phase: &Phase) -> String {
    let own = phase.processes.iter().filter(|usage| usage.name != GENERATOR);
    let each: Vec<String> = own.map(|usage| format!("{} {}", usage.name, usage.peak_bytes >> 20)).collect();
    each.join(", ")
}
