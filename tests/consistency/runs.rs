//! Which process runs which check, and when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use scanfence::domain::consistency::{CheckState, Range};
use scanfence::domain::work_order::BarcodePolicy;
use scanfence::monitor::{NotAsked, Settings, Step};
use scanfence::schedule::{Schedule, Zone};
use scanfence::store::consistency::CheckLease;
use tokio_util::sync::CancellationToken;

use crate::floor::{Floor, off};
use crate::shop::{count, scan};

pub async fn one_process_runs_a_check_at_a_time(floor: &Floor) {
    let other = "another process";
    let lease = |ttl: Duration| CheckLease { holder: other, ttl };
    let minute = lease(Duration::from_secs(60));
    assert!(floor.consistency.take_check_lease(&minute).await.unwrap());
    assert!(floor.consistency.take_check_lease(&minute).await.unwrap(), "it may renew");
    let check = floor.monitor.ask(Range::Full, None, None, "test").await.unwrap();
    let stop = CancellationToken::new();
    assert_eq!(floor.monitor.step(&stop).await.unwrap(), Step::Elsewhere);
    floor.consistency.release_check_lease("a third one").await.unwrap();
    assert_eq!(floor.monitor.step(&stop).await.unwrap(), Step::Elsewhere, "it was not the third one's to end");
    // A dead holder is waited for only until its lease expires.
    assert!(floor.consistency.take_check_lease(&lease(Duration::from_millis(1))).await.unwrap());
    let ended = crate::stage::eventually("the lease expires", crate::stage::SOON, async || {
        Some(floor.monitor.step(&stop).await.unwrap()).filter(|step| *step != Step::Elsewhere)
    })
    .await;
    assert_eq!(ended, Step::Ended(CheckState::Good));
    assert_eq!(floor.monitor.report(&check.check_id).await.unwrap().unwrap().check.state, CheckState::Good);
    assert!(floor.consistency.take_check_lease(&minute).await.unwrap(), "the lease was released");
}

