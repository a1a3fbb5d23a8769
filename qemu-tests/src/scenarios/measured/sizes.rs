//! Documents as large as switch.toml(5) allows: what interfaces cost, and whether twice as many cost twice as much.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::measure::Measurement;

use super::span;
use crate::lab::Lab;
use crate::runner::Run;

/// For one change, on a translated processor.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Interfaces of each kind whose cost is compared with that of half as many.
const SOME: u32 = 256;
/// Twice as many may cost so many times as much.
const MOST_GROWTH: f64 = 2.5;

/// What a document has many of.
struct Kind {
    name: &'static str,
    /// The most that a document may have.
    most: u32,
    /// A document with so many.
    document: fn(&Lab, u32) -> Result<String>,
}

const KINDS: [Kind; 3] = [
    // A bridge takes 1023 ports, of which this switch has one of its own.
    Kind { name: "VXLAN tunnels", most: 1022, document: tunnels },
    Kind { name: "VRFs", most: 1024, document: vrfs },
    Kind { name: "subinterfaces", most: 4094, document: subinterfaces },
];

const APPLY: &str = "\
read from rest </proc/uptime
corten apply --timeout 55m /run/sized.toml >&2 && read to rest </proc/uptime && echo $from $to
";

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    for kind in KINDS {
        let of = |count: u32| {
            lab.restoring(|| {
                lab.apply_ok(&with_ports(lab, "swp2", "")?)?;
                seconds(lab, &(kind.document)(lab, count)?)
            })
            .with_context(|| format!("{count} {}", kind.name))
        };
        let (half, some, most) = (of(SOME / 2)?, of(SOME)?, of(kind.most)?);
        let named = |count: u32| format!("{count} {}", kind.name);
        run.measured(
            Measurement::new(&named(SOME), some, "s")
                .against(&named(SOME / 2), half)
                .ratio_at_most(MOST_GROWTH),
        );
        let times = f64::from(kind.most) / f64::from(SOME);
        run.measured(
            Measurement::new(&named(kind.most), most, "s")
                .against(&format!("{times:.1} times {}", named(SOME)), some * times)
                .ratio_at_most(MOST_GROWTH),
        );
    }
    Ok(String::new())
}

/// The lab's document with other ports in place of its own, and with more behind it.
fn with_ports(lab: &Lab, port: &str, text: &str) -> Result<String> {
    let own = lab.document.lines().position(|line| line.starts_with("[ports.")).context("it has no ports")?;
    let lines: Vec<&str> = lab.document.lines().take(own).collect();
    Ok(format!("{}\n[ports.{port}]\n{text}", lines.join("\n")))
}

fn tunnels(lab: &Lab, count: u32) -> Result<String> {
    let last = 99 + count;
    let mut text = with_ports(lab, "swp2", &format!("vlan.trunk = [\"100-{last}\"]\n"))?;
    text += "\n[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\"]\n";
    for number in 100..=last {
        write!(
            text,
            "\n[vxlans.v{number}]\nvni = {number}\nvlan = {number}\nlocal = \"198.51.100.1\"\n\
             remotes = [\"198.51.100.2\"]\n"
        )?;
    }
    Ok(text)
}

fn vrfs(lab: &Lab, count: u32) -> Result<String> {
    let mut text = with_ports(lab, "swp2", "")?;
    (1..=count).try_for_each(|number| write!(text, "\n[vrfs.r{number}]\ntable = {}\n", 2000 + number))?;
    Ok(text)
}

fn subinterfaces(lab: &Lab, count: u32) -> Result<String> {
    let mut text = with_ports(lab, "swp2", "")?;
    (1..=count).try_for_each(|number| write!(text, "\n[subinterfaces.\"swp2.{number}\"]\n"))?;
    Ok(text)
}

/// Seconds that `corten apply` of a document takes.
fn seconds(lab: &Lab, document: &str) -> Result<f64> {
    lab.write_file("/run/sized.toml", document)?;
    let seconds = span(lab, APPLY, PATIENCE)?;
    ensure!(seconds > 0.0, "it took no time");
    Ok(seconds)
}
