//! The program itself, one command at a time, against a stand-in for netd on a private bus.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::process::{Output, Stdio};

use netd_api::comparison::{Compared, Comparison, Difference, Progress, Verdict};
use netd_api::state::{Discard, FdbEntry, Pending};
use support::{Bus, CORTEN, Failure, Netd, Vanishes, switch};
use tokio::io::AsyncWriteExt;

const VALID: &str = "version = 1\n\n[ports.swp1]\nvlan.access = 10\n";
const THREE_MISTAKES: &str =
    "version = 1\n\n[ports.swp1]\nmtuu = 9216\nvlan.access = 4095\n\n[vlans.0]\nname = \"x\"\n";

/// Runs `corten` with a text on its standard input.
async fn corten_with(address: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = tokio::process::Command::new(CORTEN)
        .args(arguments)
        .env("DBUS_SYSTEM_BUS_ADDRESS", address)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input closes it early.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

async fn corten(bus: &Bus, arguments: &[&str]) -> Output {
    corten_with(&bus.address, arguments, "").await
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn file(bus: &Bus, name: &str, text: &str) -> String {
    let path = bus.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn tables_are_shown_plain_in_a_pipe() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().ports[1].description = "evil \x1b[2J".into();
    let ports = corten(&bus, &["show", "ports"]).await;
    assert_eq!(code(&ports), Some(0), "{}", err(&ports));
    insta::assert_snapshot!(out(&ports), @r"
    PORT  STATE  SPEED   MTU  VLAN        RX    TX  ERRORS  DROPS  HW        DESCRIPTION
    swp1  up/up    10G  1500  10/20-30  1.0M  2.0k       0      0  software  server 1
    swp2  up/up    10G  1500  10/20-30  1.0M  2.0k       0      0  software  evil [2J
    ");
    for table in ["vlans", "lags", "interfaces", "vxlans", "vrfs", "routes", "neighbours", "fdb", "system"] {
        let shown = corten(&bus, &["show", table]).await;
        assert_eq!(code(&shown), Some(0), "{table}: {}", err(&shown));
        assert!(!out(&shown).contains('\x1b'), "{table}");
    }
    assert!(out(&corten(&bus, &["show", "routes"]).await).contains("offloaded"));
    assert!(out(&corten(&bus, &["show", "ports", "swp1"]).await).contains("Untagged VLAN: 10"));
}

#[tokio::test]
async fn discards_are_shown_of_ports_that_are_named_and_null_where_nobody_counts() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    // A netd of before tells of none.
    assert!(!out(&corten(&bus, &["show", "ports", "swp1"]).await).contains("DISCARDED"));
    let row = |port: &str, reason: &str, frames: Option<u64>| Discard {
        port: port.to_owned(),
        direction: "in".to_owned(),
        reason: reason.to_owned(),
        frames,
        counted_by: frames.map(|_| "kernel".to_owned()),
    };
    netd.switch.lock().discards =
        vec![row("swp1", "vlan", None), row("swp1", "other", Some(0)), row("swp2", "other", Some(3))];
    let shown = out(&corten(&bus, &["show", "ports", "swp1"]).await);
    let lines: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("DISCARDED")).collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[1].contains("VLAN not on the port") && lines[1].contains("not counted"), "{shown}");
    assert!(lines[2].split_whitespace().any(|word| word == "0") && lines[2].ends_with("kernel"), "{shown}");
    let json = out(&corten(&bus, &["show", "ports", "swp[1-2]", "--json"]).await);
    let ports: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(ports[0]["name"], "swp1");
    assert_eq!(ports[1]["discards"][0]["frames"], 3);
    assert!(ports[0]["discards"][0]["frames"].is_null(), "{json}");
    assert_eq!(ports[0]["discards"][1]["frames"], 0);
    // Nobody is asked for all ports at once.
    netd.switch.lock().queries.clear();
    assert!(!out(&corten(&bus, &["show", "ports", "--json"]).await).contains("discards"));
    assert!(netd.switch.lock().queries.is_empty());
}

#[tokio::test]
async fn json_has_the_field_names_of_the_state_model() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let shown = corten(&bus, &["show", "ports", "--json"]).await;
    let ports: Vec<netd_api::state::Port> = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(ports, switch().ports);
    let values: serde_json::Value = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(values[0]["counters"]["rx_bytes"], 1_000_000);
    let shown = corten(&bus, &["show", "routes", "--protocol", "bgp", "--json"]).await;
    assert_eq!((code(&shown), out(&shown).as_str()), (Some(0), "[]\n"), "{}", err(&shown));
    let config = corten(&bus, &["config", "--json"]).await;
    let config: serde_json::Value = serde_json::from_str(&out(&config)).unwrap();
    assert_eq!(
        (config["generation"].as_u64(), config["document"].as_str()),
        (Some(7), Some("version = 1\n"))
    );
}

#[tokio::test]
async fn interfaces_as_json_are_as_netd_tells_them() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let port = {
        let mut switch = netd.switch.lock();
        switch.ports[0].description = String::new();
        switch.ports[0].lag = "uplink".into();
        switch.ports[0].wanted_up = false;
        switch.ports[0].clone()
    };
    let shown = corten(&bus, &["show", "interfaces", "swp1", "lo0", "--json"]).await;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(rows[0], serde_json::to_value(&port).unwrap());
    assert_eq!(rows[1], serde_json::to_value(&switch().interfaces[0]).unwrap());
    assert!(out(&corten(&bus, &["show", "interfaces", "swp1"]).await).contains("[uplink]"));
}

