//! An unprovisioned switch.

use anyhow::Result;

use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "an unprovisioned switch asks on the serial console, and then works",
    Topology::Fresh,
    set_up_by_dialog,
)];

fn set_up_by_dialog(_: &Lab, _: &Run) -> Result<String> {
    anyhow::bail!("not written")
}
