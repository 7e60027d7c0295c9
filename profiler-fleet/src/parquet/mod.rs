//! Parquet: live updates as rows of one table, for DuckDB, ClickHouse, Spark, DataFusion. `docs/parquet.md` has the
//! columns and what to ask them.

use std::{io::Write, sync::Arc};

use ::parquet::{
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use profiler_report::{render::clean, report::Report};

use self::{
    columns::{Buffer, COLUMNS},
    rows::{Row, rows},
};

mod columns;
mod rows;
#[cfg(test)]
mod tests;

/// Value of the file's key `schema`.
pub const SCHEMA: &str = "blackout.parquet/1";

/// Rows of a row group: what a reader's thread takes at once, and what is held in memory until it is written (some
/// 100 MiB).
const GROUP_ROWS: usize = 1 << 17;

/// Why no file could be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, or the parquet crate's.
    #[error("as Parquet")]
    Parquet(#[from] ParquetError),
    /// Serde's, of [`clean`].
    #[error("as Parquet")]
    Json(#[from] serde_json::Error),
}

/// Writes live updates into one file, in constant memory.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Buffer>,
    rows: usize,
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(sink: W) -> Result<Self, Error> {
        let schema = Arc::new(parse_message_type(&columns::message_type())?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("blackout {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![KeyValue::new("schema".to_owned(), SCHEMA.to_owned())]));
        let file = SerializedFileWriter::new(sink, schema, Arc::new(properties.build()))?;
        let columns = COLUMNS.iter().map(|(_, kind)| Buffer::new(*kind)).collect();
        Ok(Self { file, columns, rows: 0 })
    }

    /// Adds a live update.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add(&mut self, report: &Report) -> Result<(), Error> {
        self.add_clean(&clean(report)?)
    }

    /// Adds one whose strings are known to be harmless: made by this program and not read from anywhere.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add_clean(&mut self, report: &Report) -> Result<(), Error> {
        rows(report, &mut |row| self.push(row))
    }

    fn push(&mut self, row: Row) -> Result<(), Error> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.push(value);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            if let Some(mut writer) = group.next_column()? {
                column.write(&mut writer)?;
                writer.close()?;
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Writes what is left and the footer, without which no reader takes the file.
    ///
    /// # Errors
    /// [`Error`].
    pub fn finish(mut self) -> Result<W, Error> {
        if self.rows > 0 {
            self.flush()?;
        }
        Ok(self.file.into_inner()?)
    }
}
