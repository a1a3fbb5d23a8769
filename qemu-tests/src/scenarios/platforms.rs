//! Every object on every platform: made, changed, adopted by a netd that is started anew, deleted; or refused, in
//! the driver's words, with nothing left behind. The kernel's own tools say what it holds.
//!
//! [`OBJECTS`] is the table. The fourth platform, pairs of virtual ports (veth), is what the tests of netd's
//! kernel room are made of: they run here, on the image's own kernel.

mod objects;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::tools;

use self::objects::{OBJECTS, Object};
use super::kernel_dump;
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::new(
        "objects on virtio ports are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Switch,
        table,
    ).takes(64),
    Scenario::new(
        "objects on veth pairs: netd's kernel room passes its tests on the image's own kernel",
        Topology::Switch,
        kernel_room,
    )
    .takes(75),
    Scenario::new(
        "a storm of changes by others leaves netd with the truth, on the image's own kernel",
        Topology::Switch,
        storm,
    )
    .also_on_two_cpus()
    .takes(15),
    Scenario::new(
        "random histories of documents end as the last document alone, on the image's own kernel",
        Topology::Switch,
        histories,
    )
    .soaks(HISTORY)
    .takes(60),
    Scenario::new(
        "objects on the ASIC's ports are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Rocker,
        table,
    ).takes(100),
    Scenario::new(
        "objects on a simulated ASIC are made, changed, adopted and deleted, or refused in the driver's words",
        Topology::Netdevsim,
        table,
    ),
];

/// How long the kernel may take until nothing changes by itself any more.
const SOON: Duration = Duration::from_secs(20);

/// A platform, as its lab offers it.
struct Platform<'a> {
    lab: &'a Lab,
    /// The lab's document up to its ports: who may log in, and how the switch is managed.
    base: &'a str,
    ports: [&'static str; 4],
}

fn table(lab: &Lab, _: &Run) -> Result<String> {
    let (base, _) = lab.document.split_once("\n[ports").context("the lab's document has no ports")?;
    let ports = match lab.topology {
        Topology::Switch => ["swp2", "swp7", "swp11", "swp12"],
        // A simulated port that goes down is not plugged in again: those that were never up come first.
        Topology::Netdevsim => ["swp3", "swp4", "swp1", "swp2"],
        _ => ["swp1", "swp2", "swp3", "swp4"],
    };
    let platform = Platform { lab, base, ports };
    lab.with_document(base, || platform.all())
}

impl Platform<'_> {
    /// How each object fared.
    fn all(&self) -> Result<String> {
        let before = kernel_dump::settled(|| self.account())?;
        let refusal = |object: &Object| {
            let here = object.refused.iter().find(|(topology, _)| *topology == self.lab.topology);
            here.map(|(_, words)| *words)
        };
        let mut rows = Vec::new();
        for object in &OBJECTS {
            if let Some(words) = refusal(object) {
                self.is_refused(object, words).context(object.name)?;
            }
            let outcome = refusal(object).map(|words| format!("refused: {words}"));
            let outcome = outcome.unwrap_or_else(|| "made, changed, adopted, deleted".to_owned());
            rows.push(format!("{}: {outcome}", object.name));
        }
        self.same(&before).context("refused objects left something behind")?;
        for round in 0..=1 {
            let here = |object: &&Object| object.round == round && refusal(object).is_none();
            let objects: Vec<&Object> = OBJECTS.iter().filter(here).collect();
            self.lives(&objects).with_context(|| format!("document {round}"))?;
            self.lab.apply_ok(self.base).context("deleting")?;
            self.same(&before).context("once they are deleted")?;
        }
        Ok(rows.join("\n"))
    }

    fn is_refused(&self, object: &Object, words: &str) -> Result<()> {
        let said = self.lab.apply(&self.document(&[object], |object| object.made))?;
        ensure!(said.status != 0, "it was taken, though {words:?} was expected");
        ensure!(said.text.contains(words), "{words:?} is not in: {}", said.text);
        Ok(())
    }

    /// Makes and changes objects, all at once, and lets a netd that is started anew find them.
    fn lives(&self, objects: &[&Object]) -> Result<()> {
        for (which, text) in
            [(0, (|object| object.made) as fn(&Object) -> &'static str), (1, |object| object.changed)]
        {
            self.lab.apply_ok(&self.document(objects, text))?;
            // Routes come with their links.
            eventually("the kernel has them", SOON, || {
                let account = self.account()?;
                objects
                    .iter()
                    .try_for_each(|object| self.has(&account, object.shows[which]).context(object.name))
            })?;
        }
        let changed = kernel_dump::settled(|| self.account())?;
        self.lab.vm.run("systemctl restart netd.service")?;
        self.lab.wait_for_netd(Duration::from_secs(60))?;
        self.same(&changed).context("a netd that was started anew changed something")
    }

    fn fill(&self, text: &str) -> String {
        let names = ["{a}", "{b}", "{c}", "{d}"];
        names.iter().zip(self.ports).fold(text.to_owned(), |text, (name, port)| text.replace(name, port))
    }

    /// The document of some objects: sections of the same name become one.
    fn document(&self, objects: &[&Object], text: fn(&Object) -> &'static str) -> String {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for object in objects {
            for line in self.fill(text(object)).lines() {
                if line.starts_with('[') {
                    let known = sections.iter().position(|(name, _)| name == line && !line.starts_with("[["));
                    let section = known.map_or((line.to_owned(), Vec::new()), |place| sections.remove(place));
                    sections.push(section);
                } else if let Some((_, lines)) = sections.last_mut()
                    && !lines.iter().any(|known| known == line)
                {
                    lines.push(line.to_owned());
                }
            }
        }
        let text = |(name, lines): &(String, Vec<String>)| format!("\n{name}\n{}\n", lines.join("\n"));
        self.base.to_owned() + "\n" + &sections.iter().map(text).collect::<String>()
    }

    /// What the kernel holds of the switch's own ports and tables, their speed included.
    fn account(&self) -> Result<Vec<String>> {
        let mut lines = kernel_dump::take(self.lab)?;
        // What a driver lets through and a link's own address follow from what else it has.
        let filter =
            |line: &str| line.starts_with("fdb ") && line.contains("\"self\"") && !line.contains("\"dst\"");
        let passing = ["\"fe80::", "\"ff00::/8\""];
        lines.retain(|line| !(filter(line) || passing.iter().any(|part| line.contains(part))));
        for port in self.ports {
            let script = format!("cd /sys/class/net/{port}; echo $(cat speed duplex 2>/dev/null)");
            lines.push(format!("speed {port} {}", self.lab.vm.run(&script)?.trim()));
        }
        Ok(lines)
    }

    fn has(&self, lines: &[String], parts: &[&str]) -> Result<()> {
        ensure!(!parts.is_empty(), "nothing is looked for");
        let parts: Vec<String> = parts.iter().map(|part| self.fill(part)).collect();
        let fits = |line: &str, part: &str| match part.strip_prefix('!') {
            Some(part) => !line.contains(part),
            None => line.contains(part),
        };
        let found = lines.iter().any(|line| parts.iter().all(|part| fits(line, part)));
        let near = |line: &&String| parts.iter().take(2).all(|part| line.contains(part));
        let near: BTreeSet<&String> = lines.iter().filter(near).collect();
        ensure!(found, "the kernel has no line with {parts:?}, only {near:#?}");
        Ok(())
    }

    fn same(&self, wanted: &[String]) -> Result<()> {
        eventually("the kernel's state is as before", SOON, || {
            let differences = kernel_dump::differences(wanted, &self.account()?);
            ensure!(differences.is_empty(), "{}", differences.join("\n"));
            Ok(())
        })
    }
}

