//! Alarms: what is wrong, since when, and its end. One condition is one row, one line in the log when it begins and one
//! when it ends, whatever happens in between.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::packet::{Membership, Packet, membership};
use qemu_tests::serial::framed;
use qemu_tests::waiting::pause;
use serde_json::Value;

use super::bridge::mac_of;
use super::console::log_in;
use super::frames::{At, frame};
use super::objects::{changed, with_document};
use super::reach::speak;
use super::routing::on_routed_port;
use crate::lab::{Lab, PASSWORD, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 7] = [
    Scenario::new(
        "a forwarding database that is full is one alarm, over a restart of netd too, until addresses age",
        Topology::Switch,
        full_fdb,
    )
    .waits()
    .takes(60),
    Scenario::new(
        "a port whose hosts have joined all groups they may is an alarm until they leave",
        Topology::Switch,
        full_groups,
    )
    .waits()
    .takes(40),
    Scenario::new(
        "a subnet that a host scans is an alarm until it stops, and so is a full table of ARP",
        Topology::Switch,
        scanned_subnet,
    )
    .waits()
    .takes(75),
    Scenario::new(
        "a full config partition is an alarm, on the first screen and counted on every other",
        Topology::Switch,
        full_partition,
    )
    .takes(25),
    Scenario::new(
        "drift that is only reported is an alarm until it is put right",
        Topology::Switch,
        reported_drift,
    ),
    Scenario::new(
        "a generation whose record cannot be read is an alarm",
        Topology::Switch,
        unreadable_record,
    )
    .takes(15),
    Scenario::new(
        "questions that the control-plane rules have no room to remember are an alarm while they go on",
        Topology::Switch,
        full_questions,
    )
    .waits()
    .takes(130),
];

/// How soon an alarm is to be told: what hosts do is looked at a second later.
const SOON: Duration = Duration::from_secs(20);
/// A table that was full is looked at every ten seconds.
const ENDS: Duration = Duration::from_secs(60);

/// The alarm of a kind and object; `None` when there is none.
pub(super) fn alarm(lab: &Lab, kind: &str, object: &str) -> Result<Option<Value>> {
    let rows = lab.show("alarms")?;
    let same: Vec<&Value> =
        rows.iter().filter(|row| row["kind"] == kind && row["object"] == object).collect();
    ensure!(same.len() <= 1, "one condition is told twice: {rows:?}");
    Ok(same.first().map(|row| (*row).clone()))
}

pub(super) fn wait_for_alarm(lab: &Lab, kind: &str, object: &str) -> Result<Value> {
    eventually(&format!("alarm {kind} of {object}"), SOON, || {
        alarm(lab, kind, object)?.with_context(|| format!("there is {:?}", lab.show("alarms")))
    })
}

pub(super) fn wait_for_end(lab: &Lab, kind: &str, object: &str) -> Result<()> {
    eventually(&format!("end of the alarm {kind} of {object}"), ENDS, || {
        let row = alarm(lab, kind, object)?;
        ensure!(row.is_none(), "there is still {row:?}");
        Ok(())
    })
}

/// When an alarm began, in seconds since 1970.
fn since_s(alarm: &Value) -> Result<u64> {
    alarm["since_s"].as_u64().with_context(|| format!("no time in {alarm}"))
}

/// The guest's time, in seconds since 1970.
fn now_s(lab: &Lab) -> Result<u64> {
    lab.vm.run("date +%s")?.trim().parse().context("date +%s")
}

/// How many lines of netd's log have this text.
fn logged(lab: &Lab, text: &str) -> Result<usize> {
    let lines = lab.vm.run("journalctl -b -u netd.service -o cat --no-pager")?;
    Ok(lines.lines().filter(|line| line.contains(text)).count())
}

/// Frames from so many addresses on swp1.
fn learn(lab: &Lab, count: u32) -> Result<()> {
    let payload = fresh_payload("learn");
    for number in 0..count {
        let [_, _, high, low] = number.to_be_bytes();
        let source = Mac([0x02, 0xa1, 0, 0, high, low]);
        let bytes = frame(source, Mac::of_host(700), None, &payload);
        ensure!(lab.vm.wire(1)?.send(&bytes), "the machine did not take a frame on swp1");
    }
    // Behind them: once this has come out, the bridge has heard them all.
    speak(lab, At(1, None), Mac::of_host(1))
}