#[tokio::test]
async fn long_tables_are_read_to_the_end() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let row = netd.switch.lock().fdb[0].clone();
    netd.switch.lock().fdb = (0..20_001)
        .map(|n| FdbEntry { mac: format!("02:00:5e:00:{:02x}:{:02x}", n >> 8, n & 0xff), ..row.clone() })
        .collect();
    let shown = corten(&bus, &["show", "fdb", "--json"]).await;
    let rows: Vec<FdbEntry> = serde_json::from_str(&out(&shown)).unwrap();
    assert!(rows == netd.switch.lock().fdb, "{} rows, first {:?}", rows.len(), rows.first());
    let shown = corten(&bus, &["show", "fdb"]).await;
    assert_eq!(out(&shown).lines().count(), 20_002);
    netd.switch.lock().fdb = switch().fdb;
    netd.switch.lock().queries.clear();
    let one = corten(&bus, &["show", "fdb", "--port", "swp1", "--vlan", "10", "02:00:5E:00:53:0A"]).await;
    assert_eq!(out(&one).lines().count(), 2);
    // Only what was asked for travels.
    let (_, filter) = netd.switch.lock().queries.pop().unwrap();
    assert_eq!(filter.macs, Some(vec!["02:00:5e:00:53:0a".to_owned()]));
    assert_eq!((filter.vlan_id, filter.interfaces), (Some(10), Some(vec!["swp1".to_owned()])));
}

#[tokio::test]
async fn names_that_do_not_exist_are_refused_with_a_suggestion() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let shown = corten(&bus, &["show", "ports", "spw1"]).await;
    assert_eq!(code(&shown), Some(1));
    assert_eq!(err(&shown), "corten: no port spw1; did you mean swp1?\n");
}

#[tokio::test]
async fn filters_that_name_nothing_are_refused_not_answered_with_an_empty_table() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    for (line, words) in [
        ("show routes --vrf red", "no VRF red"),
        ("show neighbours --vrf red", "no VRF red"),
        ("show fdb --port swp99", "no port swp99"),
        ("show neighbours --port swp99", "no port swp99"),
        ("show fdb --vlan 99", "no VLAN 99"),
        ("show vlans 11-20", "no VLAN 11-20"),
        ("show routes --protocol opsf", "no protocol opsf: there are redirect, kernel"),
        ("show ports lo0", "lo0 is no port but a loopback: see `show interfaces lo0`"),
    ] {
        let shown = corten(&bus, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((code(&shown), out(&shown).as_str()), (Some(1), ""), "{line}");
        assert!(err(&shown).contains(words), "{line}: {}", err(&shown));
    }
    for line in ["show routes --vrf blue", "show routes --vrf default", "show fdb --port vx10"] {
        let shown = corten(&bus, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(code(&shown), Some(0), "{line}: {}", err(&shown));
    }
}

#[tokio::test]
async fn names_are_taken_as_the_tables_write_them_and_words_may_be_short() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    for (line, rows) in [
        ("show ports swp[1-2]", 2),
        ("show ports swp1,SWP2", 2),
        ("sh po swp*", 2),
        ("show fdb 0200.5e00.5301 02-00-5E-00-53-02", 2),
        ("show vlan 5-15", 1),
        ("show route 192.0.2.1", 1),
        ("show int vx*", 1),
        ("show interfaces", 6),
    ] {
        let shown = corten(&bus, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(out(&shown).lines().count(), rows + 1, "{line}: {}{}", out(&shown), err(&shown));
    }
    netd.switch.lock().fdb[0].kind = "local".into();
    let shown = corten(&bus, &["show", "fdb"]).await;
    assert_eq!(out(&shown).lines().count(), 10);
    assert_eq!(err(&shown), "1 of the switch itself (local) not shown: --all\n");
    let shown = corten(&bus, &["show", "fdb", "--json"]).await;
    let entries: Vec<netd_api::state::FdbEntry> = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!((entries.len(), err(&shown).as_str()), (10, ""));
    assert_eq!(out(&corten(&bus, &["show", "fdb", "--all"]).await).lines().count(), 11);
    let short = corten(&bus, &["rollb"]).await;
    assert_eq!((code(&short), netd.switch.lock().generation), (Some(2), 7), "{}", err(&short));
}

#[tokio::test]
async fn lags_tell_their_partner_and_tunnels_their_network() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let lags = out(&corten(&bus, &["show", "lags"]).await);
    assert!(lags.contains("no partner") && lags.contains("hears nobody"), "{lags}");
    assert!(lags.ends_with("\nswp2: hears no LACP partner\n"), "{lags}");
    let tunnels = out(&corten(&bus, &["show", "vxlans"]).await);
    assert!(tunnels.contains("10010") && tunnels.contains("192.0.2.2"), "{tunnels}");
    let vrfs = out(&corten(&bus, &["show", "vrfs"]).await);
    assert!(vrfs.contains("1001") && vrfs.contains("vlan10"), "{vrfs}");
    let rows: serde_json::Value =
        serde_json::from_str(&out(&corten(&bus, &["show", "lags", "--json"]).await)).unwrap();
    assert_eq!(
        (&rows[0]["partner"], &rows[0]["members"][0]["port"]),
        (&serde_json::Value::Null, &"swp2".into())
    );
    assert_eq!(rows[0]["members"][0]["reason"], "hears no LACP partner");
}

#[tokio::test]
async fn the_login_shell_runs_a_command_and_nothing_else() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let shown = corten(&bus, &["-c", "show ports 'swp1' --json"]).await;
    let ports: Vec<netd_api::state::Port> = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(ports.len(), 1);
    for line in ["/bin/sh", "scp -t /tmp", "show ports; id", "internal-sftp"] {
        let refused = corten(&bus, &["-c", line]).await;
        assert_eq!((code(&refused), out(&refused).as_str()), (Some(2), ""), "{line}");
    }
}

#[tokio::test]
async fn check_shows_every_mistake_at_its_place_and_exits_1() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let path = file(&bus, "switch.toml", THREE_MISTAKES);
    let checked = corten(&bus, &["check", &path]).await;
    assert_eq!(code(&checked), Some(1));
    let shown = err(&checked);
    for place in [":4:", ":5:", ":7:"] {
        assert!(shown.contains(&format!("{path}{place}")), "{shown}");
    }
    assert!(shown.contains("  mtuu = 9216\n  ^\n"), "{shown}");
    assert!(shown.ends_with("3 mistakes\n"), "{shown}");
    let as_json = corten(&bus, &["check", "--json", &path]).await;
    let mistakes: Vec<netd_api::diagnostic::Diagnostic> = serde_json::from_str(&out(&as_json)).unwrap();
    assert_eq!((mistakes.len(), code(&as_json)), (3, Some(1)));
    assert_eq!(netd.switch.lock().generation, 7);
}

