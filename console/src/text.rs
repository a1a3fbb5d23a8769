//! Text for terminals: made harmless, made to fit, numbers made short.

use netd_api::state::{DISCARDING, Port, VlanRange};
use nix::time::{ClockId, clock_gettime};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Removes what could move a terminal's cursor, change its state or hide text: control characters (C0,
/// DEL, C1) and invisible formatting such as bidirectional overrides. Tabs and line breaks become spaces.
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
            c if c.is_control() || is_invisible(c) => None,
            c => Some(c),
        })
        .collect()
}

/// As [`clean`], but line by line: line breaks stay, tabs become spaces.
pub fn clean_lines(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some(line) => {
                cleaned.push_str(&clean(line.strip_suffix('\r').unwrap_or(line)));
                cleaned.push('\n');
            }
            None => cleaned.push_str(&clean(line)),
        }
    }
    cleaned
}

/// Replaces what an ASCII terminal cannot show by `?`.
pub fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// Zero-width and direction-changing characters (Unicode general category Cf, the ones in use).
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Terminal columns a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Shortens a text to `columns`, ending in `mark` when something was cut.
pub fn fit(text: &str, columns: usize, mark: char) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        fitted.push(c);
        used += wide;
    }
    if columns > 0 {
        fitted.push(mark);
    }
    fitted
}

/// A text in lines of at most `columns`, broken between words where that can be.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + width(word.trim_end()) > columns {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            used = 0;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used > 0 && used + wide > columns {
                if c == ' ' {
                    continue;
                }
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    if !line.trim_end().is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// A text without its first `columns`.
pub fn from_column(text: &str, columns: usize) -> String {
    let mut skipped = 0;
    text.chars()
        .skip_while(|c| {
            let skip = skipped < columns;
            skipped += c.width().unwrap_or(0);
            skip
        })
        .collect()
}

/// A number in at most five characters, with decimal prefixes: `999`, `1.2k`, `45.6M`, `789G`.
pub fn short_number(value: u64) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    if value < 1000 {
        return value.to_string();
    }
    // Tenths of the unit, so that rounding stays exact.
    let mut unit = 1u128;
    for prefix in PREFIXES {
        let tenths = (u128::from(value) * 10 + unit / 2) / unit;
        if tenths < 1000 {
            return format!("{}.{}{prefix}", tenths / 10, tenths % 10);
        }
        let whole = (u128::from(value) + unit / 2) / unit;
        if whole < 1000 {
            return format!("{whole}{prefix}");
        }
        unit *= 1000;
    }
    value.to_string()
}

/// A port's speed: `100M`, `2.5G`, `400G`; `-` when the driver does not say.
pub fn speed(mbps: u32) -> String {
    match mbps {
        0 => "-".into(),
        1..1000 => format!("{mbps}M"),
        _ if mbps.is_multiple_of(1000) => format!("{}G", mbps / 1000),
        _ => format!("{}.{}G", mbps / 1000, mbps % 1000 / 100),
    }
}

/// VLAN ranges as the configuration writes them: `10-20,30`.
pub fn vlan_ranges(ranges: &[VlanRange]) -> String {
    let texts: Vec<String> = ranges
        .iter()
        .map(|range| match range.first == range.last {
            true => range.first.to_string(),
            false => format!("{}-{}", range.first, range.last),
        })
        .collect();
    texts.join(",")
}

/// A port's VLANs, untagged before the slash and tagged after: `10`, `1/10-20,30`, `-/5`; `-` for none.
pub fn port_vlans(port: &Port) -> String {
    let untagged = match port.untagged_vlan {
        0 => "-".to_owned(),
        id => id.to_string(),
    };
    match port.tagged_vlans.is_empty() {
        true => untagged,
        false => format!("{untagged}/{}", vlan_ranges(&port.tagged_vlans)),
    }
}

/// Administrative and operational state: `up/up`, `up/down`, `down/down`.
pub fn port_state(port: &Port) -> String {
    let admin = if port.admin_up { "up" } else { "down" };
    let oper = match port.oper_state.as_str() {
        "" => "unknown",
        "up" if port.reason == DISCARDING => "discarding",
        state => oper_state(state),
    };
    format!("{admin}/{oper}")
}

/// An operational state as a column has room for it.
pub fn oper_state(state: &str) -> &str {
    if state == "lower-layer-down" { "lower" } else { state }
}

