//! The list of tasks in `core.yaml`: a sequence of flat mappings, which is all of YAML that such files use. What is
//! more is refused by its line. This room must never know what the fields mean.

/// A flat mapping and the line on which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    fields: Vec<(String, String)>,
}

impl Entry {
    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field == name)?;
        Some(&field.1)
    }
}

/// Reads the sequence below the key `list`; lists in brackets stay as they are written.
///
/// # Errors
/// A sentence that names the line.
pub(super) fn read(text: &str, list: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') || content == "---" {
            continue;
        }
        let fault = |problem: &str| {
            Err(format!(
                "line {number}: {problem}; a list of tasks is `{list}:` and then for each task `-` and lines of `name: value`"
            ))
        };
        let item = content
            .strip_prefix('-')
            .filter(|rest| rest.is_empty() || rest.starts_with(' '));
        let indented = line.starts_with([' ', '\t']);
        if !indented && item.is_none() {
            inside = content.strip_suffix(':') == Some(list);
            if !inside && content.ends_with(':') {
                return fault("this is another list");
            }
            continue;
        }
        if !inside {
            continue;
        }
        let field = match item {
            Some(rest) => {
                entries.push(Entry {
                    line: number,
                    fields: Vec::new(),
                });
                rest.trim()
            }
            None => content,
        };
        if field.is_empty() {
            continue;
        }
        let (Some(entry), Some((name, value))) = (entries.last_mut(), field.split_once(':')) else {
            return fault("this is no field of a task");
        };
        match scalar(value.trim()) {
            Some(value) => entry.fields.push((name.trim().to_owned(), value)),
            None => return fault(&format!("the value {} cannot be read", value.trim())),
        }
    }
    Ok(entries)
}

/// A plain or quoted value; none where it is another kind of YAML.
fn scalar(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('"') {
        // Escapes of JSON are escapes of YAML.
        let end = closing(rest)?;
        let after = rest[end + 1..].trim();
        let json = &text[..end + 2];
        return (after.is_empty() || after.starts_with('#')).then(|| serde_json::from_str(json).ok())?;
    }
    if let Some(rest) = text.strip_prefix('\'') {
        return rest.strip_suffix('\'').map(|inner| inner.replace("''", "'"));
    }
    if text.starts_with(['|', '>', '&', '*', '{', '!']) {
        return None;
    }
    let plain = text.split_once(" #").map_or(text, |(value, _)| value);
    Some(plain.trim_end().to_owned())
}

/// Where the closing quotation mark stands.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_in_either_layout() {
        let text = "# CORE\nicl_tasks:\n-\n  label: a b # the first\n  num_fewshot: [10]\n  delimiter: \"\\nAnswer: \\\"#\" # x\n  \
                    more: true\n- label: 'it''s'\n";
        let entries = read(text, "icl_tasks").unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].line, entries[1].line), (3, 8));
        assert_eq!(entries[0].get("label"), Some("a b"));
        assert_eq!(entries[0].get("num_fewshot"), Some("[10]"));
        assert_eq!(entries[0].get("delimiter"), Some("\nAnswer: \"#"));
        assert_eq!(entries[0].get("absent"), None);
        assert_eq!(entries[1].get("label"), Some("it's"));
        assert!(read("", "icl_tasks").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, expected) in [
            ("icl_tasks:\n- label: |\n", "line 2: the value |"),
            ("icl_tasks:\n-\n  label: \"a\n", "line 3: the value \"a"),
            ("icl_tasks:\n- label\n", "line 2: this is no field"),
            ("icl_tasks:\n  label: a\n", "line 2: this is no field"),
            ("other:\n- label: a\n", "line 1: this is another list"),
        ] {
            let error = read(text, "icl_tasks").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