#[tokio::test]
async fn check_asks_this_switch_when_it_can() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let path = file(&bus, "switch.toml", VALID);
    let checked = corten(&bus, &["check", &path]).await;
    assert_eq!((code(&checked), out(&checked)), (Some(0), format!("{path}: valid\n")), "{}", err(&checked));
    netd.switch.lock().refuses = Some("swp1".into());
    let checked = corten(&bus, &["check", &path]).await;
    assert_eq!(code(&checked), Some(1));
    assert!(err(&checked).contains("no such port on this switch"), "{}", err(&checked));
    drop(netd);
    let checked = corten(&bus, &["check", &path]).await;
    assert_eq!(code(&checked), Some(0));
    assert!(err(&checked).contains("not against this switch: netd is not reachable"), "{}", err(&checked));
}

#[tokio::test]
async fn apply_reads_standard_input_and_answers_the_generation() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let applied = corten_with(&bus.address, &["-c", "apply -"], VALID).await;
    assert_eq!(code(&applied), Some(0), "{}", err(&applied));
    let warning = "Warning: VLAN 10 is new and has no section: swp1.\n";
    assert_eq!(out(&applied), format!("stdin: applied as generation 8\n{warning}"));
    assert_eq!(netd.switch.lock().document, VALID);
    assert_eq!(out(&corten(&bus, &["config"]).await), VALID);
}

#[tokio::test]
async fn apply_refuses_mistakes_and_applies_nothing() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    for (input, text) in [(THREE_MISTAKES, "3 mistakes"), ("\u{0}garbage", "stdin:1:"), ("", "mistake")] {
        let refused = corten_with(&bus.address, &["apply", "-"], input).await;
        assert_eq!((code(&refused), out(&refused).as_str()), (Some(1), ""), "{input}");
        assert!(
            err(&refused).contains(text) && err(&refused).ends_with("Nothing was applied.\n"),
            "{}",
            err(&refused)
        );
    }
    let refused = corten(&bus, &["apply", "/nonexistent"]).await;
    assert_eq!(code(&refused), Some(1));
    assert_eq!(netd.switch.lock().generation, 7);
}

#[tokio::test]
async fn apply_tells_what_netd_refused() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let apply = async |failure: Option<Failure>, arguments: &[&str]| {
        netd.switch.lock().apply_fails = failure;
        let arguments = [&["apply", "-"], arguments].concat();
        let applied = corten_with(&bus.address, &arguments, VALID).await;
        (code(&applied), err(&applied))
    };
    let (status, text) = apply(Some(Failure::Denied("user vera".into())), &[]).await;
    assert!(status == Some(1) && text.contains("needs the role admin"), "{text}");
    let (status, text) = apply(Some(Failure::Refused("swp1: Operation not supported".into())), &[]).await;
    assert!(status == Some(1) && text.contains("swp1: Operation not supported"), "{text}");
    let (status, text) = apply(Some(Failure::Invalid("4:1: ports.swp1.vlan: gone".into())), &[]).await;
    assert!(status == Some(1) && text.contains("stdin:4:1: ports.swp1.vlan: gone\n  vlan.access"), "{text}");
    let (status, text) = apply(None, &["--base", "3"]).await;
    assert!(status == Some(1) && text.contains("generation 7 is running"), "{text}");
    assert_eq!(netd.switch.lock().generation, 7);
    assert_eq!(apply(None, &["--force"]).await.0, Some(0));
    assert_eq!(apply(None, &["--base", "8"]).await.0, Some(0));
}

#[tokio::test]
async fn diff_shows_steps_and_lines_and_applies_nothing() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let shown = corten_with(&bus.address, &["diff", "-"], VALID).await;
    assert_eq!(code(&shown), Some(0), "{}", err(&shown));
    insta::assert_snapshot!(out(&shown), @r"
    Warning: VLAN 10 is new and has no section: swp1.
    1 step on the network:
      swp1: set mtu 9216
    --- generation 7
    +++ stdin
    @@ -1 +1,4 @@
     version = 1
    +
    +[ports.swp1]
    +vlan.access = 10
    ");
    let shown = corten_with(&bus.address, &["diff", "-", "--json"], VALID).await;
    let difference: serde_json::Value = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(
        (&difference["generation"], &difference["steps"][0]),
        (&7.into(), &"swp1: set mtu 9216".into())
    );
    assert!(difference["document"].as_str().unwrap().contains("+vlan.access = 10"));
    let same = corten_with(&bus.address, &["diff", "-"], "version = 1\n").await;
    assert_eq!(out(&same), "The network stays as it is.\nstdin: the document of generation 7\n");
    let wrong = corten_with(&bus.address, &["diff", "-"], THREE_MISTAKES).await;
    assert_eq!((code(&wrong), out(&wrong).as_str()), (Some(1), ""));
    assert!(err(&wrong).ends_with("3 mistakes\n"));
    netd.switch.lock().refuses = Some("swp1".into());
    assert_eq!(code(&corten_with(&bus.address, &["diff", "-"], VALID).await), Some(1));
    assert_eq!(netd.switch.lock().generation, 7);
}

