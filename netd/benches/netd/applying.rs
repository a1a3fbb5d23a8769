//! A document's way through netd, from the file to the verified kernel, with a clock at each step.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use netd::desired;
use netd::kernel::snapshot::Scope;
use netd::kernel::unreported::Unreported;
use netd::kernel::{Connection, KernelError};
use netd::plan::{Action, Network};
use netd::transaction::{Backend, Kernel, commit};
use netd_api::config::model::Config;
use nix::sys::resource::UsageWho;

use crate::network;
use crate::subject::{Outcome, cpu, peak};

/// The kernel, with a clock on each side.
struct Timed<'a> {
    kernel: Kernel<'a>,
    reading: Duration,
    sending: Duration,
    sent: u32,
}

impl Backend for Timed<'_> {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        let began = Instant::now();
        let network = self.kernel.snapshot();
        self.reading += began.elapsed();
        network
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        let began = Instant::now();
        let outcomes = self.kernel.execute(actions);
        self.sending += began.elapsed();
        self.sent += actions.len() as u32;
        outcomes
    }
}

/// What a run through netd took.
pub struct Applied {
    pub wall: Duration,
    pub parsing: Duration,
    /// Reading the kernel, before and after.
    pub reading: Duration,
    pub sending: Duration,
    /// Actions sent.
    pub sent: u32,
}

/// What is wanted of this switch, without its bridge where no port is in it: the kernel here may know none.
pub fn desired(config: &Config, ports: &BTreeSet<String>) -> Network {
    let mut desired = network::desired(config, ports);
    let bridged = |link: &netd::plan::Link| link.master.as_deref() == Some(desired::BRIDGE);
    if !desired.links.values().any(bridged) {
        desired.links.remove(desired::BRIDGE);
    }
    desired
}

/// From the file to the verified kernel.
pub fn apply(file: &Path, ports: &BTreeSet<String>, connection: &mut Connection) -> Applied {
    let began = Instant::now();
    let document = std::fs::read_to_string(file).expect("the document");
    let config = netd_api::config::parse(&document).expect("a valid document");
    let parsing = began.elapsed();
    let desired = desired(&config, ports);
    let scope =
        Scope { ports: ports.clone(), names: desired.links.keys().cloned().collect(), ..Scope::default() };
    let (dark, mut unreported) = (BTreeSet::new(), Unreported::default());
    let kernel = Kernel::new(connection, &scope, desired::BRIDGE, dark, &mut unreported);
    let mut timed = Timed { kernel, reading: Duration::ZERO, sending: Duration::ZERO, sent: 0 };
    commit(&mut timed, &desired).expect("the kernel takes it");
    Applied {
        wall: began.elapsed(),
        parsing,
        reading: timed.reading,
        sending: timed.sending,
        sent: timed.sent,
    }
}

/// Applies a document, then the same once more.
pub fn measure(file: &Path, ports: &BTreeSet<String>, connection: &mut Connection) -> Outcome {
    let before = cpu(UsageWho::RUSAGE_SELF);
    let first = apply(file, ports, connection);
    let cpu_s = cpu(UsageWho::RUSAGE_SELF) - before;
    let peak_bytes = peak();
    let again = apply(file, ports, connection);
    Outcome {
        wall_s: first.wall.as_secs_f64(),
        cpu_s,
        peak_bytes,
        parse_s: first.parsing.as_secs_f64(),
        plan_s: (first.wall - first.parsing - first.reading - first.sending).as_secs_f64(),
        send_s: first.sending.as_secs_f64(),
        verify_s: first.reading.as_secs_f64(),
        again_s: again.wall.as_secs_f64(),
        again_writes: again.sent,
    }
}