/// A bound that no other scenario uses, so that its lines in the log are its own.
const MOST_LEARNED: u32 = 203;

fn full_fdb(lab: &Lab, _: &Run) -> Result<String> {
    let bridge = format!("\n[bridge]\nmost-learned = {MOST_LEARNED}\nageing-time = ");
    let words = format!("addresses learned of {MOST_LEARNED}");
    with_document(lab, &format!("{}{bridge}600\n", lab.document), || {
        ensure!(alarm(lab, "fdb-full", "bridge")?.is_none(), "full before anybody spoke");
        let before_s = now_s(lab)?;
        learn(lab, MOST_LEARNED + 100)?;
        let row = wait_for_alarm(lab, "fdb-full", "bridge")?;
        let (since, after_s) = (since_s(&row)?, now_s(lab)?);
        ensure!((before_s - 1..=after_s + 1).contains(&since), "{row}, between {before_s} and {after_s}");
        ensure!(row["severity"] == "warning" && row["remedy"] == "show fdb", "{row}");
        ensure!(row["text"].as_str().is_some_and(|text| text.contains(&words)), "{row}");
        // Whoever goes on sending says nothing new.
        learn(lab, MOST_LEARNED + 100)?;
        lab.vm.run("systemctl restart netd.service")?;
        lab.wait_for_netd(Duration::from_secs(60))?;
        let again = wait_for_alarm(lab, "fdb-full", "bridge")?;
        ensure!(since_s(&again)?.abs_diff(since) <= 1, "a restart made {row} young: {again}");
        let lines = logged(lab, &words)?;
        ensure!(lines == 1, "{lines} lines in the log");
        let shown = lab.vm.run("corten show alarms")?;
        ensure!(shown.starts_with("SEV ") && shown.contains("show fdb"), "{shown}");
        // With a shorter ageing time they go by themselves.
        lab.apply_ok(&format!("{}{bridge}10\n", lab.document))?;
        wait_for_end(lab, "fdb-full", "bridge")?;
        let lines = logged(lab, &words)?;
        ensure!(lines == 2, "{lines} lines in the log for a begin and an end");
        Ok(())
    })
}

/// Groups that hosts behind one port may join.
const MOST_GROUPS: u8 = 5;

fn full_groups(lab: &Lab, _: &Run) -> Result<String> {
    let document = format!("{}\n[bridge]\nquerier = true\nmost-groups = {MOST_GROUPS}\n", lab.document);
    let says = |what: Membership| -> Result<()> {
        for number in 1..=MOST_GROUPS + 3 {
            let group = IpAddr::from([239, 77, 0, number]);
            let bytes = membership(Mac::of_host(1), "10.0.10.101".parse()?, group, what)?.build();
            ensure!(lab.vm.wire(1)?.send(&bytes), "the machine did not take a frame on swp1");
        }
        speak(lab, At(1, None), Mac::of_host(1))
    };
    with_document(lab, &document, || {
        says(Membership::Join)?;
        let row = wait_for_alarm(lab, "groups-full", "swp1")?;
        let words = format!("{MOST_GROUPS} groups joined of {MOST_GROUPS}");
        ensure!(row["text"].as_str().is_some_and(|text| text.contains(&words)), "{row}");
        ensure!(row["remedy"] == "show mdb swp1", "{row}");
        says(Membership::Leave)?;
        wait_for_end(lab, "groups-full", "swp1")
    })
}

/// Addresses a host asks for that nobody has: more than the alarm takes.
const SCANNED: u32 = 4000;
/// Entries the table of ARP takes meanwhile.
const MOST_NEIGHBOURS: u32 = 2048;

/// The lab's document with a large subnet on swp7, of whose hosts there is none.
fn with_large_subnet(lab: &Lab) -> Result<String> {
    changed(lab, "\"10.0.7.1/24\", ", "\"10.0.7.1/24\", \"10.200.0.1/16\", ")
}

