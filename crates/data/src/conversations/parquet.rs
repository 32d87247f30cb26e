//! Parquet files whose column `messages` (or ShareGPT's `conversations`) is a
//! list of structures, read row by row into the same JSON as a line of JSONL.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::error::DataError;
use crate::source::parquet::guard;

const COLUMNS: [&str; 2] = ["messages", "conversations"];

/// Gives every row, counted from 1, to `take` as JSON.
pub(crate) fn read(
    path: &Path,
    file: File,
    take: &mut dyn FnMut(u64, String) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let file = guard(path, "its footer", || SerializedFileReader::new(file))?;
    let schema = file.metadata().file_metadata().schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let Some(column) = COLUMNS
        .iter()
        .find_map(|column| names.iter().position(|name| name == column))
    else {
        return Err(DataError::conversations(
            path.display().to_string(),
            format!(
                "it has no column `messages` or `conversations`, only {}",
                names.join(", ")
            ),
        ));
    };
    // The other columns are never decoded.
    let wanted = vec![Arc::clone(&schema.get_fields()[column])];
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted);
    let mut rows = guard(path, "its schema", || file.get_row_iter(Some(projection.build()?)))?;
    for number in 1.. {
        let row = guard(path, &format!("row {number}"), || rows.next().transpose())?;
        let Some(row) = row else { break };
        take(number, object(&row).to_string())?;
    }
    Ok(())
}

/// A row with all its columns.
pub(crate) fn object(row: &Row) -> Value {
    let fields = row.get_column_iter();
    let fields: Map<String, Value> = fields.map(|(name, field)| (name.clone(), value(field))).collect();
    Value::Object(fields)
}

/// Types that have no place in a conversation become null, which is refused
/// where it matters.
fn value(field: &Field) -> Value {
    match field {
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(String::from_utf8_lossy(bytes.data())),
        Field::Bool(bit) => Value::from(*bit),
        Field::Int(number) => Value::from(*number),
        Field::Long(number) => Value::from(*number),
        Field::Double(number) => Value::from(*number),
        Field::Group(row) => object(row),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        _ => Value::Null,
    }
}
