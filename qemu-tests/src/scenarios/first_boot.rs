//! An unprovisioned switch: the dialog on the serial console, and what comes of it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::serial::Serial;

use super::frames::{At, cross};
use crate::lab::{Lab, PASSWORD, Topology, USER, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "an unprovisioned switch asks on the serial console, and then works",
    Topology::Fresh,
    set_up_by_dialog,
)
.takes(62)];

const BOOT: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(60);

/// Answers one question.
fn answer(serial: &Serial, question: &str, reply: &str) -> Result<()> {
    serial.wait_for(question, SOON)?;
    serial.send_line(reply)
}

fn set_up_by_dialog(lab: &Lab, _: &Run) -> Result<String> {
    let serial = lab.vm.serial()?;
    serial.wait_for("Welcome to Corten.", BOOT)?;
    ensure!(!serial.has_said("login: "), "an unprovisioned switch offers a login");
    let refused = lab.ssh(USER, "show ports")?;
    ensure!(refused.status.code() == Some(255), "SSH lets somebody into an unprovisioned switch");

    answer(serial, "User name [admin]: ", USER)?;
    answer(serial, "SSH public key [none]: ", "this is no key")?;
    answer(serial, "SSH public key [none]: ", lab.public_key())?;
    answer(serial, "Password (not shown): ", PASSWORD)?;
    answer(serial, "Once more: ", PASSWORD)?;
    answer(serial, "or dhcp [dhcp]: ", "")?;
    answer(serial, "Host name [corten]: ", "fresh1")?;
    answer(serial, "Apply it? (yes/no): ", "yes")?;
    serial.wait_for("Applied.", SOON)?;
    ensure!(!serial.has_said(PASSWORD), "the password was shown");
    log_in(serial)?;

    let document = ssh(lab, "config", None)?;
    ensure!(
        document.contains(&format!("[users.{USER}]")),
        "the running document lacks the user:\n{document}"
    );
    let ports = "\n[ports.\"swp[1-2]\"]\nvlan.access = 10\n";
    ssh(lab, "apply -", Some(&(document + ports)))?;
    // The kernel reports a carrier up to a second after a port was set up, and forwards from then on.
    eventually("the new ports forward", Duration::from_secs(30), || {
        cross(lab, At(1, None), At(2, None), Mac::BROADCAST)
    })?;
    cross(lab, At(2, None), At(1, None), Mac::of_host(1))?;
    Ok(String::new())
}

/// Logs in on the console, sees the ports, and leaves.
fn log_in(serial: &Serial) -> Result<()> {
    answer(serial, "fresh1 login: ", USER)?;
    answer(serial, "assword: ", PASSWORD)?;
    serial.wait_for_screen("the first screen", SOON, |screen| screen.contains("[0 Now]"))?;
    serial.send("1")?;
    serial.wait_for_screen("the ports", SOON, |screen| screen.contains("swp1") && screen.contains("swp2"))?;
    serial.send("q")?;
    serial.wait_for("fresh1 login: ", SOON).context("q leaves the console")
}

/// Runs a command over SSH that must succeed.
fn ssh(lab: &Lab, command: &str, input: Option<&str>) -> Result<String> {
    eventually(&format!("`{command}` over SSH"), Duration::from_secs(60), || {
        let output = lab.ssh_with_input(USER, command, input)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
    })
}