#[tokio::test]
async fn a_change_that_waits_says_until_when_and_how_to_confirm() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let arguments = ["apply", "-", "--confirm", "2m", "--comment", "new uplink"];
    let applied = corten_with(&bus.address, &arguments, VALID).await;
    assert_eq!(code(&applied), Some(0), "{}", err(&applied));
    let text = out(&applied);
    assert!(text.starts_with("stdin: applied as generation 8\n"), "{text}");
    assert!(text.contains("\nIt is taken back at "), "{text}");
    assert!(text.contains(", in 2 min unless you confirm it: `corten confirm`.\n"), "{text}");
    assert!(text.contains("`corten take-back` takes it back at once.\nWhat was there before"), "{text}");
    assert_eq!(netd.switch.lock().options.comment.as_deref(), Some("new uplink"));
    let system = out(&corten(&bus, &["show", "system"]).await);
    assert!(system.contains("unconfirmed, to be confirmed by ana until "), "{system}");
    let confirmed = corten(&bus, &["confirm"]).await;
    assert_eq!(out(&confirmed), "Generation 8 is confirmed: the switch starts with it.\n");
    let nothing = corten(&bus, &["confirm"]).await;
    assert_eq!(
        (code(&nothing), err(&nothing).as_str()),
        (Some(1), "corten: nothing waits for a confirmation\n")
    );
    netd.switch.lock().apply_fails = Some(Failure::Locked("locked by bo since 12:00".into()));
    let locked = corten(&bus, &["rollback", "3"]).await;
    assert_eq!(code(&locked), Some(1));
    assert_eq!(err(&locked), "corten: locked by bo since 12:00\nNothing was changed.\n");
    for wrong in
        [&["apply", "-", "--confirm", "soon"][..], &["apply", "-", "--confirm", "0"], &["rollback", "0"]]
    {
        assert_eq!(code(&corten(&bus, wrong).await), Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn rollback_is_compared_and_waits_for_its_confirmation_as_any_change() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    corten_with(&bus.address, &["apply", "-"], VALID).await;
    // The one before, by its number or by how far back, is the same.
    for target in [&["rollback", "7"][..], &["rollback", "-1"], &["rollback"]] {
        let back = corten(&bus, target).await;
        assert_eq!(code(&back), Some(0), "{target:?}: {}", err(&back));
        let text = out(&back);
        let running = netd.switch.lock().generation;
        assert!(text.contains("-[ports.swp1]\n"), "no comparison: {text}");
        let said = format!("Applied as generation {running}: the document of generation 7 again.\n");
        assert!(text.contains(&said) && text.contains("unless you confirm it: `corten confirm`"), "{text}");
        assert_eq!(netd.switch.lock().document, "version = 1\n");
        let back = corten(&bus, &["take-back"]).await;
        assert_eq!(out(&back), format!("Generation {running} is taken back: generation 8 runs again.\n"));
        assert_eq!(netd.switch.lock().document, VALID);
        netd.switch.lock().taken_back = 0;
    }
    let good = corten(&bus, &["rollback", "3", "--no-confirm", "--comment", "why"]).await;
    assert!(out(&good).ends_with("the document of generation 3 again.\n"), "{}", out(&good));
    assert_eq!(netd.switch.lock().options.comment.as_deref(), Some("why"));
    {
        let switch = netd.switch.lock();
        assert_eq!((switch.document.as_str(), switch.confirm_by_s), (support::OLD, 0));
    }
    let far = corten(&bus, &["rollback", "-9"]).await;
    assert!(err(&far).contains("9 back is too far: generation 7 is the oldest"), "{}", err(&far));
    assert!(err(&corten(&bus, &["rollback", "99"]).await).contains("there is no generation 99"));
}

#[tokio::test]
async fn taking_back_is_not_going_back() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let nothing = corten(&bus, &["take-back"]).await;
    assert_eq!(code(&nothing), Some(1));
    assert_eq!(err(&nothing), "corten: nothing waits for a confirmation\nGeneration 7 runs, confirmed.\n");
    corten_with(&bus.address, &["apply", "-", "--confirm", "2m"], VALID).await;
    // While one waits, going back to the one before is taking it back.
    let back = corten(&bus, &["rollback"]).await;
    assert_eq!(out(&back), "Generation 8 is taken back: generation 7 runs again.\n", "{}", err(&back));
    corten_with(&bus.address, &["apply", "-", "--confirm", "2m"], VALID).await;
    netd.switch.lock().take_back();
    for command in ["rollback", "take-back", "confirm"] {
        let late = corten(&bus, &[command]).await;
        assert_eq!((code(&late), netd.switch.lock().generation), (Some(1), 7), "{command}");
        assert!(
            err(&late).contains("generation 9 was taken back already")
                || err(&late).contains(
                    "Generation 9 was taken back already (not confirmed in time): generation 7 runs."
                ),
            "{command}: {}",
            err(&late)
        );
    }
    let late = corten(&bus, &["rollback"]).await;
    assert!(
        err(&late).ends_with("Do you want to go further back? `corten rollback -1` does.\n"),
        "{}",
        err(&late)
    );
}

#[tokio::test]
async fn what_waits_is_shown_with_its_time_and_its_changes() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let nothing = corten(&bus, &["show", "pending"]).await;
    assert_eq!((code(&nothing), out(&nothing).as_str()), (Some(0), "Nothing waits for its confirmation.\n"));
    assert_eq!(out(&corten(&bus, &["show", "pending", "--json"]).await), "null\n");
    corten_with(&bus.address, &["apply", "-", "--confirm", "2m", "--comment", "new uplink"], VALID).await;
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(shown.starts_with("Generation 8 by ana is in force, not confirmed: "), "{shown}");
    assert!(shown.contains(": 2:00 left") || shown.contains(": 1:5"), "{shown}");
    for words in [
        "Comment: new uplink\n",
        "generation 7 runs again.\n",
        "+[ports.swp1]\n",
        "`corten confirm` keeps it",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&out(&corten(&bus, &["show", "pending", "--json"]).await)).unwrap();
    assert_eq!((&json["generation"], &json["previous"]), (&8.into(), &7.into()));
    assert!(json["left_s"].as_u64().is_some_and(|left| (100..=120).contains(&left)), "{json}");
    netd.switch.lock().take_back();
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(shown.contains("Generation 8 was taken back already (not confirmed in time)"), "{shown}");
}