pub async fn a_check_that_was_cut_short_is_gone_on_with(floor: &Floor) {
    // Twice as many as are read before the first look at the stop signal.
    for _ in 0..40 {
        let number = floor.work_order(BarcodePolicy::Once).await;
        let many: Vec<_> = (0..300).map(|_| scan(&number)).collect();
        count(floor.store.as_ref(), &many).await;
    }
    let check = floor.monitor.ask(Range::Full, None, None, "test").await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let first = floor.another("first", off());
    assert_eq!(first.run_check(&check, &stop, &|_| {}).await.unwrap(), Step::Interrupted);
    let left = floor.consistency.check(&check.check_id).await.unwrap().unwrap();
    assert_eq!((left.state, left.work_orders_total), (CheckState::Running, Some(40)));

    // One that has read some of it, noted that, and died.
    floor
        .sql(&format!(
            "update consistency_checks set work_orders_read = 30, rows_read = 9000,
                 read_up_to = (select max(n.work_order) from
                     (select work_order from work_orders order by work_order limit 30) n)
             where check_id = '{}'",
            check.check_id
        ))
        .await;
    let seen = AtomicUsize::new(0);
    let watch = |_: &scanfence::domain::consistency::Check| {
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let go_on = floor.monitor.run_check(&check, &CancellationToken::new(), &watch).await.unwrap();
    assert_eq!(go_on, Step::Ended(CheckState::Good));
    assert!(seen.load(Ordering::Relaxed) >= 2, "its progress is seen");
    let done = floor.consistency.check(&check.check_id).await.unwrap().unwrap();
    assert_eq!((done.work_orders_read, done.rows_read), (40, 12_000), "what was read is not read again");
    assert_eq!(done.started_at, left.started_at);
}

/// Killed half-way, by the kernel's word; the service that is there next finds the rest.
pub async fn a_check_whose_process_was_killed_is_gone_on_with_by_another(floor: &Floor) {
    const WORK_ORDERS: i64 = 300;
    const EACH: i64 = 800;
    let yes = if floor.environment().0 == "DATABASE_URL" { "true" } else { "1" };
    floor
        .sql(&format!(
            "insert into work_orders (work_order, planned_quantity, barcode_policy, status, input_quantity,
                 output_quantity, scrap_quantity, seq, fence, stamp, revision, barcode_counted, created_at, updated_at)
             with recursive w(w) as (select 1 union all select w + 1 from w where w < {WORK_ORDERS})
             select 'K' || (w + 1000), 0, 'once', 'in_progress', {EACH}, 0, 0, {EACH}, 1, 1, 1, {yes},
                 '2026-01-03T08:00:00.000Z', '2026-01-03T08:00:00.000Z' from w;
             insert into update_log (request_id, work_order, seq, counter, action, quantity, delta, before, after,
                 fence, work_order_status, remaining, recorded_at, recorded_by, outcome, rendering)
             with recursive w(w) as (select 1 union all select w + 1 from w where w < {WORK_ORDERS}),
                 n(n) as (select 1 union all select n + 1 from n where n < {EACH})
             select 'K' || (w + 1000) || '-' || n, 'K' || (w + 1000), n, 'input', 'scan', 1, 1, n - 1, n, 1,
                 'in_progress', 0, '2026-01-03T08:00:00.000Z', 'test', 'counted', 1 from w cross join n"
        ))
        .await;
    let mut killed = crate::commands::start(floor, &["check", "--full"]);
    let half_way = crate::stage::eventually("a part of it is read", crate::stage::SOON, async || {
        let check = floor.consistency.unfinished_checks().await.unwrap().pop()?;
        (check.work_orders_read > 0).then_some(check)
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let left = floor.consistency.check(&half_way.check_id).await.unwrap().unwrap();
    assert_eq!(left.state, CheckState::Running, "it was killed before its end: {left:?}");
    // The lease of the dead process has to expire first.
    floor.sql("update check_lease set expires_at = '2026-01-03T08:00:00.000Z'").await;
    let _service = floor.setup().start().await;
    let done = crate::stage::eventually("the service goes on with it", crate::stage::SOON, async || {
        floor.consistency.check(&half_way.check_id).await.unwrap().filter(|check| check.state.is_over())
    })
    .await;
    assert_eq!((done.state, done.error.as_deref()), (CheckState::Good, None));
    assert_eq!((done.work_orders_read, done.rows_read), (WORK_ORDERS, WORK_ORDERS * EACH), "each once: {done:?}");
}

pub async fn a_recent_check_reads_what_has_changed(floor: &Floor) {
    let (old, new) = (floor.work_order(BarcodePolicy::Once).await, floor.work_order(BarcodePolicy::Once).await);
    assert_eq!(floor.check(Range::Recent, None).await.check.work_orders_read, 2, "there was no good one before");
    let changed =
        |number: &_, at: &str| format!("update work_orders set updated_at = '{at}' where work_order = '{number}';");
    floor.sql(&(changed(&old, "2001-01-01T00:00:00.000Z") + &changed(&new, "2101-01-01T00:00:00.000Z"))).await;
    let report = floor.check(Range::Recent, None).await;
    assert_eq!((report.check.work_orders_read, report.check.work_orders_total), (1, Some(1)));
    assert!(report.check.since.is_some());
    assert_eq!(floor.check(Range::Full, None).await.check.work_orders_read, 2);
    let since = scanfence::domain::time::Timestamp::parse("2050-01-01T00:00:00Z").unwrap();
    let check = floor.monitor.ask(Range::Since, None, Some(since), "test").await.unwrap();
    assert_eq!(floor.run(&check).await.check.work_orders_read, 1);

    let nobody = floor.monitor.ask(Range::WorkOrder, Some("W-none".to_owned()), None, "test").await;
    assert!(matches!(nobody, Err(NotAsked::WorkOrderUnknown(_))), "{nobody:?}");
}

pub async fn a_clock_that_was_set_back_holds_up_no_check(floor: &Floor) {
    let stop = CancellationToken::new();
    floor.monitor.ask(Range::Full, None, None, "test").await.unwrap();
    let later = "2999-01-01T00:00:00.000Z";
    // A process that had the lease by that clock is dead, or finds it taken when it writes its progress.
    floor.sql(&format!("update check_lease set holder = 'dead', expires_at = '{later}'")).await;
    assert_eq!(floor.monitor.step(&stop).await.unwrap(), Step::Ended(CheckState::Good));

    // What was checked by that clock says nothing about what has changed since, and when to check again.
    floor.sql(&format!("update consistency_checks set started_at = '{later}'")).await;
    assert_eq!(floor.consistency.last_check(&[Range::Full], true).await.unwrap(), None);
    let often = Settings { recent: Schedule::Every(Duration::from_millis(1)), ..off() };
    let other = floor.another("other", often);
    crate::stage::eventually("a check is due", crate::stage::SOON, async || {
        (other.step(&stop).await.unwrap() != Step::Idle).then_some(())
    })
    .await;
}

pub async fn what_is_due_is_asked_for_once(floor: &Floor) {
    let hourly = Schedule::parse("0 * * * *", Zone::Local).unwrap();
    let often = Schedule::Every(Duration::from_millis(1));
    let settings = Settings { recent: often, full: hourly, repair: Vec::new() };
    let (one, two) = (floor.another("one", settings.clone()), floor.another("two", settings));
    let stop = CancellationToken::new();
    crate::stage::eventually("a recent check is due", crate::stage::SOON, async || {
        (one.step(&stop).await.unwrap() != Step::Idle).then_some(())
    })
    .await;
    let last = floor.consistency.last_check(&[Range::Recent], false).await.unwrap().expect("it ran");
    assert_eq!((last.requested_by.as_str(), last.state), ("schedule", CheckState::Good));
    assert!(floor.consistency.last_check(&[Range::Full], false).await.unwrap().is_none(), "not due yet");
    // A full one that ran long ago is due for every process.
    floor
        .sql(
            "update consistency_checks set range = 'full', started_at = '2026-01-01T00:00:00.000Z',
                 requested_at = '2026-01-01T00:00:00.000Z'",
        )
        .await;
    two.step(&stop).await.unwrap();
    let last = floor.consistency.last_check(&[Range::Full], true).await.unwrap().expect("it ran");
    assert!(last.started_at > scanfence::domain::time::Timestamp::parse("2026-01-02T00:00:00Z").ok());

    // A request for a check that waits already returns that one. The number of waiting checks is limited.
    let asked = floor.monitor.ask(Range::Full, None, None, "test").await.unwrap();
    assert_eq!(floor.monitor.ask(Range::Full, None, None, "test").await.unwrap().check_id, asked.check_id);
    let mut refused = None;
    for n in 1..60 {
        let since = scanfence::domain::time::Timestamp::parse(&format!("2026-01-03T08:00:{n:02}Z")).unwrap();
        refused = refused.or(floor.monitor.ask(Range::Since, None, Some(since), "test").await.err());
    }
    assert!(matches!(refused, Some(NotAsked::TooMany)), "{refused:?}");
}

pub async fn reports_are_kept_within_a_bound(floor: &Floor) {
    let good = floor.check(Range::Full, None).await.check.check_id;
    let mut last = String::new();
    for _ in 0..6 {
        last = floor.check(Range::Recent, None).await.check.check_id;
    }
    let check = floor.monitor.ask(Range::Since, None, None, "test").await.unwrap();
    floor.consistency.end_check(&check.check_id, CheckState::Failed, Some("seen red"), 2).await.unwrap();
    let kept = |id: String| async move { floor.consistency.check(&id).await.unwrap().is_some() };
    assert!(kept(check.check_id).await && kept(last).await, "the newest");
    assert!(kept(good).await, "and the last good one of each range");
    let all = floor.consistency.last_check(Range::ALL, false).await.unwrap();
    assert!(all.is_some());
}
