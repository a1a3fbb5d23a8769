//! Documents made to break the reader: what it takes grows no faster than they do, and it never panics.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the helpers of tests may fail loudly, too

use std::time::Duration;

use netd_api::config::{Inventory, MAX_DIAGNOSTICS, MAX_DOCUMENT_BYTES, parse};
use netd_api::diagnostic::Diagnostic;
use nix::time::{ClockId, clock_gettime};
use proptest::prelude::*;

const EVERYTHING: &str = include_str!("config/everything/switch.toml");

/// Four times as much takes four times as long where cost is linear, and 16 times where it is quadratic.
const MOST_GROWTH: u32 = 8;
/// Times below this say nothing of how cost grows.
const NOISE: Duration = Duration::from_millis(20);
/// How often a comparison is made before it counts.
const TRIES: u32 = 5;

fn errors(text: &str) -> Vec<Diagnostic> {
    let errors = parse(text).expect_err("a document made to be refused");
    assert!(!errors.is_empty() && errors.len() <= MAX_DIAGNOSTICS + 1);
    assert!(errors.is_sorted_by_key(|error| (error.line, error.column)));
    errors
}

/// What this thread has taken of the processor.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// The mistakes of the larger of two documents, one four times as long as the other; `document` makes one of so
/// many quarters. The larger must not take much more than four times as long. Other programs only ever make a run
/// longer, so the shortest of several counts, and more are made only while they do not tell.
fn linear_errors(document: impl Fn(usize) -> String) -> Vec<Diagnostic> {
    let (short, long) = (document(1), document(4));
    let (mut quarter, mut whole) = (Duration::MAX, Duration::MAX);
    for _ in 0..TRIES {
        let begun = cpu_time();
        errors(&short);
        let between = cpu_time();
        let errors = errors(&long);
        quarter = quarter.min(between - begun);
        whole = whole.min(cpu_time() - between);
        if whole <= quarter * MOST_GROWTH + NOISE {
            println!("{} bytes {quarter:?}, {} bytes {whole:?}", short.len(), long.len());
            return errors;
        }
    }
    panic!("{} bytes took {quarter:?}, {} bytes {whole:?}", short.len(), long.len());
}

/// A quarter of a document in which all syntax errors are looked for, which is enough to tell linear cost from
/// quadratic.
const QUARTER: usize = 60 * 1024;
/// A quarter of one that is too large for that: of its syntax errors the first is told.
const LARGE_QUARTER: usize = 260 * 1024;

/// As many copies as fit so many bytes.
fn fill(bytes: usize, head: &str, copy: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for index in 0.. {
        let next = copy(index);
        if text.len() + next.len() + tail.len() > bytes {
            break;
        }
        text.push_str(&next);
    }
    text + tail
}

#[test]
fn garbage_beyond_the_limit_is_one_clear_error() {
    let errors = linear_errors(|quarters| "\u{1}garbage = [[[\n".repeat(300_000 * quarters));
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].message,
        "the document has 18000000 bytes beside plain [[routes]] blocks; the limit is 4194304 (4 MiB)"
    );
}

#[test]
fn a_document_beyond_every_limit_is_one_clear_error() {
    let errors = errors(&" ".repeat(MAX_DOCUMENT_BYTES + 1));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "the document has 133169153 bytes; the limit is 133169152 (127 MiB)");
}

#[test]
fn very_many_blocks_that_look_like_routes_are_one_clear_error() {
    for block in [
        "[[routes]]\n",
        "[[routes]]\nprefix = 1\n",
        "[[routes]] #\nvia = [\n",
        "[[routes]]\nprefix=\"\"\nmtu=1\n",
    ] {
        let errors = linear_errors(|quarters| block.repeat(4_500_000 / block.len() * quarters));
        assert_eq!(errors.len(), 1, "{block:?}");
        assert!(errors[0].message.contains("beside plain [[routes]] blocks"), "{}", errors[0]);
    }
}

#[test]
fn of_very_many_wrong_routes_the_first_are_told() {
    let block = "[[routes]]\nprefix = \"10.0.0.1/8\"\nvia = [\"10.0.0.2\"]\n";
    let errors = linear_errors(|quarters| format!("version = 1\n{}", block.repeat(12_500 * quarters)));
    assert_eq!(errors.len(), MAX_DIAGNOSTICS + 1);
    assert!(errors[0].message.contains("bits beyond its prefix length"), "{}", errors[0]);
    assert!(errors[MAX_DIAGNOSTICS].message.contains("more mistakes"));
}

