//! Spans of time as people write and read them: `90`, `90s`, `2m`, `1h`.

/// Reads a span in seconds, at least one.
///
/// # Errors
/// A sentence for the user.
pub fn parse(text: &str) -> Result<u32, String> {
    let (number, unit_s) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| number.parse::<u32>().ok()?.checked_mul(unit_s)).flatten();
    match seconds {
        Some(0) => Err("give a second at least".to_owned()),
        Some(seconds) => Ok(seconds),
        None => Err("give seconds, or a time such as 90s, 2m or 1h".to_owned()),
    }
}

/// A span in the largest unit that shows it exactly: `90 s`, `2 min`, `1 h`.
pub fn show(seconds: u32) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [("1", 1), ("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600)] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for text in
            ["", "0", "0m", "-1", "+1", "m", "2 m", "1d", "1.5h", "4294967296", "71582789m", "é", "1é"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_read_in_the_largest_unit_that_fits() {
        assert_eq!([1, 60, 90, 600, 7200].map(show), ["1 s", "1 min", "90 s", "10 min", "2 h"]);
    }
}