/// Has a host on swp8 send something to so many of them.
fn scan_from(lab: &Lab, switch: Mac, count: u32) -> Result<()> {
    for number in 0..count {
        let target = Ipv4Addr::from(0x0ac8_0100 + number);
        let packet = Packet::udp("10.0.8.2".parse()?, target.into()).payload("who is there");
        let bytes = packet.frame(Mac::of_host(8), switch)?.build();
        ensure!(lab.vm.wire(8)?.send(&bytes), "the machine did not take a frame on swp8");
    }
    Ok(())
}

fn scanned_subnet(lab: &Lab, _: &Run) -> Result<String> {
    let document = with_large_subnet(lab)?;
    with_document(lab, &document, || {
        let switch = mac_of(lab, "swp8")?;
        let scan = |count| scan_from(lab, switch, count);
        // As many as a monitoring program may ask for are no scan.
        scan(200)?;
        eventually("the switch asks for a small subnet", SOON, || {
            let rows = lab.show("neighbours")?;
            let asked = rows.iter().filter(|row| row["device"] == "swp7" && row["mac"].is_null()).count();
            ensure!(asked >= 100, "{asked} addresses");
            Ok(())
        })?;
        ensure!(alarm(lab, "subnet-scanned", "swp7")?.is_none(), "a few addresses are an alarm");
        // Who was known before stays known, however many others are asked for.
        let host = on_routed_port(lab, 7, None)?;
        host.ping_all_answered("10.0.7.1".parse()?, 1)?;
        scan(SCANNED)?;
        let row = wait_for_alarm(lab, "subnet-scanned", "swp7")?;
        let rows = lab.show("neighbours")?;
        let known = rows.iter().any(|row| row["address"] == "10.0.7.2" && !row["mac"].is_null());
        ensure!(
            known && host.ping("10.0.7.1".parse()?, 1, SOON)?.received == 1,
            "it is not reached any more"
        );
        lab.apply_ok(&format!("{document}\n[routing]\nmost-neighbours = {MOST_NEIGHBOURS}\n"))?;
        scan(SCANNED)?;
        let full = wait_for_alarm(lab, "neighbours-full", "ARP table")?;
        let text = full["text"].as_str().unwrap_or_default();
        ensure!(text.contains(&format!("of {MOST_NEIGHBOURS}")), "{full}");
        lab.apply_ok(&document)?;
        ensure!(full["remedy"] == "show neighbours" && full["severity"] == "critical", "{full}");
        ensure!(row["remedy"] == "show neighbours swp7" && row["severity"] == "warning", "{row}");
        eventually("end of the scan", Duration::from_secs(90), || {
            let row = alarm(lab, "subnet-scanned", "swp7")?;
            ensure!(row.is_none(), "there is still {row:?}");
            Ok(())
        })?;
        wait_for_end(lab, "neighbours-full", "ARP table")
    })
}

/// A file that fills the partition of the configuration.
const FILLER: &str = "/var/lib/corten/corten-test.filler";

fn full_partition(lab: &Lab, _: &Run) -> Result<String> {
    ensure!(alarm(lab, "storage-full", "config")?.is_none(), "it is full already");
    let outcome = tell_of_full_partition(lab);
    lab.vm.run(&format!("rm -f {FILLER}"))?;
    outcome?;
    wait_for_end(lab, "storage-full", "config")?;
    // Nothing is left of it: a change is taken again.
    lab.apply_ok(&lab.document)?;
    Ok(String::new())
}

fn tell_of_full_partition(lab: &Lab) -> Result<()> {
    // It ends when there is no room left, which is what is wanted.
    lab.vm.sh(&format!("dd if=/dev/zero of={FILLER} bs=64k 2>/dev/null; sync"))?;
    let row = wait_for_alarm(lab, "storage-full", "config")?;
    ensure!(row["severity"] == "critical", "{row}");
    let serial = log_in(lab, PASSWORD)?;
    let first = serial.wait_for_screen("the first screen", SOON, |screen| {
        screen.contains("[0 Now]") && screen.contains("MiB left")
    })?;
    ensure!(first.contains("! 1 alarm "), "its head does not count:\n{}", framed(&first));
    ensure!(
        first.lines().any(|line| line.trim_start().starts_with("crit") && line.contains("config")),
        "the alarm is not on it:\n{}",
        framed(&first)
    );
    ensure!(first.contains("the last changes"), "{}", framed(&first));
    for (key, name) in [("1", "[1 Ports]"), ("2", "[2 VLANs]"), ("9", "[9 Log]")] {
        serial.send(key)?;
        let shown = serial.wait_for_screen(name, SOON, |screen| screen.contains(name))?;
        ensure!(shown.contains("! 1 alarm "), "the head does not count:\n{}", framed(&shown));
    }
    serial.send("q")?;
    serial.wait_for("login: ", SOON).context("q leaves the console").map(drop)
}

