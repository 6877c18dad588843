//! The scans of one work order that stand counted, as its log explains them: who counted them, what took
//! them back, and which refused scans were settled.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::snapshot::Row;

/// A part: counter, step and barcode.
pub type Part = (String, String, String);

/// Refusals of scans that a person may count.
const CAN_BE_SETTLED: [&str; 3] = ["over-plan", "work-order-not-open", "barcode-mismatch"];

/// What stands, and what was settled.
#[derive(Default)]
pub struct Parts {
    /// Counted scans that were neither taken back nor released, by request id.
    standing: HashMap<String, Scan>,
    /// Refused scans that can be settled, and their counters.
    refused: HashMap<String, String>,
    settled: HashSet<String>,
}

struct Scan {
    counter: String,
    delta: i64,
    part: Option<Part>,
}

impl Parts {
    /// Takes the next row of the log, and says what is wrong with it.
    pub fn take(&mut self, row: &Row) -> Vec<String> {
        let mut wrong = Vec::new();
        if row.seq.is_none() {
            let can_be = |code: &String| CAN_BE_SETTLED.contains(&code.as_str());
            if row.action == "scan" && row.code.as_ref().is_some_and(can_be) {
                self.refused.insert(row.request_id.clone(), row.counter.clone());
            }
            if row.takes_back.is_some() {
                wrong.push(format!("was refused and takes back {:?}", row.takes_back));
            }
            return wrong;
        }
        wrong.extend(hold(row));
        match row.action.as_str() {
            "scan" => {
                wrong.extend(self.count(row));
                wrong.extend(self.settle(row));
            }
            "unbind" | "undo" => wrong.extend(self.take_back(row)),
            _ if row.barcodes.as_deref() == Some("release") => {
                self.standing.retain(|_, scan| scan.counter != row.counter);
            }
            _ => {}
        }
        if row.takes_back.is_some() && !["unbind", "undo"].contains(&row.action.as_str()) {
            wrong.push(format!("is a {} and takes back {:?}", row.action, row.takes_back));
        }
        wrong
    }

    /// The claims that must stand: who counted each part, and how many pieces.
    pub fn claims(&self) -> BTreeMap<Part, (String, i64)> {
        let scans = self.standing.iter();
        scans.filter_map(|(id, scan)| Some((scan.part.clone()?, (id.clone(), scan.delta)))).collect()
    }

    fn count(&mut self, row: &Row) -> Option<String> {
        let part = part_of(row);
        let other = part.as_ref().and_then(|part| {
            self.standing.iter().find(|(_, scan)| scan.part.as_ref() == Some(part)).map(|(id, _)| id.clone())
        });
        let scan = Scan { counter: row.counter.clone(), delta: row.delta, part };
        self.standing.insert(row.request_id.clone(), scan);
        other.map(|other| format!("counts {:?}, which {other} has counted", row.barcode))
    }

    fn settle(&mut self, row: &Row) -> Option<String> {
        let settles = row.settles.as_ref()?;
        if self.refused.get(settles) != Some(&row.counter) {
            return Some(format!("settles {settles}, which is no refused scan"));
        }
        let first = self.settled.insert(settles.clone());
        (!first).then(|| format!("settles {settles}, which was settled before"))
    }

    fn take_back(&mut self, row: &Row) -> Option<String> {
        let Some(id) = &row.takes_back else { return Some("takes back nothing".to_owned()) };
        let Some(scan) = self.standing.remove(id) else {
            return Some(format!("takes back {id}, which does not stand"));
        };
        let is_asked = row.action == "unbind" || row.undoes.as_ref() == Some(id);
        let is_same = scan.counter == row.counter && scan.part == part_of(row) && scan.delta == -row.delta;
        (!is_asked || !is_same).then(|| format!("takes back {id} of {} as {row:?}", scan.delta))
    }
}

/// A hold lets pass only what is late or overridden, and nothing is late without a hold.
fn hold(row: &Row) -> Option<String> {
    let is_held = ["paused", "cancelled"].contains(&row.work_order_status.as_str());
    let passes = row.late || row.r#override || row.action == "correction";
    match (is_held, row.late) {
        (true, _) if !passes => Some("was counted in spite of the hold".to_owned()),
        (false, true) => Some("is late, and there is no hold".to_owned()),
        (true, true) if row.scanned_at.is_none() => Some("is late, and does not say when it was scanned".to_owned()),
        _ => None,
    }
}

fn part_of(row: &Row) -> Option<Part> {
    Some((row.counter.clone(), row.step.clone(), row.barcode.clone()?))
}