#[test]
fn routes_that_are_all_alike_or_lead_all_to_nowhere_are_no_slower() {
    let alike = "[[routes]]\nprefix=\"10.0.0.0/8\"\nblackhole=true\n";
    linear_errors(|quarters| format!("version = 1\n{}", alike.repeat(12_500 * quarters)));
    let nowhere = |n: usize| {
        let (a, b, c) = (n / 65536, n / 256 % 256, n % 256);
        format!("[[routes]]\nprefix=\"10.{a}.{b}.{c}/32\"\nvia=[\"192.{a}.{b}.{c}\"]\nvrf=\"v{n}\"\n")
    };
    linear_errors(|quarters| {
        format!("version = 1\n{}", (0..12_500 * quarters).map(nowhere).collect::<String>())
    });
}

#[test]
fn ranges_in_lists_do_not_multiply() {
    let group = |n: usize| {
        format!("[[mdb]]\ngroup = \"239.1.{}.{}\"\nvlan = 1\nports = [\"swp[0-1023]\"]\n", n / 256, n % 256)
    };
    linear_errors(|quarters| format!("version = 1\n{}", (0..2000 * quarters).map(group).collect::<String>()));
    let lag = |n: usize| format!("[lags.a{n}]\nmembers = [\"swp[0-1023]\", \"swp[0-1023]\"]\n");
    linear_errors(|quarters| format!("version = 1\n{}", (0..64 * quarters).map(lag).collect::<String>()));
}