fn reported_drift(lab: &Lab, _: &Run) -> Result<String> {
    let document = format!("{}\n[drift]\nports = \"report\"\n", lab.document);
    with_document(lab, &document, || {
        let before = lab.port("swp1")?["mtu_bytes"].as_u64().context("an MTU")?;
        lab.vm.run("/usr/bin/ip link set swp1 mtu 1400")?;
        let row = wait_for_alarm(lab, "drift", "swp1")?;
        ensure!(
            row["text"].as_str().is_some_and(|text| text.contains(&format!("set mtu {before}"))),
            "it does not say what is right: {row}"
        );
        lab.vm.run(&format!("/usr/bin/ip link set swp1 mtu {before}"))?;
        wait_for_end(lab, "drift", "swp1")
    })
}

fn unreadable_record(lab: &Lab, _: &Run) -> Result<String> {
    // Two changes, so that there is a generation that neither runs nor is the startup one.
    lab.apply_ok(&changed(lab, "description = \"trunk\"", "description = \"trunks\"")?)?;
    lab.apply_ok(&lab.document)?;
    let rows: Vec<Value> = serde_json::from_str(&lab.vm.run("corten history --json")?)?;
    let past = rows.iter().find(|row| row["state"] == "confirmed").context("no past generation")?;
    let number = past["generation"].as_u64().context("no number")?;
    let (record, object) =
        (format!("/var/lib/corten/netd/generations/{number}.json"), format!("generation {number}"));
    let restart = || -> Result<()> {
        lab.vm.run("systemctl restart netd.service")?;
        lab.wait_for_netd(Duration::from_secs(60))
    };
    lab.vm.run(&format!("cp {record} /run/corten-test.record && echo broken >{record}"))?;
    let outcome = restart().and_then(|()| wait_for_alarm(lab, "record-unreadable", &object));
    lab.vm.run(&format!("cp /run/corten-test.record {record}"))?;
    restart()?;
    let row = outcome?;
    ensure!(row["remedy"] == format!("config {number}"), "{row}");
    wait_for_end(lab, "record-unreadable", &object)?;
    Ok(String::new())
}

/// Fills the set of questions, which takes 64, with those of nobody, whatever it holds; then the switch asks one more.
const ASK_ONE_TOO_MANY: &str = "\
awk 'BEGIN {
  print \"flush set inet corten asked4_main\"
  print \"add element inet corten asked4_main {\"
  for (port = 1; port <= 63; port++) printf \"192.0.2.1 . 17 . 53 . %d,\\n\", port
  print \"192.0.2.2 . 17 . 53 . 1 }\"
}' >/run/corten-test.nft
nft -f /run/corten-test.nft; filled=$?; rm /run/corten-test.nft
timeout 2 nslookup example.org 10.0.8.2 >/dev/null 2>&1
exit $filled
";

fn full_questions(lab: &Lab, _: &Run) -> Result<String> {
    // Questions are counted when alarms are asked for, once a minute at most.
    let a_look = Duration::from_secs(61);
    let document = format!("{}\n[control-plane]\nmost-questions = 64\n", lab.document);
    with_document(lab, &document, || {
        ensure!(alarm(lab, "questions-full", "control-plane")?.is_none(), "full before anybody asked");
        lab.vm.run_within(ASK_ONE_TOO_MANY, Duration::from_secs(30))?;
        pause(a_look);
        let row = eventually("alarm of questions", SOON, || {
            alarm(lab, "questions-full", "control-plane")?.context("there is none")
        })?;
        ensure!(row["severity"] == "critical" && row["remedy"] == "log", "{row}");
        pause(a_look);
        eventually("end of the alarm of questions", SOON, || {
            let row = alarm(lab, "questions-full", "control-plane")?;
            ensure!(row.is_none(), "there is still {row:?}");
            Ok(())
        })
    })
}
