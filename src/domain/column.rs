//! Rows as columns: the name, the kind and the value of each field of a row.
//!
//! [`row!`] declares a row's struct and makes its table of columns from the same lines. So a
//! column is written down once. The stores make their SQL, the values that they bind and the
//! readers of rows from these tables.

use super::ids::{Delta, Fence, Owner, Principal, Quantity, RequestId, Revision, Seq, Stamp, WorkOrderNumber};
use super::time::Timestamp;

/// One column of a row `Row`.
pub struct Column<Row> {
    /// Its name in the database and in JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its value in a row; `None` is null.
    pub value: fn(&Row) -> Option<Value<'_>>,
}

/// A row whose columns are known.
pub trait Row: Sized + 'static {
    /// Its columns, in the order of the struct's fields.
    const COLUMNS: &'static [Column<Self>];
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Number,
    /// A whole number of 16 bits.
    SmallNumber,
    /// True or false.
    Boolean,
    /// A point in time.
    Time,
}

/// The value of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Of [`Kind::Text`].
    Text(&'a str),
    /// Of [`Kind::Number`].
    Number(i64),
    /// Of [`Kind::SmallNumber`].
    SmallNumber(i16),
    /// Of [`Kind::Boolean`].
    Boolean(bool),
    /// Of [`Kind::Time`].
    Time(Timestamp),
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number of 64 bits, if it is one.
    #[must_use]
    pub fn number(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    /// The number of 16 bits, if it is one.
    #[must_use]
    pub fn small_number(self) -> Option<i16> {
        if let Self::SmallNumber(number) = self { Some(number) } else { None }
    }

    /// Whether it is true, if it is true or false.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        if let Self::Boolean(truth) = self { Some(truth) } else { None }
    }

    /// The point in time, if it is one.
    #[must_use]
    pub fn time(self) -> Option<Timestamp> {
        if let Self::Time(time) = self { Some(time) } else { None }
    }
}

/// A type that is the value of one column.
pub trait ColumnType {
    /// What the column holds.
    const KIND: Kind;

    /// The value; `None` is null.
    fn value(&self) -> Option<Value<'_>>;
}

impl<T: ColumnType> ColumnType for Option<T> {
    const KIND: Kind = T::KIND;

    fn value(&self) -> Option<Value<'_>> {
        self.as_ref().and_then(T::value)
    }
}

/// Says which kind of column a type is, and how its value is had.
macro_rules! column_type {
    ($($type:ty: $kind:ident = |$this:ident| $value:expr;)+) => {$(
        impl $crate::domain::column::ColumnType for $type {
            const KIND: $crate::domain::column::Kind = $crate::domain::column::Kind::$kind;

            fn value(&self) -> Option<$crate::domain::column::Value<'_>> {
                let $this = self;
                Some($crate::domain::column::Value::$kind($value))
            }
        }
    )+};
}
pub(crate) use column_type;

column_type! {
    String: Text = |text| text;
    WorkOrderNumber: Text = |number| number.as_str();
    RequestId: Text = |id| id.as_str();
    Principal: Text = |principal| principal.as_str();
    Owner: Text = |owner| owner.as_str();
    i16: SmallNumber = |number| *number;
    bool: Boolean = |truth| *truth;
    Fence: Number = |fence| fence.0;
    Seq: Number = |seq| seq.0;
    Stamp: Number = |stamp| stamp.0;
    Revision: Number = |revision| revision.0;
    Quantity: Number = |quantity| quantity.get();
    Delta: Number = |delta| delta.get();
    Timestamp: Time = |time| *time;
}

/// The name of a field's column. A field whose name is a keyword of Rust is written `r#…`.
pub(crate) const fn name_of(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Declares a struct whose fields are the columns of a table, and its [`Row::COLUMNS`].
macro_rules! row {
    (
        $(#[$meta:meta])*
        pub struct $Row:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        pub struct $Row {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl $crate::domain::column::Row for $Row {
            const COLUMNS: &'static [$crate::domain::column::Column<Self>] = &[$(
                $crate::domain::column::Column {
                    name: $crate::domain::column::name_of(stringify!($field)),
                    kind: <$type as $crate::domain::column::ColumnType>::KIND,
                    value: |row| $crate::domain::column::ColumnType::value(&row.$field),
                },
            )+];
        }
    };
}
pub(crate) use row;
