//! What the shim runs on in these tests: the developer's host, or the image that is shipped.
//!
//! The tests are the same. What differs by stack is in this file: the programs, how long things may take, and how
//! many rounds are run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Names the stack: `host`, which is the default, or `image`.
const STACK_VARIABLE: &str = "CORTEN_TEST_STACK";
/// `full` runs every round on the image, too.
const ROUNDS_VARIABLE: &str = "CORTEN_TEST_ROUNDS";
/// An image that containerd has in its namespace `default`, with a shell and sleep in /bin.
const IMAGE_VARIABLE: &str = "CORTEN_TEST_IMAGE";

/// What the shim runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// The host's containerd, one a test, the host's OCI runtime and whatever control groups it has.
    Host,
    /// The image's containerd.service, crun, control groups of version 2 alone, systemd and netd.
    Image,
}

impl Stack {
    fn parse(text: Option<&str>) -> Result<Stack, String> {
        match text {
            None | Some("host") => Ok(Stack::Host),
            Some("image") => Ok(Stack::Image),
            Some(other) => Err(format!("{STACK_VARIABLE}={other}: expected host or image")),
        }
    }

    /// How much longer everything may take: a guest on a translated processor is 10 to 20 times slower, and the
    /// host's limits are several times what is needed there.
    fn patience(self) -> u32 {
        match self {
            Stack::Host => 1,
            Stack::Image => 6,
        }
    }
}

/// The stack of this run. On the image it is made sure of: a test that found other ground would show nothing.
pub fn stack() -> Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    let stack = *STACK.get_or_init(|| {
        let named = std::env::var(STACK_VARIABLE).ok();
        Stack::parse(named.as_deref()).unwrap_or_else(|error| panic!("{error}"))
    });
    if stack == Stack::Image {
        assert!(unified(), "the image has no control groups of version 2 alone at /sys/fs/cgroup");
        assert!(Path::new("/run/systemd/system").is_dir(), "systemd does not run");
    }
    stack
}

/// Whether this is the image. What needs it says so with `#[ignore = "in the guest"]`.
pub fn on_image() -> bool {
    stack() == Stack::Image
}

/// Whether cgroup version 2 is the only hierarchy.
pub fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// How long something may take.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Duration);

/// Something that happens by itself: an end, an event, a clean-up.
pub const HAPPENS: Limit = Limit(Duration::from_secs(20));
/// The shim's answer to one call.
pub const ANSWER: Limit = Limit(Duration::from_secs(10));
/// A service of a test appears on its bus.
pub const SERVICE: Limit = Limit(Duration::from_secs(10));
/// What a test left, once its shims are killed.
pub const CLEAN_UP: Limit = Limit(Duration::from_secs(5));
/// Pause between two questions about what no descriptor reports. On one processor they delay what they wait for.
pub const POLL_INTERVAL: Limit = Limit(Duration::from_millis(10));
/// How long something is watched that must not move.
pub const STANDSTILL: Limit = Limit(Duration::from_millis(300));

impl Limit {
    /// The limit on this stack.
    pub fn get(self) -> Duration {
        self.on(stack())
    }

    fn on(self, stack: Stack) -> Duration {
        self.0 * stack.patience()
    }
}

/// How many rounds a test does: all, or a sample on the image, where each takes seconds.
pub fn rounds(full: usize, sample: usize) -> usize {
    rounds_on(stack(), std::env::var(ROUNDS_VARIABLE).ok().as_deref(), full, sample)
}

fn rounds_on(stack: Stack, asked: Option<&str>, full: usize, sample: usize) -> usize {
    match (stack, asked) {
        (Stack::Host, _) | (Stack::Image, Some("full")) => full,
        (Stack::Image, None) => sample,
        (Stack::Image, Some(other)) => panic!("{ROUNDS_VARIABLE}={other}: expected full"),
    }
}

/// The shim.
pub fn shim() -> PathBuf {
    PathBuf::from(match stack() {
        Stack::Host => env!("CARGO_BIN_EXE_containerd-shim-corten-v1"),
        Stack::Image => "/usr/bin/containerd-shim-corten-v1",
    })
}

/// The OCI runtime. On the host the one that works there: crun refuses systems where cgroup version 2 is not alone.
pub fn runtime() -> PathBuf {
    match stack() {
        Stack::Image => PathBuf::from("/usr/bin/crun"),
        Stack::Host => program(if unified() { "crun" } else { "runc" }),
    }
}

const PACKAGES: &str =
    "apt-get install --no-install-recommends containerd crun runc busybox-static dbus-daemon";

/// Finds a program or says how to get it.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: {PACKAGES}"))
}

/// The image whose containers have a root file system that is mounted.
pub fn container_image() -> String {
    std::env::var(IMAGE_VARIABLE)
        .unwrap_or_else(|_| panic!("{IMAGE_VARIABLE} names no image of containerd's"))
}

mod tests {
    use super::*;

    #[test]
    fn stack_is_the_host_unless_the_image_is_named() {
        assert_eq!(Stack::parse(None), Ok(Stack::Host));
        assert_eq!(Stack::parse(Some("host")), Ok(Stack::Host));
        assert_eq!(Stack::parse(Some("image")), Ok(Stack::Image));
        assert!(Stack::parse(Some("")).unwrap_err().contains("expected host or image"));
    }

    #[test]
    fn image_has_more_time_and_fewer_rounds() {
        assert_eq!(HAPPENS.on(Stack::Host), Duration::from_secs(20));
        assert_eq!(HAPPENS.on(Stack::Image), Duration::from_secs(120));
        assert_eq!(rounds_on(Stack::Host, None, 200, 8), 200);
        assert_eq!(rounds_on(Stack::Image, None, 200, 8), 8);
        assert_eq!(rounds_on(Stack::Image, Some("full"), 200, 8), 200);
    }
}
