//! containerd's events, as `ctr events` prints them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};

use super::stack::HAPPENS;
use super::{Containerd, wait_for};

/// A listener.
pub struct Events {
    client: Child,
    lines: Receiver<String>,
    namespace: String,
}

/// An event of a task.
#[derive(Debug)]
pub struct Event {
    /// What it is about, without `/tasks/`.
    pub topic: String,
    /// All of it, as JSON.
    pub fields: serde_json::Value,
}

impl Events {
    /// Listens from now on.
    pub fn listen(containerd: &Containerd) -> Events {
        let mut client =
            containerd.ctr_command(&["events"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(client.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends with the client, or with the listener.
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        // It is ready once it shows an event of ours.
        let mut probes = Vec::new();
        wait_for("the event listener", || {
            let probe = format!("{}-probe{}", containerd.namespace, probes.len());
            containerd.ctr(&["namespace", "create", &probe]).ok();
            probes.push(probe);
            lines.try_recv().ok()
        });
        let mut remove = vec!["namespace", "rm"];
        remove.extend(probes.iter().map(String::as_str));
        containerd.ctr(&remove).ok();
        Events { client, lines, namespace: containerd.namespace.clone() }
    }

    /// The tasks' events up to one of a topic.
    pub fn until(&self, topic: &str) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        while events.last().is_none_or(|event| event.topic != topic) {
            let line = self.lines.recv_timeout(HAPPENS.get()).unwrap_or_else(|_| {
                panic!("no event {topic} within {} s, only {events:?}", HAPPENS.get().as_secs())
            });
            events.extend(parse(&line, &self.namespace));
        }
        events
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// The task's event of a line `TIME NAMESPACE TOPIC JSON`, if it is one of a namespace.
fn parse(line: &str, namespace: &str) -> Option<Event> {
    let (before, after) = line.split_once(" /tasks/")?;
    let (topic, fields) = after.split_once(' ')?;
    let ours = before.ends_with(&format!(" {namespace}"));
    ours.then(|| Event { topic: topic.to_owned(), fields: serde_json::from_str(fields).unwrap_or_default() })
}

mod tests {
    use super::*;

    #[test]
    fn task_events_of_the_namespace_are_read() {
        let line = "2026-11-29 16:00:00.1 +0000 UTC default /tasks/exit {\"id\":\"a\",\"exit_status\":137}";
        let event = parse(line, "default").unwrap();
        assert_eq!((event.topic.as_str(), &event.fields["exit_status"]), ("exit", &137.into()));
        assert!(parse(line, "fault").is_none());
        assert!(parse("2026-11-29 +0000 UTC x /namespaces/create {}", "x").is_none());
    }
}
