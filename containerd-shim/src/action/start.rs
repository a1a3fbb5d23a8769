//! `start`: starts a server for the bundle in the working directory and prints its address.

use std::io::{IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::args::Args;
use crate::bootstrap::{self, Environment};
use crate::bundle;
use crate::error::{Context, Result};
use crate::random_name;

/// Where containerd's shims have their sockets; short, as socket addresses must be.
const SOCKET_FOLDER: &str = "/run/containerd/s";
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// Starts the server.
///
/// # Errors
/// containerd speaks no version of the protocol this shim does, or the system refused.
pub fn run(args: &Args) -> Result<()> {
    let environment = Environment {
        max_shim_version: std::env::var("MAX_SHIM_VERSION").ok(),
        ttrpc_address: std::env::var("TTRPC_ADDRESS").ok(),
    };
    let greeting = bootstrap::negotiate(&standard_input()?, &args.namespace, &args.id, environment)?;
    let bundle = std::env::current_dir().context(|| "find the bundle".to_owned())?;

    let socket = Path::new(SOCKET_FOLDER).join(random_name()?);
    let address = format!("unix://{}", socket.display());
    // Noted first: a socket that exists is always found again by `delete`.
    bundle::save_address(&bundle, &address)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(SOCKET_FOLDER)
        .context(|| format!("create {SOCKET_FOLDER}"))?;
    let listener = UnixListener::bind(&socket).context(|| format!("listen on {}", socket.display()))?;
    let started = serve(args, listener, &greeting.ttrpc_address).and_then(|()| {
        let reply = bootstrap::encode(greeting.reply, &address)?;
        std::io::stdout().write_all(&reply).context(|| "print the address".to_owned())
    });
    if started.is_err() {
        // Best effort: the error that led here is what counts.
        let _ = std::fs::remove_file(&socket);
    }
    started
}

/// What containerd put on standard input; nothing when started by hand.
fn standard_input() -> Result<Vec<u8>> {
    let mut input = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let read = stdin.lock().take(MAX_INPUT_BYTES).read_to_end(&mut input);
        read.context(|| "read standard input".to_owned())?;
    }
    Ok(input)
}

/// Starts this program again as a server, the socket its standard input.
fn serve(args: &Args, listener: UnixListener, ttrpc_address: &str) -> Result<()> {
    let own = std::env::current_exe().context(|| "find this program".to_owned())?;
    let mut command = Command::new(own);
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &args.address]);
    if args.debug {
        command.arg("-debug");
    }
    let server = command
        .env("TTRPC_ADDRESS", ttrpc_address)
        // With one thread there is nothing for glibc to keep arenas for.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context(|| "start the server".to_owned())?;
    protect_from_oom(server.id())
}

/// When memory is short the workload shall be killed, not what reports it; containerd comes after both.
fn protect_from_oom(pid: u32) -> Result<()> {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let score = own.trim().parse::<i32>().unwrap_or(0).saturating_add(1).min(1000);
    let file = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&file, score.to_string()).context(|| format!("write {file}"))
}