/// The tests of netd's kernel room make veth pairs of their own, each in a network namespace of its own.
fn kernel_room(lab: &Lab, _: &Run) -> Result<String> {
    // On a translated processor the large ones take minutes; on the host they run each time. Histories have a behaviour
    // of their own.
    let arguments = "--test-threads 2 --skip storm --skip ten_thousands --skip limits --skip history";
    netd_tests(lab, "", arguments)
}

/// On the host no bridge knows VLANs: a short storm meets one that does.
fn storm(lab: &Lab, _: &Run) -> Result<String> {
    let changes = format!("NETD_STORM_CHANGES={STORM_CHANGES}");
    let storm = netd_tests(lab, &changes, &format!("--exact {STORM}"))?;
    ensure!(storm.contains(" 1 passed"), "the storm is not among them: {storm}");
    Ok(format!("a storm of {STORM_CHANGES} changes: {storm}"))
}

const STORM: &str = "storm::a_storm_of_changes_by_others_leaves_netd_with_the_truth_and_its_routes";
const STORM_CHANGES: u32 = 5000;

/// Name of the long run of histories.
const HISTORY: &str = "history-guest";
/// Rounds of it, and the sequences of documents in one of them and in a sample.
const HISTORY_ROUNDS: u32 = 200;
const SEQUENCES: u32 = 10;
const SAMPLED_SEQUENCES: u32 = 4;
/// First seed of the sample: with the third one `check` took a subinterface that the kernel refused. New ones are for
/// the long run.
const SAMPLED_SEED: u64 = 20_261_130;

/// Sequences of random documents of everything that the image's own kernel has: on the host it knows no VLANs, VRFs and
/// LAGs. The seed of one that fails is told, with its documents.
fn histories(lab: &Lab, run: &Run) -> Result<String> {
    let sequences = if run.in_full() { SEQUENCES } else { SAMPLED_SEQUENCES };
    let mut summary = String::new();
    run.rounds(HISTORY, 1, HISTORY_ROUNDS, |seed, number| {
        let seed = if run.in_full() { seed } else { SAMPLED_SEED };
        let seed = seed.wrapping_add(u64::from(number - 1) * u64::from(sequences));
        let environment = format!("NETD_HISTORY_SEED={seed} NETD_HISTORY_SEQUENCES={sequences}");
        let line = netd_tests(lab, &environment, "history::")?;
        ensure!(line.contains(" 1 passed"), "the test of histories is not among them: {line}");
        summary = format!("{environment}: {line}");
        Ok(())
    })?;
    Ok(summary)
}

/// How long they may take, on a translated processor that others share.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Runs tests of netd in the guest with these variables; the answer is their last line.
fn netd_tests(lab: &Lab, environment: &str, arguments: &str) -> Result<String> {
    lab.needs_tool("netd-kernel-tests")?;
    let script =
        format!("{}export NETD_TEST_VLANS=1 {environment}; netd-kernel-tests {arguments} 2>&1", tools::USE);
    let output = lab.vm.sh_within(&script, PATIENCE)?;
    let summary = output.text.lines().rev().find(|line| line.starts_with("test result"));
    let summary = summary.with_context(|| format!("no result: {}", output.text))?;
    ensure!(output.status == 0 && !summary.contains(" 0 passed"), "{}", output.text);
    Ok(summary.to_owned())
}
