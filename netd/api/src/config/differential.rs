//! The quick way for plain routes against the tree's: documents of all sorts read both ways.

use proptest::prelude::*;
use proptest::sample::select;

use super::plain_routes::split;
use super::reader::MAX_KEPT;
use super::{Limits, parse_whole, parse_within};

const HEAD: &str = "version = 1
[ports.swp1]
addresses = [\"10.0.0.1/24\", \"10.0.0.129/25\", \"2001:db8::1/64\"]
[ports.swp2]
vrf = \"blue\"
addresses = [\"10.0.0.1/24\"]
[vrfs.blue]
table = 1001
";

const TAIL: &str = "[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\"]\n";

/// Reads a document both ways, as a small one and as a large one, and compares all that can be seen.
fn compare(text: &str) -> Result<(), TestCaseError> {
    compare_within(text, usize::MAX)?;
    compare_within(text, 0)
}

fn compare_within(text: &str, recovery_bytes: usize) -> Result<(), TestCaseError> {
    let limits = Limits { tree_bytes: usize::MAX, recovery_bytes };
    prop_assert_eq!(parse_within(text, &limits), parse_whole(text, &limits), "{}", text);
    Ok(())
}

fn taken_out(text: &str) -> usize {
    split(text, usize::MAX).unwrap().map_or(0, |split| split.plain.routes.len())
}

fn plain(count: usize) -> String {
    let block = |n: usize| {
        format!(
            "[[routes]]\nprefix = \"10.{}.{}.0/24\"\nvia = [\"10.0.0.{}\"]\n",
            n / 256,
            n % 256,
            2 + n % 50
        )
    };
    (256..256 + count).map(block).collect()
}

#[test]
fn plain_blocks_in_a_row_are_taken_out_but_for_the_first_and_the_last() {
    let text = format!("{HEAD}{}{TAIL}{}", plain(10), plain(4).replace("10.1.", "10.9."));
    assert_eq!(taken_out(&text), 10);
    let config = parse_within(&text, &Limits::default()).unwrap();
    assert_eq!(config.routes.len(), 14);
    compare(&text).unwrap();
    for spelled in [
        text.replace('\n', "\r\n"),
        text.replace("\nvia", "\nmetric = 5 # why\n\tvia"),
        text.replace("\nvia", "\ndistance = 255\nweights=[7]\nvia"),
        text.replace("via = [", "dev = \"swp1\"\n\n# all of it\nvia = [ "),
    ] {
        assert_eq!(taken_out(&spelled), 10, "{spelled}");
        compare(&spelled).unwrap();
    }
}

#[test]
fn blocks_inside_a_text_or_an_array_are_no_routes() {
    for (open, close) in [
        ("[ports.swp3]\ndescription = \"\"\"\n", "\"\"\"\n"),
        ("[ports.swp3]\ndescription = '''\n", "'''\n"),
        ("[ports.swp3]\naddresses = [\n", "]\n"),
        ("[ports.swp3]\nvlan = {\n", "}\n"),
        ("[[routes]]\nprefix = '''\n", "'''\n"),
        ("routes = 1\n", ""),
        ("[routes]\n", ""),
        ("[routes.x]\n", ""),
        ("", "[routes.x]\n"),
        ("", "[[routes.x]]\n"),
        ("", "[routes]\n"),
        ("", "prefix = 1\n"),
        ("", "  weights = [1]\n"),
    ] {
        compare(&format!("{HEAD}{open}{}{close}{TAIL}", plain(5))).unwrap();
        compare(&format!("{open}{}{close}{HEAD}", plain(5))).unwrap();
    }
}

#[test]
fn mistakes_in_blocks_that_were_taken_out_are_told_at_their_places() {
    for (right, wrong) in [
        ("10.0.0.8\"]", "10.0.0.1\"]"),
        ("10.0.0.8\"]", "10.0.0.9\",  \"10.0.1.9\"]"),
        ("[\"10.0.0.8\"]", "\"10.0.1.9\""),
        ("[\"10.0.0.8\"]", "[\"10.0.0.8\"]\n\t vrf =  \"bleu\""),
        ("[\"10.0.0.8\"]", "[\"10.0.0.8\"]\n\n# é\ndev =\"swp9\""),
        ("10.1.6.0/24", "10.1.5.0/24"),
        ("10.1.6.0/24", "10.1.5.1/24"),
    ] {
        let text = format!("{HEAD}{}{TAIL}", plain(12)).replace(right, wrong);
        assert!(taken_out(&text) >= 9, "{text}");
        assert!(parse_within(&text, &Limits::default()).is_err());
        compare(&text).unwrap();
    }
}

#[test]
fn of_very_many_mistakes_the_same_are_told() {
    let limits = Limits { tree_bytes: usize::MAX, recovery_bytes: usize::MAX };
    for (right, wrong) in [(".0/24", ".9/24"), ("\"10.0.0.", "\"10.0.9.")] {
        let text = format!("{HEAD}{}{TAIL}{}", plain(MAX_KEPT + 300).replace(right, wrong), plain(9));
        let (quick, whole) = (parse_within(&text, &limits), parse_whole(&text, &limits));
        assert_eq!(quick.unwrap_err(), whole.unwrap_err());
    }
}

/// What may stand for a prefix: good, bad, and unusual.
const PREFIXES: [&str; 19] = [
    "\"10.1.0.0/16\"",
    "\"2001:db8:1::/48\"",
    "\"10.2.0.0/16\"",
    "\"10.3.0.0/16\"",
    "\"10.4.4.0/24\"",
    "\"0.0.0.0/0\"",
    "\"::/0\"",
    "\"10.1.0.1/16\"",
    "\"224.0.0.0/4\"",
    "\"10.1.0.0/016\"",
    "\"x\"",
    "\"\"",
    "'10.6.0.0/16'",
    "\"10.7.0.0\\u002f16\"",
    "\"\"\"10.8.0.0/16\"\"\"",
    "1",
    "\"10.9.0.0/16",
    "\"10.9.0.0/16\" # é",
    "\"::ffff:10.0.0.0/104\"",
];

/// What may stand beside it.
const LINES: [&str; 68] = [
    "",
    "via = [\"10.0.0.2\"]",
    "via = [\"10.0.0.3\", \"10.0.0.2\"]",
    "via = \"10.0.0.2\"",
    "via = [\"2001:db8::2\"]",
    "via = \"2001:db8::2\"",
    "via=[\"10.0.0.1\"]",
    "via = [\"10.9.9.9\" , \"10.0.0.200\",]",
    "via = []",
    "via = [\n\"10.0.0.2\"]",
    "via = [\"10.0.0.2\", \"10.0.0.2\"]",
    "via = [\"10.0.0.2\", \"2001:db8::2\"]",
    "via = [\"127.0.0.1\"]",
    "via = [\"10.0.0.\\u0032\"]",
    "via = \"fe80::1\"",
    "via = [\"10.0.0.2/24\"]",
    "via = ['10.0.0.2']",
    "via = [1]",
    "via = [\"10.0.0.2\" # x\n]",
    "dev = \"swp1\"",
    "dev = \"swp2\"",
    "dev = \"swp9\"",
    "dev = \"swp\\u0031\"",
    "dev = \"\"",
    "dev = \"\u{85}\"",
    "dev = \"\t\"",
    "dev = \"a name that is far longer than anything an interface may be called, or anybody would want\"",
    "dev = \"é\"",
    "dev = 1",
    "vrf = \"blue\"",
    "vrf = \"bl\\u0075e\"",
    "vrf = \"bleu\"",
    "vrf = \"swp1\"",
    "vrf = \"\"",
    "metric = 0",
    "metric = 7",
    "metric = 4294967295",
    "metric = 4294967296",
    "metric = 07",
    "metric = 0x10",
    "metric = 1_000",
    "metric = -1",
    "metric = \"1\"",
    "distance = 1",
    "distance = 255",
    "distance = 256",
    "distance = 0",
    "blackhole = true",
    "blackhole = false",
    "unreachable = true",
    "unreachable = 1",
    "weights = [1]",
    "weights = [3, 256]",
    "weights = [0]",
    "weights = [257]",
    "weights = []",
    "weights = 1",
    "# a comment",
    "# \u{1}",
    "mtu = 1",
    "\"via\" = \"10.0.0.2\"",
    "via.x = 1",
    "prefix = \"10.1.0.0/16\"",
    "  \t",
    "=",
    "via = \"10.0.0.2\" x",
    "metric = 1 # é\u{85}",
    " [routes.x]",
];

#[test]
fn every_line_is_read_as_the_tree_reads_it() {
    let (before, after) = (plain(3), plain(6).split_off(plain(3).len()));
    let check = |prefix: &str, lines: &[&str]| {
        let lines = lines.join("\n");
        let block = format!("[[routes]]\nprefix = {prefix}\n{lines}\n");
        compare_within(&format!("{HEAD}{before}{block}{after}{TAIL}"), 0).unwrap();
    };
    for prefix in PREFIXES {
        LINES.iter().for_each(|line| check(prefix, &[line]));
    }
    for (index, one) in LINES.iter().enumerate() {
        for other in &LINES[index..] {
            check(PREFIXES[0], &[one, other]);
        }
    }
    let many: Vec<String> = (0..257).map(|n| format!("\"10.0.0.{}\"", n % 256)).collect();
    check(PREFIXES[0], &[&format!("via = [{}]", many.join(","))]);
    check(PREFIXES[0], &[&format!("via = [{}]", many[2..129].join(","))]);
}

/// What documents are made of: blocks that are plain, almost plain, and wrong, and other things between them.
fn piece() -> impl Strategy<Value = String> {
    let (prefix, line) = (select(&PREFIXES[..]), select(&LINES[..]));
    let header = prop_oneof![
        30 => Just("[[routes]]"),
        1 => select(vec!["[[routes]] # x", " [[routes]]", "[[ routes ]]", "[[\"routes\"]]", "[routes]", "[[routes.x]]", "[routes.x]", "[[routes]"]),
    ];
    let plain_line = select(vec![
        "via = [\"10.0.0.2\"]",
        "via = [\"10.0.0.2\"]",
        "via = [\"10.0.0.3\", \"10.0.0.2\"]",
        "via = [\"10.0.0.4\"]\nmetric = 3",
        "blackhole = true",
        "dev = \"swp2\"\nvrf = \"blue\"",
        "via = [\"10.0.0.2\"]\nvrf = \"blue\"",
    ]);
    let plain_block = (0..2000_u32, plain_line)
        .prop_map(|(n, line)| format!("[[routes]]\nprefix = \"10.{}.{}.0/24\"\n{line}\n", n / 250, n % 250));
    let block = (
        header,
        prefix,
        prop::collection::vec(line, 0..4),
        any::<bool>(),
        select(vec!["\n", "\n", "\r\n", "\n\n"]),
    )
        .prop_map(|(header, prefix, mut lines, first, end)| {
            let prefix = format!("prefix = {prefix}");
            lines.insert(if first { 0 } else { lines.len() / 2 }, &prefix);
            lines.insert(0, header);
            lines.iter().map(|line| format!("{line}{end}")).collect::<String>()
        });
    let other = select(vec![
        "[vlans.10]\n",
        "[[fdb]]\n",
        "# between\n",
        "\n",
        "description = \"\"\"\n",
        "\"\"\"\n",
        "'''\n",
        "addresses = [\n",
        "]\n",
        "garbage\n",
        "[broken\n",
        "[ports.swp3]\nmtu = 1\n",
        "routes = 1\n",
        "\u{feff}",
        "[drift]\nroutes = \"report\"\n",
        "\r",
        "é",
    ]);
    prop_oneof![
        24 => plain_block,
        4 => block,
        1 => other.prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_can_tell_which_way_a_block_was_read(
        pieces in prop::collection::vec(piece(), 0..24),
        at in 0..3_u8,
    ) {
        let middle = pieces.concat();
        let text = match at {
            0 => format!("{HEAD}{middle}{TAIL}"),
            1 => format!("{HEAD}{middle}"),
            _ => format!("{middle}{HEAD}"),
        };
        compare(&text)?;
    }

    #[test]
    fn nobody_can_tell_in_a_damaged_document_either(
        edits in prop::collection::vec((any::<prop::sample::Index>(), select(vec!["", "\"", "[", "]", "\n", "#", "=", "\\", "'", "\r", "{", " ", "[[routes]]\n", "\"\"\""])), 1..5)
    ) {
        let mut text = format!("{HEAD}{}{TAIL}", plain(12));
        for (index, new) in edits {
            let at = index.index(text.len());
            text.replace_range(at..=at, new);
        }
        compare(&text)?;
    }
}
