//! A change of many interfaces, and what is shown while it is being made.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] =
    [Scenario::new("ports are shown while a large change is being made", Topology::Switch, meanwhile)
        .takes(90)];

/// For what a translated processor makes of some hundred interfaces.
const PATIENCE: Duration = Duration::from_secs(600);

fn subinterfaces(lab: &Lab, count: u32) -> Result<String> {
    let mut text = lab.document.clone();
    (1..=count).try_for_each(|number| write!(text, "\n[subinterfaces.\"swp7.{number}\"]\n"))?;
    Ok(text)
}

fn meanwhile(lab: &Lab, _: &Run) -> Result<String> {
    // Each would cost the service manager two units, and a change of many its time.
    let units = lab.vm.run("systemctl list-units --all --type=device --plain --no-legend 'sys-*net*'")?;
    ensure!(units.trim().is_empty(), "the service manager has units of network devices:\n{units}");
    lab.write_file("/run/sized.toml", &subinterfaces(lab, 256)?)?;
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
