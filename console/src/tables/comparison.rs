//! What a change did to the network: what was there before it and is gone, the gravest first.

use netd_api::comparison::{Compared, Comparison, Difference, Progress, Verdict};

use crate::look::Tone;
use crate::text;

/// Columns of what became of objects, and of their kind.
const VERDICT_COLUMNS: usize = 7;
const KIND_COLUMNS: usize = 14;
/// Most blanks between an object and how many there were, on a wide terminal.
const MOST_GAP: usize = 40;

/// A line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, harmless.
    pub text: String,
    /// Its meaning.
    pub tone: Tone,
}

impl Line {
    fn new(text: &str, tone: Tone) -> Line {
        Line { text: text::clean(text).trim_end().to_owned(), tone }
    }
}

/// The comparison, a line each object that is gone, at most `most` of a kind; what is the same in one line. No line is
/// longer than `columns`, but where `columns` are fewer than anything fits.
pub fn lines(comparison: &Comparison, most: usize, columns: usize) -> Vec<Line> {
    match comparison.progress {
        Progress::NothingWaits => return Vec::new(),
        Progress::NotRecorded => {
            let words = " Not compared: what was there before the change is not recorded.";
            return vec![Line::new(words, Tone::Bad)];
        }
        Progress::NotLooked => return vec![Line::new(" Not compared yet.", Tone::Normal)],
        Progress::Compared => {}
    }
    let mut kinds: Vec<&Compared> = comparison.kinds.iter().collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.verdict));
    let mut lines = Vec::new();
    for kind in kinds.iter().filter(|kind| kind.verdict != Verdict::Same) {
        add_kind(kind, most, columns, &mut lines);
    }
    let same = kinds.iter().filter(|kind| kind.verdict == Verdict::Same && kind.objects > 0);
    let same: Vec<String> = same.map(|kind| words(&kind.kind).many).collect();
    if !same.is_empty() {
        let text = text::wrap(&same.join(", "), columns.saturating_sub(VERDICT_COLUMNS + 2));
        let labels = std::iter::once("same").chain(std::iter::repeat(""));
        for (label, text) in labels.zip(text) {
            lines.push(Line::new(&format!(" {label:VERDICT_COLUMNS$} {text}"), Tone::Normal));
        }
    }
    if lines.is_empty() {
        lines.push(Line::new(" Nothing was there before that could be gone.", Tone::Normal));
    }
    lines
}

fn add_kind(kind: &Compared, most: usize, columns: usize, lines: &mut Vec<Line>) {
    let words = words(&kind.kind);
    let line = |verdict: &str, name: &str, rest: &str, count: &str| {
        let start = format!(" {verdict:VERDICT_COLUMNS$} {name:KIND_COLUMNS$} ");
        let room = columns.saturating_sub(text::width(&start));
        let rest = text::fit(&text::clean(rest), room, '~');
        // The object says more than how many there were.
        let gap = room.saturating_sub(text::width(&rest) + text::width(count));
        match gap {
            2.. if !count.is_empty() => format!("{start}{rest}{}{count}", " ".repeat(gap.min(MOST_GAP))),
            _ => format!("{start}{rest}"),
        }
    };
    if kind.verdict == Verdict::Unknown {
        lines.push(Line::new(&line("unknown", &words.one, &kind.reason, ""), Tone::Bad));
        return;
    }
    // How many of all, beside the first of those that are gone.
    let mut count = match kind.lost {
        0 => String::new(),
        lost => format!("{lost} of {} {}", kind.objects, words.counted(kind.objects)),
    };
    for difference in kind.differences.iter().take(most) {
        let verdict = if difference.now == 0 { Verdict::Lost } else { Verdict::Fewer };
        let shown = words.difference(difference);
        let count = if verdict == Verdict::Lost { std::mem::take(&mut count) } else { String::new() };
        let tone = if verdict == Verdict::Lost { Tone::Bad } else { Tone::Normal };
        lines.push(Line::new(&line(verdict.as_str(), &words.one, &shown, &count), tone));
    }
    let shown = kind.differences.len().min(most) as u64;
    let more = (kind.lost + kind.fewer).saturating_sub(shown);
    if more > 0 {
        lines.push(Line::new(&line("", "", &format!("and {more} more"), ""), Tone::Normal));
    }
}

