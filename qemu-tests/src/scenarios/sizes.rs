//! Documents as large as switch.toml(5) allows: they are applied, and cost what their size costs.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::objects::changed;
use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 2] = [
    Scenario::new("tunnels, VRFs and subinterfaces cost what their number costs", Topology::Switch, growth)
        .alone()
        .takes(240),
    Scenario::new("ports are shown while a large change is being made", Topology::Switch, meanwhile)
        .alone()
        .takes(90),
];

/// For what a translated processor makes of some hundred interfaces.
const PATIENCE: Duration = Duration::from_secs(600);
/// Twice as many interfaces may take so many times as long: twice, and what the load of the host adds.
const MOST_GROWTH: f64 = 3.2;

type Kind = (&'static str, fn(&Lab, u32) -> Result<String>);

const KINDS: [Kind; 3] = [("tunnels", tunnels), ("VRFs", vrfs), ("subinterfaces", subinterfaces)];

fn tunnels(lab: &Lab, count: u32) -> Result<String> {
    let mut text = changed(
        lab,
        "vlan.trunk = [\"10\", \"20\"]",
        &format!("vlan.trunk = [\"10\", \"20\", \"100-{}\"]", 99 + count),
    )?;
    for number in 100..100 + count {
        write!(
            text,
            "\n[vxlans.v{number}]\nvni = {number}\nvlan = {number}\nlocal = \"198.51.100.1\"\nremotes = [\"198.51.100.2\"]\n"
        )?;
    }
    Ok(text)
}

fn vrfs(lab: &Lab, count: u32) -> Result<String> {
    let mut text = lab.document.clone();
    (1..=count).try_for_each(|number| write!(text, "\n[vrfs.r{number}]\ntable = {}\n", 2000 + number))?;
    Ok(text)
}

fn subinterfaces(lab: &Lab, count: u32) -> Result<String> {
    let mut text = lab.document.clone();
    (1..=count).try_for_each(|number| write!(text, "\n[subinterfaces.\"swp7.{number}\"]\n"))?;
    Ok(text)
}

/// Seconds that `corten apply` of a document takes.
fn seconds(lab: &Lab, document: &str) -> Result<f64> {
    lab.write_file("/run/sized.toml", document)?;
    let script = "read from rest </proc/uptime; corten apply --timeout 10m /run/sized.toml >&2 && read to rest </proc/uptime && \
                  echo $from $to";
    let text = lab.vm.run_within(script, PATIENCE)?;
    let line = text.lines().last().unwrap_or_default();
    let (from, to) = line.split_once(' ').with_context(|| format!("no times: {line}"))?;
    Ok(to.parse::<f64>()? - from.parse::<f64>()?)
}

fn growth(lab: &Lab, _: &Run) -> Result<String> {
    let units = lab.vm.run("systemctl list-units --all --type=device --plain --no-legend 'sys-*net*'")?;
    ensure!(units.trim().is_empty(), "the service manager has units of network devices:\n{units}");
    let mut words = Vec::new();
    for (kind, document) in KINDS {
        let (some, twice) = lab.restoring(|| {
            let some = seconds(lab, &document(lab, 128)?)?;
            lab.apply_ok(&lab.document)?;
            Ok((some, seconds(lab, &document(lab, 256)?)?))
        })?;
        ensure!(twice <= some * MOST_GROWTH, "128 {kind} took {some:.1} s, 256 took {twice:.1} s");
        words.push(format!("256 {kind} {twice:.1} s, {:.1} times 128", twice / some));
    }
    Ok(words.join("; "))
}

fn meanwhile(lab: &Lab, _: &Run) -> Result<String> {
    lab.write_file("/run/sized.toml", &subinterfaces(lab, 512)?)?;
    lab.restoring(|| {
        // How many answers came while the change was being made, and what it said of itself.
        let script = "corten apply --timeout 10m /run/sized.toml 2>/run/sized.err >/run/sized.out & change=$!\n\
                      answers=0\n\
                      while kill -0 $change 2>/dev/null; do corten show ports --json >/dev/null && \
                      kill -0 $change 2>/dev/null && answers=$((answers + 1)); done\n\
                      wait $change && echo $answers";
        let text = lab.vm.run_within(script, PATIENCE)?;
        let answers: u32 = text.trim().parse().with_context(|| format!("no number: {text}"))?;
        ensure!(answers >= 2, "ports were shown {answers} times while the change was being made");
        let said = lab.vm.run("cat /run/sized.err")?;
        // Between reading the kernel and sending there is no step to name.
        if said.lines().count() > 1 {
            ensure!(said.contains(" steps are done"), "netd did not say how far it is: {said}");
        }
        Ok(format!("{answers} answers"))
    })
}