/// A comparison in which a neighbour is gone and addresses are fewer.
fn comparison() -> Comparison {
    let row = |object: &str, now, before| Difference { object: object.into(), before, now };
    let kind = |kind: &str, verdict, objects, [lost, fewer]: [u64; 2], differences| Compared {
        kind: kind.into(),
        verdict,
        objects,
        lost,
        fewer,
        differences,
        reason: String::new(),
    };
    Comparison {
        progress: Progress::Compared,
        looks: 9,
        age_ms: 1200,
        kinds: vec![
            kind("port", Verdict::Same, 2, [0, 0], Vec::new()),
            kind("neighbour", Verdict::Lost, 9, [1, 0], vec![row("vlan10 10.0.10.7", 0, 1)]),
            kind("fdb", Verdict::Fewer, 2, [0, 1], vec![row("VLAN 10", 312, 340)]),
            kind("attachment", Verdict::Same, 0, [0, 0], Vec::new()),
        ],
        ..Comparison::default()
    }
}

const COMPARED: &str = "\
What was there before the change, looked at 1s ago:
 lost    neighbour      vlan10 10.0.10.7                       1 of 9 neighbours
 fewer   FDB            VLAN 10: 312 addresses of 340
 same    ports
";

#[tokio::test]
async fn what_a_change_cost_is_told_when_it_is_applied_and_while_it_waits() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().comparison = comparison();
    // What is missing has half of so short a time to come back.
    let applied = out(&corten_with(&bus.address, &["apply", "-", "--confirm", "2"], VALID).await);
    assert!(
        applied.ends_with(&format!("`corten take-back` takes it back at once.\n{COMPARED}")),
        "{applied}"
    );
    netd.switch.lock().confirm_by_s = support::now_s() + 600;
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(shown.contains(COMPARED), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&out(&corten(&bus, &["show", "pending", "--json"]).await)).unwrap();
    let row = &json["comparison"]["kinds"][1];
    assert_eq!((&row["kind"], &row["verdict"]), (&"neighbour".into(), &"lost".into()));
    assert_eq!(row["differences"][0]["object"], "vlan10 10.0.10.7");
    // A record that is lost is told, never taken for the same.
    netd.switch.lock().comparison = Comparison { progress: Progress::NotRecorded, ..Comparison::default() };
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(shown.contains("Not compared: what was there before the change is not recorded."), "{shown}");
}

#[tokio::test]
async fn pending_is_told_after_an_apply_and_later() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let row = |object: &str, lag: &str, reason: &str, changed: bool| Pending {
        object: object.into(),
        kind: if lag.is_empty() { "front-panel" } else { "lag-member" }.into(),
        lag: lag.into(),
        reason: reason.into(),
        changed,
    };
    // Nothing is pending, and nothing is said of it.
    let applied = out(&corten_with(&bus.address, &["apply", "-"], VALID).await);
    assert!(
        applied.starts_with("stdin: applied as generation 8\n") && !applied.contains("Pending"),
        "{applied}"
    );
    netd.switch.lock().pending = vec![
        row("swp1", "", "no carrier", true),
        row("swp2", "uplink", "hears no LACP partner", true),
        row("swp3", "", "no carrier", false),
    ];
    const PENDING: &str = "Pending, as others than the switch decide it:\n  swp1  no carrier\n  swp2  in uplink: hears no LACP partner\n";
    const MORE: &str =
        "1 interface that the last change was not about waits as well: show ports, show lags\n";
    let applied = out(&corten_with(&bus.address, &["apply", "-"], "version = 1 # other\n").await);
    assert_eq!(applied, format!("stdin: applied as generation 9\n{PENDING}"));
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert_eq!(shown, format!("Nothing waits for its confirmation.\n{PENDING}{MORE}"));
    let json = async || -> serde_json::Value {
        serde_json::from_str(&out(&corten(&bus, &["show", "pending", "--json"]).await)).unwrap()
    };
    let told = json().await;
    assert_eq!((&told["generation"], &told["confirm_by_s"]), (&9.into(), &serde_json::Value::Null));
    assert_eq!(told["pending"][1]["reason"], "hears no LACP partner");
    assert_eq!(
        (&told["pending"][1]["lag"], &told["pending"][0]["lag"]),
        (&"uplink".into(), &serde_json::Value::Null)
    );
    assert_eq!(told["pending"].as_array().map(Vec::len), Some(3), "all of them");
    // A change to be confirmed tells both.
    let arguments = ["apply", "-", "--confirm", "10m"];
    let applied = out(&corten_with(&bus.address, &arguments, VALID).await);
    assert!(applied.contains("unless you confirm it") && applied.ends_with(PENDING), "{applied}");
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(shown.contains(&format!("{PENDING}{MORE}")), "{shown}");
    assert_eq!(json().await["pending"][2]["object"], "swp3");
    corten(&bus, &["confirm"]).await;
    let back = out(&corten(&bus, &["rollback", "3", "--no-confirm"]).await);
    assert!(back.ends_with(PENDING), "{back}");
}

#[tokio::test]
async fn change_that_confirms_itself_says_so_and_needs_a_time() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let refused = corten_with(&bus.address, &["apply", "-", "--if-same"], VALID).await;
    assert_eq!((code(&refused), netd.switch.lock().generation), (Some(2), 7));
    assert!(err(&refused).contains("--confirm <TIME>"), "{}", err(&refused));
    let arguments = ["apply", "-", "--confirm", "2m", "--if-same"];
    let applied = out(&corten_with(&bus.address, &arguments, VALID).await);
    assert_eq!(netd.switch.lock().options.if_same, Some(true));
    let words = ", in 2 min if nothing is lost then, else it is taken back; `corten confirm` keeps it now.\n";
    assert!(applied.contains("It confirms itself at ") && applied.contains(words), "{applied}");
    let shown = out(&corten(&bus, &["show", "pending"]).await);
    assert!(
        shown.contains("It confirms itself then if nothing is lost. Else generation 7 runs again."),
        "{shown}"
    );
    corten(&bus, &["confirm"]).await;
    assert_eq!(code(&corten(&bus, &["rollback", "3", "--no-confirm", "--if-same"]).await), Some(2));
    let back = out(&corten(&bus, &["rollback", "3", "--if-same"]).await);
    let options = netd.switch.lock().options.clone();
    assert_eq!((options.if_same, options.confirm_timeout_s), (Some(true), Some(120)), "{back}");
}

