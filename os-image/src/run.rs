//! `cargo os run`: the image in QEMU with its serial console in this terminal.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use qemu_tests::demo;
use qemu_tests::machine::{Asic, Channel, Console, Firmware, MAX_PORTS, Machine};

use crate::{build, host};

/// What to boot.
#[derive(Args)]
pub struct Options {
    /// Front-panel ports.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PORTS)))]
    ports: u16,
    /// What the front-panel ports are.
    #[arg(long, value_enum, default_value = "virtio")]
    asic: AsicName,
    /// Start by UEFI instead of BIOS.
    #[arg(long)]
    uefi: bool,
    /// Plug a host that answers ARP, ping and HTTP into every port, and configure the switch for them.
    #[arg(long, conflicts_with = "config")]
    demo: bool,
    /// Provision the switch with this configuration document instead of the set-up dialog.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Main memory in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..=65536))]
    memory: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum AsicName {
    /// One virtio-net device a port; the kernel forwards.
    Virtio,
    /// QEMU's emulated switch ASIC.
    Rocker,
}

/// Builds, boots and stays until the machine ends.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    let image = build::build(consent, locked)?;
    let asic = match options.asic {
        AsicName::Virtio => Asic::Virtio,
        AsicName::Rocker => Asic::Rocker,
    };
    let firmware = if options.uefi { Firmware::Uefi } else { Firmware::Bios };
    let mut machine = Machine::from_image(&image)
        .name("run")
        .ports(options.ports)
        .asic(asic)
        .firmware(firmware)
        .memory_mib(options.memory)
        .console(Console::Inherited);
    if options.demo {
        machine = machine.config(&demo::config(options.ports, asic), Channel::FwCfg);
    } else if let Some(file) = &options.config {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        machine = machine.config(&text, Channel::FwCfg);
    }
    let mut vm = machine.start()?;
    eprintln!("\nCtrl-A X leaves (what was changed in the machine is thrown away); Ctrl-A H helps.");
    eprintln!("SSH: ssh -p {} USER@127.0.0.1, by key", vm.ssh_port());
    let hosts = if options.demo {
        eprintln!("Log in as {} with password {}.", demo::USER, demo::PASSWORD);
        Some(demo::plug(&vm)?)
    } else {
        None
    };
    eprintln!();
    let ended = vm.wait();
    drop(hosts);
    ended.map(|()| ExitCode::SUCCESS)
}
