//! Runs a test inside network and user namespaces of its own, so that it can change links and routes
//! without being root and without touching the machine.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the process that already is inside.
const INSIDE: &str = "NETD_TEST_INSIDE";

/// Runs `body` inside fresh namespaces: the test binary starts itself again there, for this test alone.
///
/// # Panics
/// When `body` fails, or when the machine does not allow namespaces.
pub fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let this = std::env::current_exe().expect("the test's own program");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(this)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .arg0("unshare")
        .output()
        .expect("unshare(1) of util-linux");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespaces: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "the test did not run inside the namespaces:\n{text}");
}