#[test]
fn garbage_below_the_limit_is_one_clear_error() {
    for garbage in ["=\n", "[", "]", "\"", "'''", "a=\n", "\u{0}", "{", "é", "a.", "#\u{1}\n"] {
        for quarter in [QUARTER, LARGE_QUARTER] {
            let errors = linear_errors(|quarters| fill(quarters * quarter, "", |_| garbage.to_owned(), ""));
            let clear = ["not valid TOML", "more than 80 levels"];
            assert!(clear.iter().any(|words| errors[0].message.starts_with(words)), "{}", errors[0]);
            assert!(errors.len() == 1 || quarter == QUARTER, "{garbage:?}");
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        linear_errors(|quarters| {
            let depth = 2500 * quarters;
            format!("version = 1\na = {}{}", open.repeat(depth), close.repeat(depth))
        });
    }
    linear_errors(|quarters| format!("version = 1\n[{}a]", "a.".repeat(25_000 * quarters)));
    linear_errors(|quarters| format!("version = 1\n{}a = 1", "a.".repeat(25_000 * quarters)));
    // As deep as brackets and dots go together.
    let keys = ["a"; 79].join(".");
    let tables = format!("{keys} = {{ ").repeat(70);
    errors(&format!("version = 1\n[{keys}]\n{tables}{}", " }".repeat(70)));
}

#[test]
fn brackets_that_nobody_closes_lead_no_deeper_than_others() {
    // Mistakes after which the TOML parser no longer knows how deep it is.
    for level in ["a = { [b]\n", "a = [ { [ }\n", "a = { b = 1, c = { ] } [\n", "a = { [ { ] } ] = [ } ,\n"] {
        for count in [1, 79] {
            errors(&format!("version = 1\n{}", level.repeat(count)));
        }
        let errors = linear_errors(|quarters| format!("version = 1\n{}", level.repeat(2500 * quarters)));
        assert!(errors[0].message.contains("levels"), "{level}: {}", errors[0]);
    }
    // Keys of many parts that are kept over a mistake.
    for mistake in [" = , { ", " ] = { "] {
        let key = |parts: usize| vec!["a"; parts].join(".");
        let levels: String = (1..80).rev().map(|parts| key(parts) + mistake).collect();
        errors(&format!("version = 1\na = {{ {levels}"));
    }
    let told = errors(&format!("version = 1\nnone = 1\n{}", "[vlans.10]\nvlan = {\n".repeat(100)));
    let place = (told[0].line, told[0].column);
    // Three levels of the first header for what stands below it, and this one's own besides.
    assert_eq!(place, (3 + 76 * 2, 7), "{}", told[0]);
    assert!(told[0].message.ends_with("the first bracket that is still open is in line 4"), "{}", told[0]);
}

#[test]
fn a_long_list_of_mistakes_is_cut_short() {
    let errors = linear_errors(|quarters| {
        fill(quarters * QUARTER, "version = 1\n", |index| format!("key{index} = 1\n"), "")
    });
    assert_eq!(errors.len(), MAX_DIAGNOSTICS + 1);
    assert!(errors[MAX_DIAGNOSTICS].message.contains("more mistakes"));
}

#[test]
fn huge_lists_are_refused_in_one_sentence() {
    for (head, copy, tail) in [
        ("version = 1\nports.swp1.vlan.trunk = [", "1,", "]"),
        ("version = 1\nports.swp1.addresses = [", "1,", "]"),
        ("version = 1\nmanagement.ntp = [", "\"a\",", "]"),
        ("version = 1\nneighbours = [", "{},", "]"),
    ] {
        let errors = linear_errors(|quarters| fill(quarters * QUARTER, head, |_| copy.to_owned(), tail));
        assert!(errors.iter().any(|error| error.message.contains("are supported")), "{head}");
    }
    let port = |index| format!("swp{index}={{}}\n");
    let errors = linear_errors(|quarters| fill(quarters * QUARTER, "version = 1\n[ports]\n", port, ""));
    assert!(errors[0].message.contains("at most 1024 are supported"));
}

#[test]
fn many_ranges_do_not_multiply() {
    let port = |index: usize| format!("\"swp[0-1023]s{index}\"={{}}\n");
    let head = "version = 1\n[ports]\n";
    // As many as are read, and more than that.
    linear_errors(|quarters| head.to_owned() + &(0..256 * quarters).map(port).collect::<String>());
    linear_errors(|quarters| fill(quarters * QUARTER, head, port, ""));
    // Each a second time: syntax errors, all of which are looked for.
    linear_errors(|quarters| fill(quarters * QUARTER, head, |index| port(index / 2), ""));
}

#[test]
fn everything_on_one_line_is_no_slower() {
    let trunk = (1..4094).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let port = |index: usize| format!("swp{index}={{vlan={{trunk=[{trunk}],bad=1}}}},");
    // The short line first: on the long one a reader that counts columns from its start takes many minutes to fail.
    for ports in [1, 10] {
        linear_errors(|quarters| {
            format!("version = 1\nports={{{}}}", (0..ports * quarters).map(port).collect::<String>())
        });
    }
}

#[test]
fn many_routes_and_equal_subnets_are_no_slower() {
    let route = |index: usize| {
        let (a, b) = (index / 256 % 256, index % 256);
        format!("[[routes]]\nprefix=\"10.{a}.{b}.0/24\"\nvia=\"192.0.2.9\"\n")
    };
    linear_errors(|quarters| fill(quarters * QUARTER, "version = 1\n", route, ""));
    let port = |index: usize| format!("[ports.swp{index}]\naddresses = [\"10.0.0.1/24\"]\n");
    linear_errors(|quarters| format!("version = 1\n{}", (0..256 * quarters).map(port).collect::<String>()));
}

#[test]
fn long_names_are_not_repeated_whole() {
    let texts: [fn(String) -> String; 5] = [
        |long| format!("version = 1\n{long} = 1"),
        |long| format!("version = 1\n[vrfs.{long}]\ntable = 1"),
        |long| format!("version = 1\n[ports.{long}]"),
        |long| format!("version = 1\n[users.{long}]\nrole = \"{long}\""),
        |long| format!("version = 1\n[ports.swp1]\nmtu = {}", long.replace('x', "9")),
    ];
    for text in texts {
        let errors = linear_errors(|quarters| text("x".repeat(250_000 * quarters)));
        let total: usize = errors.iter().map(|error| error.message.len() + error.path.len()).sum();
        assert!(total < 10_000, "{total} bytes of messages");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,400}") {
        let _ = parse(&text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn words_of_the_language_in_any_order_never_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "version = 1\n", "[ports.swp1]\n", "[ports.\"swp[1-3]\"]\n", "vlan.access = 10\n", "vlan = { trunk = [1, \"2-3\"] }\n",
            "addresses = [\"10.0.0.1/24\"]\n", "[vlans.10]\n", "[[routes]]\n", "prefix = \"10.0.0.0/8\"\n", "via = \"10.0.0.2\"\n",
            "vrf = \"blue\"\n", "[vrfs.blue]\n", "table = 5\n", "[", "]", "=", "\"", "{", "}", "\n", "[[fdb]]\n", "dev = \"swp1\"\n",
            "[lags.a]\n", "members = [\"swp[2-3]\"]\n", "[subinterfaces.\"a.5\"]\n", "[subinterfaces.\"swp1.5\"]\n", "[bridge]\n", "priority = 1\n",
            "[[mdb]]\n", "group = \"239.1.1.1\"\n", "vlan = 10\n", "ports = [\"a\", \"swp1\"]\n", "[[neighbours]]\n", "address = \"10.0.0.2\"\n",
            "mac = \"02:00:00:00:00:01\"\n", "[vxlans.b]\n", "vni = 1\n", "local = \"10.0.0.1\"\n", "remotes = [\"10.0.0.2\"]\n", "[drift]\n",
            "routes = \"report\"\n", "[routing]\n", "ipv4 = false\n", "distance = 255\n", "unreachable = true\n", "breakout = 4\n", "speed = \"10G\"\n",
            "[management]\n", "address = \"10.0.0.9/24\"\n", "gateway = \"10.0.0.1\"\n", "weights = [1]\n", "blackhole = true\n",
        ]), 0..40)
    ) {
        if let Ok(config) = parse(&words.concat()) {
            config.admit(&Inventory::default());
        }
    }

    #[test]
    fn a_damaged_document_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..8)
    ) {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        for (index, byte, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at.max(1)),
            }
        }
        match parse(&String::from_utf8_lossy(&bytes)) {
            Ok(config) => { config.admit(&Inventory::default()); }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}
