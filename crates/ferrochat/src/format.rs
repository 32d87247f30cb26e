//! Numbers as people read them. Knows no other room.

/// Appends formatted text.
pub fn push(text: &mut String, part: std::fmt::Arguments) {
    std::fmt::Write::write_fmt(text, part).expect("writing to a String cannot fail");
}

/// 1234567 → "1,234,567".
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 560988160 → "561.0M"; below ten thousand the number itself.
pub fn short(n: f64) -> String {
    const UNITS: [(f64, &str); 5] = [(1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
    if n < 1e4 {
        return format!("{n:.0}");
    }
    let (unit, name) = UNITS
        .into_iter()
        .find(|&(unit, _)| n >= unit)
        .expect("n is at least ten thousand");
    format!("{:.1}{name}", n / unit)
}

/// Bytes in powers of 1000, as disks are sold: "1.5 GB".
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n >= 1e12 => format!("{:.1} TB", n / 1e12),
        n if n >= 1e9 => format!("{:.1} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        n => format!("{n} bytes"),
    }
}

/// Operations per second: "312.4 GFLOP/s".
pub fn flop_rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e15 => format!("{:.1} PFLOP/s", r / 1e15),
        r if r >= 1e12 => format!("{:.1} TFLOP/s", r / 1e12),
        r if r >= 1e9 => format!("{:.1} GFLOP/s", r / 1e9),
        r => format!("{:.1} MFLOP/s", r / 1e6),
    }
}

/// "45s", "3m20s", "2h05m", "12d03h".
pub fn duration(seconds: f64) -> String {
    let s = if seconds.is_finite() {
        seconds.max(0.0).round() as u64
    } else {
        0
    };
    match s {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        s if s < 86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        s if s < 86_400 * 365 => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
        s => format!("{:.1} years", s as f64 / (86_400.0 * 365.25)),
    }
}

/// The present as `2026-07-01T12:00:00Z`.
pub fn now() -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time::OffsetDateTime::now_utc()
        .format(&format)
        .expect("every field of the format exists in UTC")
}

/// A command line as a shell takes it.
pub fn shell_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = words.into_iter().map(|word| {
        let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,+@%".contains(c));
        if plain {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(999), "999");
        assert_eq!(short(560_988_160.0), "561.0M");
        assert_eq!(short(11_219_763_200.0), "11.2B");
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
        assert_eq!(duration(200.4), "3m20s");
        assert_eq!(duration(7500.0), "2h05m");
        assert_eq!(shell_line(["a", "b c", "it's"]), r"a 'b c' 'it'\''s'");
    }
}