#[tokio::test]
async fn generations_are_compared_with_what_runs_and_with_each_other() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    corten_with(&bus.address, &["apply", "-"], VALID).await;
    let shown = out(&corten(&bus, &["diff", "-1"]).await);
    assert!(
        shown.contains("--- generation 8\n+++ generation 7\n") && shown.contains("-[ports.swp1]"),
        "{shown}"
    );
    assert!(shown.contains("1 step on the network"), "{shown}");
    let shown = out(&corten(&bus, &["diff", "3", "8"]).await);
    assert!(shown.starts_with("--- generation 3\n+++ generation 8\n"), "{shown}");
    let same = out(&corten(&bus, &["diff", "8", "8"]).await);
    assert_eq!(same, "Generations 8 and 8 have the same document.\n");
    assert_eq!(code(&corten(&bus, &["diff", "switch.toml", "8"]).await), Some(2));
}

/// A change of the management port, which ends sessions over it.
const MOVED: &str = "version = 1\n[management]\nvrf = \"mgmt\"\n";

#[tokio::test]
async fn change_that_cuts_the_session_is_warned_of_and_waits_by_itself() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let document = file(&bus, "switch.toml", MOVED);
    let over_ssh = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(CORTEN);
        command.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
        command.env("SSH_CONNECTION", "192.0.2.9 50122 192.0.2.5 22").output().await.unwrap()
    };
    let words = "Warning: this SSH session comes in over mgmt0 and may end: mgmt0 moves to VRF mgmt.";
    let shown = over_ssh(&["diff", &document]).await;
    assert!(out(&shown).starts_with(words), "{}", out(&shown));
    let applied = out(&over_ssh(&["apply", &document]).await);
    assert!(applied.contains(words) && applied.contains("--no-confirm applies for good"), "{applied}");
    assert!(applied.contains("in 2 min unless you confirm it"), "{applied}");
    assert!(netd.switch.lock().confirm_by_s > 0);
    netd.switch.lock().take_back();
    let applied = out(&over_ssh(&["apply", &document, "--no-confirm"]).await);
    assert!(applied.contains(words) && !applied.contains("unless you confirm"), "{applied}");
    assert_eq!(netd.switch.lock().confirm_by_s, 0);
    // At the console of the switch nothing is cut.
    netd.switch.lock().document = "version = 1\n".into();
    let applied = out(&corten(&bus, &["apply", &document]).await);
    assert!(!applied.contains("session") && netd.switch.lock().confirm_by_s == 0, "{applied}");
}

#[tokio::test]
async fn client_that_waited_too_long_learns_what_became_of_the_change() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().apply_takes = std::time::Duration::from_secs(3);
    let applied = corten_with(&bus.address, &["apply", "-", "--timeout", "1s"], VALID).await;
    assert_eq!(code(&applied), Some(0), "{}", err(&applied));
    assert!(out(&applied).starts_with("stdin: applied as generation 8\n"), "{}", out(&applied));
    assert!(err(&applied).contains("netd is still making the change, after "), "{}", err(&applied));
    netd.switch.lock().apply_fails = Some(Failure::Refused("swp1: Operation not supported".into()));
    let refused =
        corten_with(&bus.address, &["apply", "-", "--timeout", "1s"], "version = 1 # other\n").await;
    assert_eq!(code(&refused), Some(1));
    assert!(
        err(&refused).ends_with("and the change was not applied: generation 8 runs.\nNothing was applied.\n"),
        "{}",
        err(&refused)
    );
}

#[tokio::test]
async fn check_warns_of_what_is_probably_a_slip() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let text = "version = 1\n[ports.swp1]\nvlan.access = 230\n[ports.swp2]\nvlan.access = 20\n\
                [vlans.20]\nname = \"a\"\n[vlans.30]\naddresses = [\"10.0.30.1/24\"]\n";
    let path = file(&bus, "switch.toml", text);
    let checked = corten(&bus, &["check", &path]).await;
    assert_eq!((code(&checked), out(&checked)), (Some(0), format!("{path}: valid\n")));
    for warning in [
        ":3:1: warning: ports.swp1.vlan: VLAN 230 has no section, and swp1 is its only port; did you mean 30?\n",
        ":8:8: warning: vlans.30: VLAN 30 has an address, and no port carries it\n",
    ] {
        assert!(err(&checked).contains(&format!("{path}{warning}")), "{}", err(&checked));
    }
}

#[tokio::test]
async fn entries_of_a_port_are_found_without_an_option() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().fdb[0].port = "swp2".into();
    for (line, rows) in [("show fdb swp2", 1), ("show fdb swp1", 9), ("show neighbours vlan10", 1)] {
        let shown = corten(&bus, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(out(&shown).lines().count(), rows + 1, "{line}: {}{}", out(&shown), err(&shown));
    }
    let wrong = corten(&bus, &["show", "fdb", "swp99"]).await;
    assert!(err(&wrong).contains("no port swp99"), "{}", err(&wrong));
}

#[tokio::test]
async fn address_that_the_asic_tells_without_a_vlan_is_one_row_of_its_vlan() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let known = netd.switch.lock().fdb[0].clone();
    let told =
        FdbEntry { vlan_id: 0, kind: "external".into(), hardware: "offloaded".into(), ..known.clone() };
    let other = FdbEntry { mac: "02:00:5e:00:53:50".into(), ..told.clone() };
    netd.switch.lock().fdb = vec![told, other, FdbEntry { hardware: "software".into(), ..known }];
    for (line, rows) in [("show fdb", 2), ("show fdb --vlan 10", 1), ("show fdb 02:00:5e:00:53:50", 1)] {
        let shown = out(&corten(&bus, &line.split(' ').collect::<Vec<_>>()).await);
        assert_eq!(shown.lines().skip(1).filter(|row| row.contains("offloaded")).count(), rows, "{shown}");
        assert_eq!(shown.lines().count(), rows + 1, "{line}: {shown}");
    }
    let json: Vec<FdbEntry> =
        serde_json::from_str(&out(&corten(&bus, &["show", "fdb", "--json"]).await)).unwrap();
    assert_eq!(json.len(), 3);
}

