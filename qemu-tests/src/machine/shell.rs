//! A root shell in the guest, for tests.
//!
//! The image knows nothing of it: systemd makes its unit from credentials (systemd-debug-generator(8)).
//! The unit runs a script on a virtio serial port, which is no terminal: nothing echoes, nothing edits
//! lines. A command goes as one line `ID DEADLINE BASE64`; the answer is `ID STATUS BASE64`.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sync::lock;

/// Name of the virtio serial port.
pub(super) const PORT_NAME: &str = "org.corten.test";
/// What the script says when it starts.
const HELLO: &str = "corten-test-shell";
/// How long after a command's own deadline the answer may come: the guest kills the command itself.
const GRACE: Duration = Duration::from_secs(20);
/// Status of a command that had to be killed.
const KILLED: i32 = 137;
/// Longest output taken, encoded.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

const UNIT: &str = "\
[Unit]
Description=Root shell of the test harness
DefaultDependencies=no

[Service]
ExecStart=/usr/bin/busybox sh /run/credentials/@system/corten-test.script
Restart=always
RestartSec=100ms
KillMode=process
OOMScoreAdjust=-900
";

const DROP_IN: &str = "[Unit]\nWants=corten-test.service\n";

const SCRIPT: &str = r#"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8
b=/usr/bin/busybox
port=
until [ "$port" ]; do
    for sys in /sys/class/virtio-ports/*; do
        read -r name <"$sys/name" && [ "$name" = org.corten.test ] && port=/dev/${sys##*/}
    done 2>/dev/null
    [ "$port" ] || $b sleep 0.1
done
exec <>"$port" >&0
echo corten-test-shell
work=/run/corten-test.$$
while read -r id deadline command; do
    echo "$command" | $b base64 -d >$work.sh
    $b timeout -s KILL "$deadline" $b sh $work.sh </dev/null >$work.out 2>&1
    echo "$id $? $($b base64 $work.out | $b tr -d '\n')"
done
"#;

/// The credentials that bring the shell up.
pub(super) fn credentials() -> [(String, Vec<u8>); 3] {
    [
        ("systemd.extra-unit.corten-test.service", UNIT),
        ("systemd.unit-dropin.multi-user.target", DROP_IN),
        ("corten-test.script", SCRIPT),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
}

/// What a command in the guest came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 137 when the deadline killed it.
    pub status: i32,
    /// Standard output and error, in the order they were written.
    pub text: String,
}

impl Output {
    /// The output of a command that must succeed.
    pub fn success(self) -> Result<String> {
        ensure!(self.status == 0, "exit status {}: {}", self.status, self.text.trim());
        Ok(self.text)
    }
}

pub(super) struct Shell(Mutex<Connection>);

struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    greeted: bool,
    next_id: u64,
}

impl Shell {
    pub(super) fn new(stream: UnixStream) -> Result<Shell> {
        stream.set_read_timeout(Some(Duration::from_millis(500))).context("cannot set a time-out")?;
        Ok(Shell(Mutex::new(Connection { stream, received: Vec::new(), greeted: false, next_id: 1 })))
    }

    /// Waits until the guest runs the shell.
    pub(super) fn wait(&self, timeout: Duration) -> Result<()> {
        lock(&self.0).greet(Instant::now() + timeout)
    }

    /// Waits until the guest runs the shell once more.
    pub(super) fn wait_anew(&self, timeout: Duration) -> Result<()> {
        let mut connection = lock(&self.0);
        connection.greeted = false;
        connection.greet(Instant::now() + timeout)
    }

    pub(super) fn run(&self, command: &str, timeout: Duration) -> Result<Output> {
        let mut connection = lock(&self.0);
        ensure!(connection.greeted, "the root shell of the guest was not waited for");
        connection.run(command, timeout).with_context(|| format!("in the guest: {command}"))
    }
}

impl Connection {
    fn greet(&mut self, deadline: Instant) -> Result<()> {
        while !self.greeted {
            let line = self.line(deadline).context("no root shell in the guest")?;
            self.greeted = line == HELLO;
        }
        Ok(())
    }

    fn run(&mut self, command: &str, timeout: Duration) -> Result<Output> {
        let id = self.next_id;
        self.next_id += 1;
        let (began, seconds) = (Instant::now(), timeout.as_secs().max(1));
        let line = format!("{id} {seconds} {}\n", STANDARD.encode(command));
        self.stream.write_all(line.as_bytes()).context("cannot write to the root shell")?;
        let deadline = Instant::now() + timeout + GRACE;
        loop {
            let line = self.line(deadline)?;
            ensure!(line != HELLO, "the root shell was started anew meanwhile");
            let mut words = line.split(' ');
            // Answers to commands that were given up earlier come first.
            if words.next().and_then(|word| word.parse().ok()) != Some(id) {
                continue;
            }
            let status = words.next().and_then(|word| word.parse().ok());
            let status = status.with_context(|| format!("no exit status in {line:?}"))?;
            let bytes = STANDARD.decode(words.next().unwrap_or_default()).context("broken answer")?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ensure!(
                status != KILLED || began.elapsed().as_secs() < seconds,
                "it was killed, for it took longer than {seconds} s: {text}"
            );
            return Ok(Output { status, text });
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        let mut buffer = vec![0; 64 * 1024];
        let mut searched = 0;
        loop {
            if let Some(at) = self.received[searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(searched + at + 1);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            searched = self.received.len();
            ensure!(searched < ANSWER_LIMIT_BYTES, "the answer is longer than {ANSWER_LIMIT_BYTES} bytes");
            ensure!(Instant::now() < deadline, "the deadline passed");
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the machine closed the line"),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(anyhow!(error).context("cannot read from the root shell")),
            }
        }
    }
}
