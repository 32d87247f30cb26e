//! Parquet shards: one text column, row group by row group.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::corpus::{Mark, SourceFile};
use crate::documents::{CHUNK_DOCUMENTS, Document, Position};
use crate::error::DataError;

/// A shard whose footer has been read and whose text column is known.
pub(crate) struct ParquetShard {
    path: PathBuf,
    file: SerializedFileReader<File>,
    column: usize,
    /// Definition level of a row that has a value; 0 where every row has one.
    filled_level: i16,
}

impl ParquetShard {
    pub(crate) fn open(path: &Path, field: &str) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        let file = guard(path, "its footer", || SerializedFileReader::new(file))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let columns: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let unusable = |reason: String| DataError::Unsupported {
            path: path.to_path_buf(),
            reason,
        };
        let Some(column) = columns.iter().position(|name| name == field) else {
            return Err(unusable(format!(
                "it has no column `{field}`, only {}; name the column that holds the text",
                columns.join(", ")
            )));
        };
        let description = schema.column(column);
        if description.physical_type() != PhysicalType::BYTE_ARRAY || description.max_rep_level() > 0 {
            return Err(unusable(format!("its column `{field}` is not one string per row")));
        }
        Ok(ParquetShard {
            path: path.to_path_buf(),
            filled_level: description.max_def_level(),
            file,
            column,
        })
    }

    fn groups(&self) -> u64 {
        self.file.metadata().num_row_groups() as u64
    }

    fn rows(&self, group: u64) -> u64 {
        let rows = self.file.metadata().row_group(group as usize).num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// The row at nine tenths of the shard (at least one row before it).
    pub(crate) fn last_tenth(&self) -> Mark {
        let total: u64 = (0..self.groups()).map(|group| self.rows(group)).sum();
        let mut row = (total / 10 * 9 + total % 10 * 9 / 10).max(1);
        for group in 0..self.groups() {
            if row < self.rows(group) {
                return Mark { file: 0, group, row };
            }
            row -= self.rows(group);
        }
        Mark {
            file: 1,
            ..Mark::default()
        }
    }

    fn column_reader(&self, group: u64) -> Result<ColumnReaderImpl<ByteArrayType>, DataError> {
        let place = format!("row group {group}");
        guard(&self.path, &place, || {
            let group = self.file.get_row_group(group as usize)?;
            match group.get_column_reader(self.column)? {
                ColumnReader::ByteArrayColumnReader(reader) => Ok(reader),
                _ => Err(ParquetError::General("the text column changed type".into())),
            }
        })
    }
}

pub(crate) struct ParquetReader {
    shard: ParquetShard,
    mark: Mark,
    end: Option<Mark>,
    /// Values of the current row group, from `mark.row` on.
    column: Option<ColumnReaderImpl<ByteArrayType>>,
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl ParquetReader {
    pub(crate) fn open(file: &SourceFile, from: Mark, end: Option<Mark>, field: &str) -> Result<Self, DataError> {
        let shard = ParquetShard::open(&file.path, field)?;
        let in_file = from.group < shard.groups() && from.row <= shard.rows(from.group);
        if !in_file && (from.group, from.row) != (0, 0) {
            return Err(DataError::State(format!(
                "row {} of row group {} is not in {}; was the data changed?",
                from.row,
                from.group,
                file.path.display()
            )));
        }
        Ok(ParquetReader {
            shard,
            mark: from,
            end,
            column: None,
            values: Vec::new(),
            levels: Vec::new(),
        })
    }

    pub(crate) fn read(&mut self, epoch: u64, out: &mut Vec<Document>) -> Result<Option<Mark>, DataError> {
        loop {
            let group = self.mark.group;
            if group >= self.shard.groups() || self.end.is_some_and(|end| self.mark >= end) {
                return Ok(None);
            }
            let mut rows = self.shard.rows(group);
            if let Some(end) = self.end.filter(|end| end.group == group) {
                rows = rows.min(end.row);
            }
            if self.mark.row < rows {
                let count = (rows - self.mark.row).min(CHUNK_DOCUMENTS as u64) as usize;
                self.read_rows(count, epoch, out)?;
                return Ok(Some(self.mark));
            }
            self.column = None;
            self.mark.group += 1;
            self.mark.row = 0;
        }
    }

    /// Appends the next `count` rows of the current group; rows without a value
    /// are left out.
    fn read_rows(&mut self, count: usize, epoch: u64, out: &mut Vec<Document>) -> Result<(), DataError> {
        let Mark { group, row, .. } = self.mark;
        let place = format!("row group {group}");
        let path = self.shard.path.clone();
        self.values.clear();
        self.levels.clear();
        let (mut column, skip) = match self.column.take() {
            Some(column) => (column, 0),
            None => (self.shard.column_reader(group)?, row),
        };
        let filled_level = self.shard.filled_level;
        let nullable = filled_level > 0;
        let (values, levels) = (&mut self.values, &mut self.levels);
        let (read, column) = guard(&path, &place, || {
            if skip > 0 {
                let skipped = column.skip_records(skip as usize)?;
                if skipped as u64 != skip {
                    return Err(ParquetError::General("it ends too early".into()));
                }
            }
            let levels = nullable.then_some(levels);
            let (read, _, _) = column.read_records(count, levels, None, values)?;
            Ok((read, column))
        })?;
        if read != count {
            return Err(DataError::malformed(&path, place, "it ends too early"));
        }
        self.column = Some(column);
        let mut values = self.values.iter();
        for index in 0..count {
            self.mark.row += 1;
            if nullable && self.levels[index] < filled_level {
                continue;
            }
            let Some(value) = values.next() else { break };
            let text = std::str::from_utf8(value.data()).map_err(|_| {
                let place = format!("{place}, row {}", row + index as u64);
                DataError::malformed(&path, place, "it is not UTF-8 text")
            })?;
            out.push(Document {
                text: text.to_owned(),
                begins: true,
                after: Position::at(epoch, self.mark),
            });
        }
        Ok(())
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would become a [`DataError`]: the Parquet decoder panics on some damaged
/// files. A panic hook that speaks to users leaves such a panic alone.
pub fn panic_is_caught() -> bool {
    GUARDED.get()
}

/// Runs a step of the Parquet decoder; its errors, and its panics on damaged
/// input, become one sentence that names the shard.
pub(crate) fn guard<T>(
    path: &Path,
    place: &str,
    step: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, DataError> {
    let outer = GUARDED.replace(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
    GUARDED.set(outer);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let message = error.to_string();
            let reason = message.strip_prefix("Parquet error: ").unwrap_or(&message).to_owned();
            Err(DataError::malformed(path, place, reason))
        }
        Err(_) => Err(DataError::malformed(path, place, "it cannot be decoded")),
    }
}