#[tokio::test]
async fn address_is_pinged_and_traced() {
    let bus = Bus::start("");
    let traced = corten(&bus, &["traceroute", "127.0.0.1"]).await;
    assert_eq!(code(&traced), Some(0), "{}", err(&traced));
    assert!(out(&traced).starts_with("  1  127.0.0.1  "), "{}", out(&traced));
    let nowhere = corten(&bus, &["ping", "127.0.0.1", "--vrf", "novrf"]).await;
    assert_eq!(code(&nowhere), Some(1));
    assert!(err(&nowhere).starts_with("corten: 127.0.0.1: "), "{}", err(&nowhere));
    assert_eq!(code(&corten(&bus, &["ping", "localhost"]).await), Some(2));
}

#[tokio::test]
async fn whoever_would_be_locked_out_is_refused_unless_it_is_forced() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    netd.switch.lock().document = format!("version = 1\n[users.ana]\nrole = \"admin\"\nkeys = [\"{key}\"]\n");
    let as_ana = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(CORTEN);
        // No document locks root out.
        if nix::unistd::geteuid().is_root() {
            command.uid(65534);
        }
        command.args(arguments);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address).env("USER", "ana");
        command.output().await.unwrap()
    };
    let document = file(&bus, "switch.toml", VALID);
    let refused = as_ana(&["apply", &document]).await;
    assert!(err(&refused).contains("no administrator could log in any more.\nApply it with --confirm"));
    let refused = as_ana(&["rollback", "3", "--no-confirm"]).await;
    assert_eq!((code(&refused), netd.switch.lock().generation), (Some(1), 7));
    let words = "generation 3: no administrator could log in any more.\nGo back to it with a time";
    assert!(err(&refused).starts_with(words), "{}", err(&refused));
    // With a time to confirm it in it may run, but no command confirms it.
    for waits in [&["apply", &document, "--confirm", "2m"][..], &["rollback", "3"]] {
        let applied = as_ana(waits).await;
        assert!(
            out(&applied).contains("Warning: no administrator could log in any more."),
            "{}",
            err(&applied)
        );
        let running = netd.switch.lock().generation;
        let refused = as_ana(&["confirm"]).await;
        let words = format!(
            "corten: generation {running} is not confirmed: no administrator could log in any more.\n"
        );
        assert!(code(&refused) == Some(1) && err(&refused).starts_with(&words), "{}", err(&refused));
        assert!(netd.switch.lock().confirm_by_s > 0);
        assert_eq!(code(&as_ana(&["take-back"]).await), Some(0));
    }
    as_ana(&["apply", &document, "--confirm", "2m"]).await;
    let done = as_ana(&["confirm", "--force"]).await;
    assert_eq!(code(&done), Some(0), "{}", err(&done));
    assert_eq!(netd.switch.lock().options.force, Some(true));
}

#[tokio::test]
async fn the_key_of_an_ssh_session_goes_with_its_changes() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let told = file(&bus, "auth", &format!("publickey {key}\n"));
    let output = tokio::process::Command::new(CORTEN)
        .args(["rollback", "3", "--no-confirm"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .env("SSH_USER_AUTH", told)
        .output()
        .await
        .unwrap();
    assert_eq!(code(&output), Some(0), "{}", err(&output));
    let fingerprint = netd.switch.lock().options.key_fingerprint.clone();
    assert_eq!(fingerprint.as_deref(), Some("SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA"));
}

#[tokio::test]
async fn the_history_and_past_documents_are_shown() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let shown = out(&corten(&bus, &["history"]).await);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("GEN  TIME"), "{shown}");
    assert!(lines[1].starts_with("  7  2023-11-1") && lines[1].contains("ana   running"), "{shown}");
    assert!(lines[2].contains("rolled-back") && lines[2].contains("not confirmed in time"), "{shown}");
    let rows: Vec<netd_api::generation::Generation> =
        serde_json::from_str(&out(&corten(&bus, &["history", "--json"]).await)).unwrap();
    assert_eq!((rows.len(), rows[0].generation), (2, 7));
    assert_eq!(out(&corten(&bus, &["config", "3"]).await), "version = 1 # of old\n");
    let missing = corten(&bus, &["config", "4"]).await;
    assert_eq!((code(&missing), err(&missing).as_str()), (Some(1), "corten: there is no generation 4\n"));
}

#[tokio::test]
async fn events_are_printed_as_they_come() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let shown = corten(&bus, &["events", "--json", "--watch", "swp1", "--watch", "swp2\u{9b}"]).await;
    let text = out(&shown);
    let events: Vec<netd_api::events::Event> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event.object.as_str()).collect::<Vec<_>>(), ["swp1", "swp2\u{9b}"]);
    assert!(!text.contains('\u{9b}'), "{text}");
    // It goes on until netd is gone.
    assert_eq!(code(&shown), Some(3));
    assert!(err(&shown).contains("ended the stream of events"), "{}", err(&shown));
    let one = corten(&bus, &["events", "--count", "1", "--watch", "swp1", "--watch", "swp2"]).await;
    assert_eq!((code(&one), out(&one).lines().count()), (Some(0), 1), "{}", err(&one));
    assert!(out(&one).contains("  link-down            swp1  poll\n"), "{}", out(&one));
}

#[tokio::test]
async fn alarms_are_shown_as_a_table_and_as_json() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let none = corten(&bus, &["show", "alarms"]).await;
    assert_eq!((code(&none), out(&none).as_str()), (Some(0), "No alarms.\n"));
    assert_eq!(out(&corten(&bus, &["show", "alarms", "--json"]).await), "[]\n");
    netd.switch.lock().alarms = vec![support::alarm("swp2", 200_000), support::alarm("evil\x1b[2J", 7)];
    let shown = corten(&bus, &["sh", "alarms"]).await;
    assert_eq!(code(&shown), Some(0), "that something is wrong is no failure of the command");
    let text = out(&shown);
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (&row[..4], &row[row.len() - 3..]),
        (&["warn", "2d", "swp2", "1024"][..], &["show", "mdb", "swp2"][..])
    );
    assert!(text.contains("evil[2J") && text.starts_with("SEV "), "{text}");
    let json = out(&corten(&bus, &["show", "alarms", "--json"]).await);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&rows[0]["kind"], &rows[0]["severity"]), (&"groups-full".into(), &"warning".into()));
    assert_eq!(rows[0]["remedy"], "show mdb swp2");
}

