//! Checks all the time, while scans go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scanfence::domain::consistency::{CheckState, Range};
use scanfence::domain::work_order::BarcodePolicy;

use crate::floor::Floor;
use crate::shop::{correct, scan, scan_of, settle, unbind};

/// How long; the environment variable `CONSISTENCY_SECONDS` makes it longer.
const SECONDS: u64 = 8;

/// Row and log read at two instants would differ in nearly every page (pitfall 36).
pub async fn pitfall_36_checks_all_the_time_raise_no_false_alarm(floor: &Floor) {
    let seconds = std::env::var("CONSISTENCY_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let mut numbers = Vec::new();
    for at in 0..6 {
        let policy = if at % 2 == 0 { BarcodePolicy::Once } else { BarcodePolicy::Repeatable };
        numbers.push(floor.work_order(policy).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let scans = Arc::new(AtomicU64::new(0));
    let terminals: Vec<_> = (0..4)
        .map(|_| {
            let (store, numbers) = (Arc::clone(&floor.store), numbers.clone());
            let (stop, scans) = (Arc::clone(&stop), Arc::clone(&scans));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // A few hot ones among them, so that the snapshot is always cut in two by a scan.
                    let number = &numbers[rand::random_range(0..numbers.len()) % rand::random_range(1..=numbers.len())];
                    let barcode = format!("P{}", rand::random_range(0..30));
                    let requests = [
                        scan(number),
                        scan_of(number, &barcode),
                        unbind(number, &format!("P{}", rand::random_range(0..30))),
                        correct(number, rand::random_range(1..4)),
                    ];
                    settle(store.as_ref(), &requests).await;
                    scans.fetch_add(4, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut checks = 0;
    while Instant::now() < until {
        let range = if checks % 3 == 0 { Range::Full } else { Range::Recent };
        let report = floor.check(range, None).await;
        assert_eq!(report.check.state, CheckState::Good, "{:#?}", report.findings);
        checks += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for terminal in terminals {
        terminal.await.unwrap();
    }
    let scans = scans.load(Ordering::Relaxed);
    eprintln!("{checks} checks beside {scans} requests in {seconds} s");
    assert!(checks >= 3 && scans >= 100, "{checks} checks, {scans} requests: too few to prove anything");
    // It would have seen it.
    floor.sql(&format!("update work_orders set scrap_quantity = 5 where work_order = '{}'", numbers[0])).await;
    assert_eq!(floor.check(Range::Full, None).await.check.state, CheckState::Drift);
}
