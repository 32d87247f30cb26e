//! Comma-separated values as RFC 4180 has them: quotation marks around commas and line breaks. This room must never know
//! what the columns mean.

/// Rows of cells; empty rows are passed over.
pub(super) fn read(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' if quoted && rest.peek() == Some(&'"') => {
                cell.push('"');
                rest.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && rest.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows.retain(|row| row.len() > 1 || !row[0].is_empty());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_in_quotation_marks_hold_anything() {
        let text = "a,b\r\n\n\"1, \"\"one\"\"\n\",\n,2";
        assert_eq!(read(text), [["a", "b"], ["1, \"one\"\n", ""], ["", "2"]]);
        assert!(read("").is_empty());
    }
}