#[tokio::test]
async fn alarms_are_watched_until_their_reader_goes_and_said_again_only_when_they_change() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().alarms = vec![support::alarm("swp1", 7)];
    let mut child = tokio::process::Command::new(CORTEN)
        .args(["show", "alarms", "--watch", "1s", "--json"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let limit = std::time::Duration::from_secs(30);
    let first = tokio::time::timeout(limit, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(first.starts_with("[{") && first.contains("swp1"), "{first}");
    // Meanwhile it is asked for more than once.
    let asked = || netd.switch.lock().queries.iter().filter(|(table, _)| table == "alarms").count();
    while asked() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    netd.switch.lock().alarms.clear();
    let second = tokio::time::timeout(limit, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(second, "[]");
    drop(lines);
    let ended = tokio::time::timeout(limit, child.wait()).await.expect("it ends with its reader").unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn what_is_wrong_with_the_switch_is_shown() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().problems = vec!["not undone: swp1: set mtu 9000\x1b[2J".into()];
    let system = out(&corten(&bus, &["show", "system"]).await);
    assert!(
        system.contains("degraded") && system.ends_with("not undone: swp1: set mtu 9000[2J\n"),
        "{system}"
    );
    let system: serde_json::Value =
        serde_json::from_str(&out(&corten(&bus, &["show", "system", "--json"]).await)).unwrap();
    assert_eq!((&system["state"], &system["generation"]), (&"degraded".into(), &7.into()));
}

#[tokio::test]
async fn a_call_the_bus_refuses_is_explained() {
    let bus = Bus::start(r#"<deny send_interface="org.corten.Netd1.Config1" send_member="Apply"/>"#);
    let netd = Netd::start(&bus, switch()).await;
    let refused = corten_with(&bus.address, &["apply", "-"], VALID).await;
    assert_eq!(code(&refused), Some(1));
    assert!(err(&refused).contains("needs the role admin"), "{}", err(&refused));
    assert_eq!(netd.switch.lock().generation, 7);
}

#[tokio::test]
async fn without_netd_the_status_is_3() {
    let bus = Bus::start("");
    for arguments in [&["show", "ports"][..], &["config"], &["show", "system", "--json"]] {
        let shown = corten(&bus, arguments).await;
        assert_eq!((code(&shown), out(&shown).as_str()), (Some(3), ""), "{arguments:?}");
        assert_eq!(err(&shown), "corten: netd is not reachable: it is not running\n");
    }
    let shown = corten_with("unix:path=/nonexistent/socket", &["show", "ports"], "").await;
    assert_eq!(code(&shown), Some(3));
    let applied = corten_with(&bus.address, &["apply", "-"], VALID).await;
    assert_eq!(code(&applied), Some(3));
}

#[tokio::test]
async fn wrong_usage_is_status_2() {
    let bus = Bus::start("");
    for arguments in [&["shwo"][..], &["show"], &["show", "vlans", "0"], &["apply"], &[]] {
        let refused = corten(&bus, arguments).await;
        assert_eq!((code(&refused), out(&refused).as_str()), (Some(2), ""), "{arguments:?}");
    }
    assert_eq!(code(&corten(&bus, &["--version"]).await), Some(0));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let many = netd.switch.lock().ports[0].clone();
    netd.switch.lock().ports = vec![many; 20_000];
    let mut child = tokio::process::Command::new(CORTEN)
        .args(["show", "ports", "--json"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (Some(0), ""));
}

#[tokio::test]
async fn following_a_quiet_log_ends_with_its_reader() {
    let mut child = tokio::process::Command::new(CORTEN)
        .args(["log", "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), child.wait_with_output()).await;
    let ended = ended.expect("it ends when nobody reads it any more").unwrap();
    // Without a journal it would end by itself.
    assert_eq!((code(&ended), err(&ended).as_str()), (Some(0), ""));
}

#[tokio::test]
async fn the_manual_page_is_printed() {
    let bus = Bus::start("");
    let page = corten(&bus, &["man"]).await;
    assert!(out(&page).contains(".SH EXIT STATUS"));
    // The others are where the image has them; here they are known at least.
    for name in ["switch.toml", "netd", "containerd-shim-corten-v1"] {
        assert_ne!(code(&corten(&bus, &["man", name]).await), Some(2), "{name}");
    }
    let help = out(&corten(&bus, &["man", "--help"]).await);
    assert!(help.contains("netd, the network daemon"), "{help}");
}

#[tokio::test]
async fn apply_that_got_no_answer_tells_what_became_of_the_change() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().vanishes = Some(Vanishes::After);
    let applied = corten_with(&bus.address, &["apply", "-"], VALID).await;
    assert_eq!(code(&applied), Some(0), "{}", err(&applied));
    assert!(out(&applied).contains("applied as generation 8"), "{}", out(&applied));
    netd.switch.lock().vanishes = Some(Vanishes::Before);
    let other = format!("{VALID}# more\n");
    let lost = corten_with(&bus.address, &["apply", "-"], &other).await;
    assert_eq!(code(&lost), Some(1));
    assert!(err(&lost).contains("the change was not applied: generation 8 runs"), "{}", err(&lost));
    netd.switch.lock().vanishes = Some(Vanishes::Before);
    let lost = corten(&bus, &["rollback", "7", "--force"]).await;
    assert_eq!(code(&lost), Some(1), "{}", out(&lost));
    assert!(err(&lost).contains("the change was not applied: generation 8 runs"), "{}", err(&lost));
    netd.switch.lock().vanishes = Some(Vanishes::After);
    let gone = corten(&bus, &["rollback", "7", "--force"]).await;
    assert!(out(&gone).contains("Applied as generation 9"), "{} {}", out(&gone), err(&gone));
}
