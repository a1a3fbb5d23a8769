//! Wrong documents: every mistake at its place, and nothing changed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "three mistakes give three errors at line and column, and nothing changes",
        Topology::Switch,
        three_mistakes,
    )
    .takes(16),
    Scenario::new(
        "each kind of bad document gets a clear error, and nothing changes",
        Topology::Switch,
        bad_documents,
    ),
    Scenario::new("ten megabytes of garbage are refused, and nothing changes", Topology::Switch, garbage)
        .takes(23),
];

/// Where `needle` stands in the document: line and column from 1.
fn place(document: &str, needle: &str) -> Result<(usize, usize)> {
    let offset = document.find(needle).with_context(|| format!("the document lacks {needle:?}"))?;
    let before = &document[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Ok((line, column))
}

fn three_mistakes(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab
        .document
        .replacen("vlan.access = 20", "vlan.access = 4095", 1)
        .replacen("description = \"native\"", "descripton = \"native\"", 1)
        .replacen("[\"10.0.20.1/24\"", "[\"10.0.20.1/33\"", 1);
    let places = ["4095", "descripton", "\"10.0.20.1/33\""]
        .map(|needle| place(&document, needle))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let before = lab.visible_state()?;
    lab.write_file("/run/three.toml", &document)?;
    for command in ["corten check", "corten apply"] {
        let output = lab.vm.sh(&format!("{command} /run/three.toml"))?;
        ensure!(output.status == 1, "`{command}` exited with {}: {}", output.status, output.text);
        let headlines = output.text.lines().filter(|line| line.starts_with("/run/three.toml:"));
        let errors: Vec<&str> = headlines.filter(|line| !line.ends_with("mistakes")).collect();
        ensure!(
            errors.len() == 3,
            "`{command}` gave {} errors instead of three: {}",
            errors.len(),
            output.text
        );
        for ((line, column), error) in places.iter().zip(&errors) {
            let wanted = format!("/run/three.toml:{line}:{column}: ");
            ensure!(error.starts_with(&wanted), "`{command}` says {error:?} where {wanted:?} was expected");
        }
    }
    ensure!(lab.visible_state()? == before, "the state of the switch changed");
    let json = lab.vm.sh("corten check --json /run/three.toml 2>/dev/null")?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json.text).context("`corten check --json`")?;
    let found: Vec<_> = rows.iter().map(|row| (row["line"].as_u64(), row["column"].as_u64())).collect();
    let wanted: Vec<_> =
        places.iter().map(|&(line, column)| (Some(line as u64), Some(column as u64))).collect();
    ensure!(found == wanted, "`corten check --json` has {found:?} instead of {wanted:?}");
    Ok(String::new())
}

/// A wrong document, and what its error must say.
struct Bad {
    what: &'static str,
    document: String,
    says: &'static [&'static str],
}

fn bad_ones(good: &str) -> Vec<Bad> {
    let with = |what, from: &str, to: &str, says| Bad { what, document: good.replacen(from, to, 1), says };
    let plus = |what, more: &str, says| Bad { what, document: format!("{good}\n{more}\n"), says };
    vec![
        with("wrong TOML", "[system]", "[system", &["not valid TOML"]),
        with(
            "an unknown key",
            "description = \"trunk\"",
            "discription = \"trunk\"",
            &["discription", "did you mean", "description"],
        ),
        with(
            "an unknown section",
            "[loopbacks.lo0]",
            "[lopbacks.lo0]",
            &["lopbacks", "did you mean", "loopbacks"],
        ),
        with("VLAN 0", "vlan.access = 60", "vlan.access = 0", &["1 to 4094"]),
        with("VLAN 4095", "vlan.access = 60", "vlan.access = 4095", &["1 to 4094"]),
        with("VLAN 4095 in a trunk", "[\"10\", \"20\"]", "[\"10\", \"4095\"]", &["1 to 4094"]),
        with("overlapping addresses", "10.0.8.1/24", "10.0.7.129/25", &["10.0.7", "overlap"]),
        plus("a port this switch does not have", "[ports.swp99]\nvlan.access = 10", &["swp99"]),
        plus("a port given twice", "[ports.swp1]\nvlan.access = 20", &["swp1"]),
        plus("a section given twice", "[vlans.10]\nname = \"again\"", &["10"]),
        with("a gateway nobody can reach", "via = [\"10.0.8.2\"]", "via = [\"172.16.0.1\"]", &["172.16.0.1"]),
        with("a version of the future", "version = 1", "version = 99", &["version"]),
        with("a wrong type", "vlan.access = 60", "vlan.access = \"sixty\"", &["vlan.access"]),
        Bad { what: "nothing at all", document: "\n".to_owned(), says: &["version"] },
    ]
}

fn bad_documents(lab: &Lab, _: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    let bad = bad_ones(&lab.document);
    for Bad { what, document, says } in &bad {
        ensure!(*document != lab.document, "{what}: the document is the good one");
        let output = lab.apply(document)?;
        ensure!(output.status == 1, "{what}: exit status {}: {}", output.status, output.text);
        ensure!(output.text.contains("Nothing was applied"), "{what}: {}", output.text);
        for text in *says {
            ensure!(output.text.contains(text), "{what}: the error does not say {text:?}: {}", output.text);
        }
        ensure!(
            output.text.contains("/run/corten-test.toml:"),
            "{what}: the error has no place: {}",
            output.text
        );
    }
    ensure!(lab.visible_state()? == before, "the state of the switch changed");
    Ok(format!("{} documents", bad.len()))
}

fn garbage(lab: &Lab, _: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    let netd = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
    let sources = [
        ("random bytes", "head -c 10000000 /dev/urandom"),
        ("brackets", "head -c 10000000 /dev/zero | tr '\\0' '['"),
        ("one long line of text", "head -c 10000000 /dev/zero | tr '\\0' 'a'"),
        ("zeros", "head -c 10000000 /dev/zero"),
    ];
    for (what, source) in sources {
        lab.vm.run(&format!("{source} >/run/garbage"))?;
        for command in ["corten check /run/garbage", "corten apply /run/garbage"] {
            let output = lab.vm.sh_within(command, Duration::from_secs(60))?;
            ensure!(output.status == 1, "{what}: `{command}` exited with {}", output.status);
            ensure!(!output.text.trim().is_empty(), "{what}: `{command}` says nothing");
            ensure!(output.text.len() < 4096, "{what}: `{command}` printed {} bytes", output.text.len());
        }
    }
    // Straight at the bus, past the console's own checks: a text where a descriptor belongs. An argument of a
    // command is at most 128 KiB, so the bus client is fed what a hostile program could put into one message of that
    // size.
    let direct = lab
        .vm
        .sh("busctl call org.corten.Netd1 /org/corten/Netd1 org.corten.Netd1.Config1 Apply 'stua{sv}' \
         \"$(head -c 120000 /dev/zero | tr '\\0' '[')\" 0 0 0")?;
    ensure!(direct.status != 0, "netd took garbage over the bus: {}", direct.text);
    lab.vm.run("rm -f /run/garbage")?;
    ensure!(lab.visible_state()? == before, "the state of the switch changed");
    let after = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
    ensure!(netd == after, "netd was restarted meanwhile");
    Ok(String::new())
}
