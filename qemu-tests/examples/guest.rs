//! Boots the image, runs commands in it as root and prints what they print: for looking around.
//!
//! `cargo run -p qemu-tests --example guest -- 'systemctl --failed' 'ip addr'`

use std::time::Duration;

use anyhow::Result;
use qemu_tests::demo;
use qemu_tests::machine::{Asic, Channel, Machine, agent_program, image};
use qemu_tests::tools::Tools;

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join("corten-guest");
    let tools = Tools::pack(&agent_program()?, &[])?;
    let vm = Machine::from_image(&image()?)
        .name("guest")
        .ports(4)
        .config(&demo::config(4, Asic::Virtio), Channel::FwCfg)
        .agent(&tools.disk())
        .log_folder(&folder)
        .start()?;
    eprintln!("serial log: {}", vm.serial()?.log().display());
    vm.wait_for_agent(Duration::from_secs(240))?;
    eprintln!("agent after {:.1} s", vm.started().elapsed().as_secs_f64());
    for command in std::env::args().skip(1) {
        let output = vm.sh_within(&command, Duration::from_secs(600))?;
        println!("# {command}\n{}(status {})", output.text, output.status);
    }
    Ok(())
}