/// A time in seconds since 1970 as local time with its zone: `14:05:09 UTC`.
pub fn clock(unix_s: u64) -> String {
    local(unix_s, "%H:%M:%S %Z")
}

/// A time in seconds since 1970 as local date and time with its zone: `2026-01-31 14:05:09 UTC`.
pub fn stamp(unix_s: u64) -> String {
    local(unix_s, "%F %H:%M:%S %Z")
}

fn local(unix_s: u64, format: &str) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // A switch that has no zone set goes by UTC.
    let zone = jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC);
    time.map_or_else(|| "-".to_owned(), |time| time.to_zoned(zone).strftime(format).to_string())
}

/// The local time of a moment of CLOCK_MONOTONIC.
pub fn of_monotonic(monotonic_ns: u64, format: &str) -> String {
    let ago_ns = i64::try_from(monotonic_ns_now()).unwrap_or(i64::MAX).saturating_sub_unsigned(monotonic_ns);
    let time = jiff::Zoned::now().saturating_sub(jiff::SignedDuration::from_nanos(ago_ns));
    time.strftime(format).to_string()
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns_now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// What is left of a time, as a clock counts it down: `0:43`, `1:43`, `1:02:03`.
pub fn countdown(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

/// How long ago, in the two largest units at most: `7s`, `3m12s`, `2h`, `9d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 if !seconds.is_multiple_of(60) => format!("{}m{}s", seconds / 60, seconds % 60),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The text, or `-` for none.
pub fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(clean("a\x1b[2Jb\u{9b}31mc\x07\x7f"), "a[2Jb31mc");
        assert_eq!(clean("one\ttwo\r\nthree"), "one two  three");
        assert_eq!(clean("\u{202e}evil\u{200b}"), "evil");
        assert_eq!(clean("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn line_breaks_survive_where_lines_are_wanted() {
        assert_eq!(clean_lines("a\x1bb\r\n\tc\nd"), "ab\n c\nd");
    }

    #[test]
    fn texts_are_cut_to_columns_not_characters() {
        assert_eq!(fit("uplink", 6, '~'), "uplink");
        assert_eq!(fit("uplinks", 6, '~'), "uplin~");
        assert_eq!(fit("東京都", 5, '…'), "東京…");
        assert_eq!(fit("東京都", 4, '…'), "東…");
        assert_eq!(fit("abc", 0, '~'), "");
        assert_eq!(fit("abc", 1, '~'), "~");
    }

    #[test]
    fn long_lines_break_between_words_and_lose_nothing() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(wrap("東京都", 4), ["東京", "都"]);
        assert!(wrap("a b", 0).iter().all(|line| width(line) <= 1));
        assert_eq!((from_column("abcdef", 2), from_column("ab", 5)), ("cdef".into(), String::new()));
    }

    #[test]
    fn times_count_down_and_up() {
        assert_eq!([0, 43, 103, 3723].map(countdown), ["0:00", "0:43", "1:43", "1:02:03"]);
        assert_eq!([7, 60, 192, 700, 7300, 800_000].map(age), ["7s", "1m", "3m12s", "11m", "2h", "9d"]);
    }

    #[test]
    fn numbers_keep_to_five_characters() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (1250, "1.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.0M"),
            (123_456_789, "123M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short_number(value), text);
        }
    }

    #[test]
    fn speeds_read_as_on_the_front_panel() {
        let texts = [0, 10, 100, 1000, 2500, 10_000, 400_000].map(speed);
        assert_eq!(texts, ["-", "10M", "100M", "1G", "2.5G", "10G", "400G"]);
    }

    #[test]
    fn times_are_local_and_those_that_cannot_be_do_no_harm() {
        assert!(clock(0).len() > "14:05:09 ".len() && stamp(0).len() > "2026-01-31 14:05:09 ".len());
        assert_eq!(stamp(u64::MAX), "-");
    }

    #[test]
    fn vlans_read_untagged_before_tagged() {
        let range = |first, last| VlanRange { first, last };
        let mut port = Port::default();
        assert_eq!(port_vlans(&port), "-");
        port.tagged_vlans = vec![range(10, 20), range(30, 30)];
        assert_eq!(port_vlans(&port), "-/10-20,30");
        port.untagged_vlan = 1;
        assert_eq!(port_vlans(&port), "1/10-20,30");
        port.tagged_vlans.clear();
        assert_eq!(port_vlans(&port), "1");
    }
}
