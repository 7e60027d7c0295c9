//! The columns, and the values of one of them until they are written. `docs/parquet.md` says what each is.

use ::parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::writer::SerializedColumnWriter,
};

/// Type of a column; all may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// 64 bits.
    Long,
    /// 32 bits.
    Short,
    /// Microseconds since 1970, UTC.
    Time,
    /// True or false.
    Flag,
}

/// How many of the columns speak of the live update: the first ones.
pub const UPDATE_COLUMNS: usize = 16;

/// Names and types.
pub const COLUMNS: [(&str, Kind); UPDATE_COLUMNS + 17] = [
    ("run", Kind::Text),
    ("began_at", Kind::Time),
    ("host", Kind::Text),
    ("arch", Kind::Text),
    ("cpus", Kind::Short),
    ("memory_bytes", Kind::Long),
    ("outgoing", Kind::Text),
    ("incoming", Kind::Text),
    ("incoming_build_id", Kind::Text),
    ("outcome", Kind::Text),
    ("handover", Kind::Text),
    ("definition", Kind::Text),
    ("window_ns", Kind::Long),
    ("unobserved_ns", Kind::Long),
    ("lost_records", Kind::Long),
    ("version", Kind::Text),
    ("row", Kind::Short),
    ("parent", Kind::Short),
    ("record", Kind::Text),
    ("kernel", Kind::Text),
    ("phase", Kind::Text),
    ("name", Kind::Text),
    ("kind", Kind::Text),
    ("subject", Kind::Text),
    ("device", Kind::Text),
    ("start_ns", Kind::Long),
    ("duration_ns", Kind::Long),
    ("self_ns", Kind::Long),
    ("error_ns", Kind::Long),
    ("cpu", Kind::Short),
    ("pid", Kind::Short),
    ("retval", Kind::Long),
    ("critical", Kind::Flag),
];

/// Parquet's own words for the columns.
pub fn message_type() -> String {
    let column = |(name, kind): &(&str, Kind)| match kind {
        Kind::Text => format!("optional binary {name} (STRING);"),
        Kind::Long => format!("optional int64 {name};"),
        Kind::Short => format!("optional int32 {name};"),
        Kind::Time => format!("optional int64 {name} (TIMESTAMP(MICROS,true));"),
        Kind::Flag => format!("optional boolean {name};"),
    };
    format!("message blackout {{ {} }}", COLUMNS.iter().map(column).collect::<String>())
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Text(ByteArray),
    Int(i64),
    Flag(bool),
}

/// A column's cells that are not yet written.
#[derive(Debug)]
pub struct Buffer {
    /// 1 where there is a value, 0 where there is none.
    levels: Vec<i16>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Text(Vec<ByteArray>),
    Long(Vec<i64>),
    Short(Vec<i32>),
    Flag(Vec<bool>),
}

impl Buffer {
    /// An empty one.
    pub fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Long | Kind::Time => Values::Long(Vec::new()),
            Kind::Short => Values::Short(Vec::new()),
            Kind::Flag => Values::Flag(Vec::new()),
        };
        Self { levels: Vec::new(), values }
    }

    /// Adds a cell; one of another type is null.
    pub fn push(&mut self, value: Value) {
        let known = match (&mut self.values, value) {
            (Values::Text(values), Value::Text(text)) => {
                values.push(text);
                true
            }
            (Values::Long(values), Value::Int(value)) => {
                values.push(value);
                true
            }
            (Values::Short(values), Value::Int(value)) => {
                values.push(i32::try_from(value).unwrap_or(i32::MAX));
                true
            }
            (Values::Flag(values), Value::Flag(value)) => {
                values.push(value);
                true
            }
            _ => false,
        };
        self.levels.push(i16::from(known));
    }

    /// Writes the cells as a column of a row group, and is empty again.
    pub fn write(&mut self, column: &mut SerializedColumnWriter) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &self.values {
            Values::Text(values) => column.typed::<ByteArrayType>().write_batch(values, levels, None)?,
            Values::Long(values) => column.typed::<Int64Type>().write_batch(values, levels, None)?,
            Values::Short(values) => column.typed::<Int32Type>().write_batch(values, levels, None)?,
            Values::Flag(values) => column.typed::<BoolType>().write_batch(values, levels, None)?,
        };
        self.levels.clear();
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Long(values) => values.clear(),
            Values::Short(values) => values.clear(),
            Values::Flag(values) => values.clear(),
        }
        Ok(())
    }
}