/// What a kind is called.
struct Words {
    one: String,
    many: String,
    /// What the number of an object counts, one and many; empty where objects have none.
    unit: [&'static str; 2],
}

fn words(kind: &str) -> Words {
    let of = |one: &str, many: &str, unit| Words { one: one.to_owned(), many: many.to_owned(), unit };
    match kind {
        "port" => of("port", "ports", ["", ""]),
        "lag" => of("LAG", "LAGs", ["member", "members"]),
        "neighbour" => of("neighbour", "neighbours", ["neighbour", "neighbours"]),
        "fdb" => of("FDB", "learned addresses", ["address", "addresses"]),
        "default-route" => of("default route", "default routes", ["next hop", "next hops"]),
        "attachment" => of("attachment", "attachments", ["", ""]),
        // Of a newer netd.
        other => of(other, other, ["", ""]),
    }
}

impl Words {
    /// What there are so many of.
    fn counted(&self, count: u64) -> &str {
        match self.one.as_str() {
            "FDB" if count == 1 => "VLAN",
            "FDB" => "VLANs",
            _ if count == 1 => &self.one,
            _ => &self.many,
        }
    }

    fn difference(&self, difference: &Difference) -> String {
        let (object, before, now) = (&difference.object, difference.before, difference.now);
        let [one, many] = self.unit;
        match (one, before, now) {
            ("", ..) | (_, 1, 0) => object.clone(),
            _ => {
                let unit = if now == 1 { one } else { many };
                format!("{object}: {now} {unit} of {before}")
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A comparison with something of each sort.
    pub fn comparison() -> Comparison {
        let gone = |object: &str| Difference { object: object.into(), before: 1, now: 0 };
        let less = |object: &str, now, before| Difference { object: object.into(), before, now };
        let kind = |kind: &str, verdict, objects, differences: Vec<Difference>| Compared {
            kind: kind.into(),
            verdict,
            objects,
            lost: differences.iter().filter(|row| row.now == 0).count() as u64,
            fewer: differences.iter().filter(|row| row.now != 0).count() as u64,
            differences,
            reason: String::new(),
        };
        let unknown = Compared { reason: "it was not recorded".into(), ..Compared::default() };
        Comparison {
            generation: 13,
            progress: Progress::Compared,
            if_same: false,
            looks: 9,
            age_ms: 1500,
            kinds: vec![
                kind("port", Verdict::Same, 12, Vec::new()),
                kind("lag", Verdict::Fewer, 2, vec![less("uplink", 1, 2)]),
                kind(
                    "neighbour",
                    Verdict::Lost,
                    9,
                    vec![gone("vlan20 10.0.20.7"), gone("vlan20 2001:db8:20::7"), gone("vlan20 fe80::7")],
                ),
                kind("fdb", Verdict::Fewer, 4, vec![less("VLAN 20", 312, 340)]),
                Compared { kind: "default-route".into(), verdict: Verdict::Unknown, ..unknown },
                kind("attachment", Verdict::Same, 1, Vec::new()),
            ],
        }
    }

    fn shown(comparison: &Comparison, most: usize, columns: usize) -> String {
        let lines = lines(comparison, most, columns);
        assert!(lines.iter().all(|line| text::width(&line.text) <= columns.max(24)), "{lines:?}");
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn what_is_gone_comes_first_and_what_is_the_same_is_one_line() {
        insta::assert_snapshot!(shown(&comparison(), 2, 80), @r"
         lost    neighbour      vlan20 10.0.20.7                       3 of 9 neighbours
         lost    neighbour      vlan20 2001:db8:20::7
                                and 1 more
         fewer   LAG            uplink: 1 member of 2
         fewer   FDB            VLAN 20: 312 addresses of 340
         unknown default route  it was not recorded
         same    ports, attachments
        ");
    }

    #[test]
    fn comparison_fits_a_narrow_terminal() {
        insta::assert_snapshot!(shown(&comparison(), 1, 44), @r"
         lost    neighbour      vlan20 10.0.20.7
                                and 2 more
         fewer   LAG            uplink: 1 member of~
         fewer   FDB            VLAN 20: 312 addres~
         unknown default route  it was not recorded
         same    ports, attachments
        ");
    }

    #[test]
    fn comparison_that_was_not_made_says_so_and_never_the_same() {
        let of = |progress| Comparison { progress, ..comparison() };
        for progress in [Progress::NotRecorded, Progress::NotLooked] {
            let shown = shown(&of(progress), 5, 80);
            assert!(shown.starts_with(" Not compared"), "{shown}");
        }
        assert_eq!(lines(&of(Progress::NothingWaits), 5, 80), []);
        let nothing = Comparison { kinds: Vec::new(), ..comparison() };
        assert_eq!(shown(&nothing, 5, 80), " Nothing was there before that could be gone.\n");
    }

    #[test]
    fn hostile_names_do_no_harm() {
        let difference = Difference { object: "swp1\x1b[2J\n".into(), before: 1, now: 0 };
        let kinds = vec![Compared {
            kind: "port\x1b".into(),
            verdict: Verdict::Lost,
            objects: 1,
            lost: 1,
            differences: vec![difference],
            ..Compared::default()
        }];
        let shown = shown(&Comparison { kinds, ..comparison() }, 5, 80);
        assert!(!shown.contains('\x1b') && shown.lines().count() == 1, "{shown:?}");
    }
}
