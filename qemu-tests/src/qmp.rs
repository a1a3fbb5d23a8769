//! A client of the QEMU Machine Protocol (docs/interop/qmp-spec): one command at a time.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::sync::lock;

/// How long QEMU may take to answer a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to a machine's monitor.
pub struct Qmp(Mutex<Connection>);

struct Connection {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Qmp {
    /// Greets and negotiates.
    pub fn new(stream: UnixStream) -> Result<Qmp> {
        stream.set_read_timeout(Some(Duration::from_secs(1))).context("cannot set a time-out on QMP")?;
        let mut connection = Connection { reader: BufReader::new(stream), line: Vec::new() };
        let greeting = connection.receive("the QMP greeting")?;
        if greeting.get("QMP").is_none() {
            bail!("QEMU greeted with {greeting}");
        }
        connection.execute("qmp_capabilities", None)?;
        Ok(Qmp(Mutex::new(connection)))
    }

    /// Executes a command and answers what it returned.
    pub fn execute(&self, command: &str) -> Result<Value> {
        lock(&self.0).execute(command, None)
    }

    /// Executes a command with arguments.
    pub fn execute_with(&self, command: &str, arguments: Value) -> Result<Value> {
        lock(&self.0).execute(command, Some(arguments))
    }

    /// Plugs the cable of a network device in or out. `netdev` is its netdev or device name.
    pub fn set_link(&self, netdev: &str, up: bool) -> Result<()> {
        self.execute_with("set_link", json!({ "name": netdev, "up": up })).map(drop)
    }

    /// Presses the power button.
    pub fn system_powerdown(&self) -> Result<()> {
        self.execute("system_powerdown").map(drop)
    }

    /// Ends QEMU.
    pub fn quit(&self) -> Result<()> {
        self.execute("quit").map(drop)
    }

    /// Runs a command of the human monitor and answers its output.
    pub fn human(&self, line: &str) -> Result<String> {
        let answer = self.execute_with("human-monitor-command", json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }
}

impl Connection {
    fn execute(&mut self, command: &str, arguments: Option<Value>) -> Result<Value> {
        let mut request = json!({ "execute": command });
        if let Some(arguments) = arguments {
            request["arguments"] = arguments;
        }
        // In one piece: QEMU acts on the last bracket, and may be gone before whatever follows it.
        let line = format!("{request}\n");
        let sent = self.reader.get_mut().write_all(line.as_bytes());
        sent.with_context(|| format!("cannot send {command} to QEMU"))?;
        loop {
            let mut answer = self.receive(command)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {}", error["desc"].as_str().unwrap_or("no reason given"));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // Anything else is an event that nobody waits for.
        }
    }

    fn receive(&mut self, what: &str) -> Result<Value> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        self.line.clear();
        loop {
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(0) => bail!("QEMU closed its monitor before it answered {what}"),
                Ok(_) if self.line.ends_with(b"\n") => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(anyhow!(error).context(format!("cannot read QEMU's answer to {what}")));
                }
            }
            if Instant::now() >= deadline {
                bail!("QEMU did not answer {what} within {} s", ANSWER_TIMEOUT.as_secs());
            }
        }
        serde_json::from_slice(&self.line).with_context(|| format!("QEMU's answer to {what} is no JSON"))
    }
}
