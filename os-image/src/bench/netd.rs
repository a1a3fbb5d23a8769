//! netd's own benchmark: on the host's kernel, then in the booted image.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::{guard, guest_tools, paths, test};

/// BIRD, in the root of peers.
const BIRD: &str = "/usr/sbin/bird";

/// Measures; answers whether all could be measured. Rows go to netd.json and netd-guest.json.
pub fn measure() -> Result<bool> {
    let program =
        guest_tools::build(&["bench", "--package", "netd", "--bench", "netd"], "netd", "netd-bench")?;
    let folder = paths::output().join("bench");
    fs::create_dir_all(&folder)?;
    println!("netd on this host's kernel");
    let mut on_host = Command::new(&program);
    on_host.arg("--json").arg(folder.join("netd.json"));
    let mut good = guard::status(&on_host)?.success();
    println!("netd in the booted image");
    let mut in_guest = test::behaviour_command()?;
    in_guest.arg("--bench").arg("--bench-dir").arg(&folder);
    guest_tools::pass(&mut in_guest, &[program]);
    in_guest.args(["--peer", BIRD]);
    good &= guard::status(&in_guest)?.success();
    Ok(good)
}
