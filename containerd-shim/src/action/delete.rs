//! `delete`: cleans up after a server that is gone, from what it left in the bundle, and prints how the
//! task ended.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::{Message, MessageField};
use rustix::process::{getpid, set_child_subreaper};

use super::event_loop;
use crate::args::Args;
use crate::bundle::{self, State};
use crate::error::{Context, Error, Result};
use crate::events::timestamp;
use crate::log;
use crate::reaper::Reaper;
use crate::workload;

/// Nobody saw the task end, so it is reported as killed: 128 + SIGKILL.
const KILLED: u32 = 137;

/// Cleans up.
///
/// # Errors
/// The bundle's record is damaged, or standard output is closed.
pub fn run(args: &Args) -> Result<()> {
    log::to_stderr(args.debug);
    let bundle = match args.bundle.as_str() {
        "" => std::env::current_dir().context(|| "find the bundle".to_owned())?,
        path => PathBuf::from(path),
    };
    let state = State::load(&bundle)?;
    if let Some(state) = &state {
        if (state.namespace.as_str(), state.id.as_str()) != (args.namespace.as_str(), args.id.as_str()) {
            return Err(Error::Invalid(format!(
                "{} belongs to {}/{}, not to {}/{}",
                bundle.display(),
                state.namespace,
                state.id,
                args.namespace,
                args.id
            )));
        }
        set_child_subreaper(Some(getpid())).context(|| "become a subreaper".to_owned())?;
        event_loop()?.block_on(async {
            workload::clean(state, &bundle, Arc::new(Reaper::default())).await;
            if let Some(cgroup) = &state.cgroup {
                cgroup.remove().await;
            }
        });
    }
    if let Some(socket) = bundle::socket(&bundle) {
        // Gone already when the server ended by itself.
        let _ = std::fs::remove_file(socket);
    }
    let response = DeleteResponse {
        pid: state.map_or(0, |state| state.pid),
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(SystemTime::now())),
        ..Default::default()
    };
    let bytes = response.write_to_bytes().map_err(|error| Error::failed("encode the answer", error))?;
    std::io::stdout().write_all(&bytes).context(|| "print the answer".to_owned())
}
