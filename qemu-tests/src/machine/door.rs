//! How tests get in: what starts the agent in the guest.
//!
//! The image knows nothing of it: systemd makes the unit from credentials (systemd-debug-generator(8)), and the unit
//! starts the agent from the disk of [`crate::tools`]. Nothing else of the harness knows this way.

use crate::tools;

/// The unit's script: finds the disk, which may still be on its way, and becomes the agent.
const SCRIPT: &str = r#"
until mountpoint -q MOUNT; do
    for disk in /sys/block/vd*; do
        [ "$(cat $disk/serial)" = SERIAL ] || continue
        mkdir -p MOUNT && mount -t erofs -o ro /dev/${disk##*/} MOUNT
    done 2>/dev/null
    mountpoint -q MOUNT || sleep 0.1
done
exec MOUNT/agent
"#;

const UNIT: &str = "\
[Unit]
Description=Agent of the test harness
DefaultDependencies=no

[Service]
ExecStart=/usr/bin/busybox sh /run/credentials/@system/corten-test.script
Restart=always
RestartSec=100ms
KillMode=process
OOMScoreAdjust=-900
";

const DROP_IN: &str = "[Unit]\nWants=corten-test.service\n";

/// The credentials that bring the agent up.
pub(super) fn credentials() -> [(String, Vec<u8>); 3] {
    let script = SCRIPT.replace("MOUNT", tools::MOUNT).replace("SERIAL", tools::SERIAL);
    [
        ("systemd.extra-unit.corten-test.service", UNIT.to_owned()),
        ("systemd.unit-dropin.multi-user.target", DROP_IN.to_owned()),
        ("corten-test.script", script),
    ]
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
}
