//! Values at their limits.

use scanfence::domain::barcode::{Barcode, BarcodePattern, Step};
use scanfence::domain::ids::{Principal, QUANTITY_LIMIT, RequestId, Stamp, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Change, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{BarcodePolicy, Plan};
use scanfence::store::BarcodeQuery;

use crate::store_suite::shop::*;

// Long: every field has its limit, and all are written at once.
pub async fn values_at_their_limits_come_back_as_they_went_in(store: Shared) {
    let wide = |length: usize| "𠀀".repeat(length);
    let awkward = r#"'"\/%_{}[]$.?1;--<b>"#;
    // As many bytes as a barcode may have, and no two alike: PostgreSQL can't compress them (pitfall 45).
    let longest: String = (0..256).map(|n| char::from_u32(0x2_0000 + n * 37).unwrap()).collect();
    assert_eq!(longest.len(), 1024);
    let barcodes = [longest, format!("01{}\u{1d}21{}", "9".repeat(254), "x".repeat(253)), awkward.to_owned()];
    let ids = [
        RequestId::parse(&format!("{:\u{7e}<255}", unique("r"))).unwrap(),
        RequestId::parse(&format!("{}{awkward}", unique("r")).replace('"', "'")).unwrap(),
        RequestId::parse(&format!("\"{}\\\"\\\\\"", unique("r"))).unwrap(),
    ];
    let number = WorkOrderNumber::parse(&format!("{:.<64}", unique("W"))).unwrap();
    let largest = Plan {
        planned_quantity: pieces(QUANTITY_LIMIT),
        over_plan_allowance: Some(pieces(QUANTITY_LIMIT)),
        barcode_policy: BarcodePolicy::Once,
        barcode_pattern: Some(BarcodePattern::parse(&format!("{}|.*", wide(253))).unwrap()),
        product_code: Some(wide(64)),
        product_name: Some(awkward.into()),
        line: Some(wide(64)),
    };
    put(&*store, &number, largest.clone()).await;
    assert_eq!(row(&*store, &number).await.plan, largest);

    let times = ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"];
    for ((barcode, request_id), scanned_at) in barcodes.iter().zip(&ids).zip(times) {
        let request = Request {
            request_id: request_id.clone(),
            step: Step::parse(&wide(64)).unwrap(),
            station: Some(wide(64)),
            terminal: Some(awkward.into()),
            operator: Some(String::new()),
            note: Some(wide(500)),
            scanned_at: Some(Timestamp::parse(scanned_at).unwrap()),
            ..scan_of(&number, barcode)
        };
        let change = Change::SetTo(pieces(QUANTITY_LIMIT), Barcodes::Keep);
        let ask = Ask::Correct { change, expected: Some(pieces(QUANTITY_LIMIT)), reason: wide(500) };
        let requests = [
            request.clone(),
            Request { request_id: id(), counter: Counter::Scrap, ..request.clone() },
            Request { request_id: id(), ask, ..request },
        ];
        let recorded_at = Timestamp::parse(scanned_at).unwrap();
        let facts = store.load(&wanted(&requests)).await.unwrap();
        let (_, mut batch) = decided_at(recorded_at, facts, &requests, &under(&number, i64::MAX, awkward));
        for stamp in [i64::MIN, i64::MAX, 0, -1, (1 << 53) + 1] {
            batch.changes[0].row.stamp = Stamp(stamp);
            batch.changes[0].row.scrap_quantity = pieces(QUANTITY_LIMIT);
            assert!(store.write(&batch).await.unwrap().passed.contains(&number));
            assert_eq!(row(&*store, &number).await, batch.changes[0].row);
            for update in &batch.changes[0].updates {
                let found = store.updates_by_id(std::slice::from_ref(&update.request_id)).await.unwrap();
                assert_eq!(found, [Update::clone(update)]);
            }
            batch.changes[0].loaded = Stamp(stamp);
            batch.changes[0].updates.clear();
            batch.changes[0].claims = Default::default();
        }
        let of_part = BarcodeQuery { barcode: Barcode::parse(barcode).unwrap().canonical, before: None, limit: 100 };
        let life = store.updates_of_barcode(&of_part).await.unwrap();
        assert_eq!(life.iter().filter(|update| update.work_order == number).count(), 2);
        assert_eq!(life[0].barcode.as_ref(), Some(barcode));
    }
    let absent = Update { recorded_by: Principal::named(&wide(64)), ..log(&*store, &number).await[0].clone() };
    assert_ne!(absent.recorded_by, log(&*store, &number).await[0].recorded_by);
}
