//! An update as answers show it (contract, section 3).

use std::sync::LazyLock;

use serde::{Serialize, Serializer};

use crate::domain::column::{Column, Row as _, Value};
use crate::domain::ids::RequestId;
use crate::domain::refusals::{Left, Refusal, may_be_settled};
use crate::domain::update::{RENDERING, Update};

/// The columns that rendering 1 shows, in the contract's order.
///
/// A 201 must stay the same, byte by byte, for ever. To change what is shown, add a second list and
/// raise [`RENDERING`]. Rows keep the number that they were first answered with.
const RENDERING_1: [&str; 32] = [
    "request_id",
    "work_order",
    "seq",
    "counter",
    "action",
    "delta",
    "before",
    "after",
    "barcode",
    "step",
    "station",
    "terminal",
    "operator",
    "reason",
    "note",
    "takes_back",
    "undoes",
    "late",
    "override",
    "settles",
    "barcodes",
    "line",
    "product_code",
    "fence",
    "work_order_status",
    "remaining",
    "scanned_at",
    "recorded_at",
    "recorded_by",
    "outcome",
    "code",
    "at_seq",
];

/// The columns that JSON leaves out if they are null: few updates have them.
const ONLY_IF_PRESENT: [&str; 4] = ["undoes", "barcodes", "code", "at_seq"];

/// The columns of an answer, looked up once.
static SHOWN: LazyLock<Vec<&'static Column<Update>>> = LazyLock::new(|| {
    let column = |name: &&str| Update::COLUMNS.iter().find(|column| column.name == *name);
    RENDERING_1.iter().map(|name| column(name).expect("a test shows every column of the rendering")).collect()
});

/// An update as its first answer showed it. If a newer release has written it: in the newest form that
/// this release knows.
pub(in crate::http) struct UpdateView<'a>(&'a Update);

impl<'a> UpdateView<'a> {
    /// Whether this release can show such a row as it was first answered.
    pub(in crate::http) fn is_known(rendering: i16) -> bool {
        (1..=RENDERING).contains(&rendering)
    }

    /// The view of an update.
    pub(in crate::http) fn of(update: &'a Update) -> Self {
        Self(update)
    }

    /// The names of the columns, in order.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        SHOWN.iter().map(|column| column.name)
    }

    /// The values of the columns, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<Value<'a>>> {
        let update = self.0;
        SHOWN.iter().map(move |column| (column.value)(update))
    }
}

impl Serialize for UpdateView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = Self::names().zip(self.values());
        serializer.collect_map(
            fields
                .filter(|(name, value)| value.is_some() || !ONLY_IF_PRESENT.contains(name))
                .map(|(name, value)| (name, value.map(Json))),
        )
    }
}

/// An update, and what became of it if it is a refused scan that a person may settle.
#[derive(Serialize)]
#[serde(untagged)]
pub(in crate::http) enum SettledView<'a> {
    /// A refused scan that a person may settle.
    Refusal {
        #[serde(flatten)]
        update: UpdateView<'a>,
        /// The override that has counted it. Null: none has.
        settled_by: Option<&'a RequestId>,
    },
    /// Any other update.
    Other(UpdateView<'a>),
}

impl<'a> SettledView<'a> {
    /// The view of an update of any kind.
    pub(in crate::http) fn of(found: &'a Refusal) -> Self {
        let update = UpdateView::of(&found.update);
        match may_be_settled(&found.update) {
            true => Self::Refusal { update, settled_by: found.settled_by.as_ref() },
            false => Self::Other(update),
        }
    }
}

/// A refused scan as the list of refusals shows it.
#[derive(Serialize)]
pub(in crate::http) struct RefusalView<'a> {
    #[serde(flatten)]
    update: UpdateView<'a>,
    settled_by: Option<&'a RequestId>,
    left: Option<&'a Left>,
}

impl<'a> RefusalView<'a> {
    /// The view of a refused scan.
    pub(in crate::http) fn of(refusal: &'a Refusal) -> Self {
        let Refusal { update, settled_by, left } = refusal;
        Self { update: UpdateView::of(update), settled_by: settled_by.as_ref(), left: left.as_ref() }
    }
}

/// A value as JSON.
struct Json<'a>(Value<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Number(number) => serializer.serialize_i64(number),
            Value::SmallNumber(number) => serializer.serialize_i16(number),
            Value::Boolean(truth) => serializer.serialize_bool(truth),
            Value::Time(time) => time.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_the_rendering_is_one_of_the_log() {
        assert!(UpdateView::names().eq(RENDERING_1));
    }
}
