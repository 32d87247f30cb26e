//! How results are told: a line of JSON each, or a table at the end.

use anyhow::Result;
use serde_json::{Map, Value};

use super::timing::Timing;
use crate::output;

/// Prints lines as they come, or keeps them for a table.
pub struct Lines {
    json: bool,
    what: &'static str,
    rows: Vec<Vec<String>>,
}

/// Columns of the table.
const HEADER: [&str; 6] = ["", "median", "quartiles", "rate", "ceiling", "reached"];

impl Lines {
    /// Nothing yet; `what` is the name of the benchmark.
    pub fn new(what: &'static str, json: bool) -> Lines {
        Lines {
            json,
            what,
            rows: Vec::new(),
        }
    }

    /// True for lines of JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One thing that was measured; `about` says in JSON what it was.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub fn push(&mut self, name: &str, about: Value, timing: &Timing) -> Result<()> {
        if !self.json {
            let row = [name.to_owned()].into_iter().chain(timing.cells());
            self.rows.push(row.collect());
            return Ok(());
        }
        let mut line = Map::new();
        line.insert("bench".to_owned(), self.what.into());
        line.insert("name".to_owned(), name.into());
        if let Value::Object(about) = about {
            line.extend(about);
        }
        timing.write(&mut line);
        output::print(&(Value::Object(line).to_string() + "\n"))
    }

    /// Prints the table of what was kept, under a title.
    ///
    /// # Errors
    /// Stdout cannot be written to.
    pub fn finish(&mut self, title: &str) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        output::print(&format!("{title}\n{}", output::table(&HEADER, &rows)))
    }
}
