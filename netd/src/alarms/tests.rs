use std::path::PathBuf;

use netd_api::alarm::AlarmKind::{self, GroupsFull, NotApplied, RouteNotInHardware};
use netd_api::events::Event;

use super::*;
use crate::events::watch::{self, Request};

/// A file that is gone when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("netd-alarms-{name}-{}.json", std::process::id())))
    }

    fn alarms(&self) -> (Alarms, Hub) {
        let hub = Hub::open().expect("a thread");
        (Alarms::load(hub.clone(), &self.0), hub)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn condition(kind: AlarmKind, object: &str) -> Condition {
    Condition::warning(kind, object, "it is wrong").try_this("show it")
}

fn objects(alarms: &Alarms) -> Vec<String> {
    alarms.rows().into_iter().map(|row| row.object).collect()
}

/// The events so far that tell of alarms: begins with a plus, ends with a minus.
fn told(hub: &Hub, after: u64) -> Vec<String> {
    let events: Vec<Event> = hub.events_after(after);
    let sign = |event: &Event| match event.kind {
        EventKind::Alarm => '+',
        _ => '-',
    };
    events.iter().map(|event| format!("{}{}", sign(event), event.object)).collect()
}

#[test]
fn alarm_begins_once_keeps_its_beginning_and_ends() {
    let file = File::new("once");
    let (mut alarms, hub) = file.alarms();
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1")]);
    let since_ns = alarms.open.values().next().expect("an alarm").since_ns;
    std::thread::sleep(std::time::Duration::from_millis(20));
    // Another text is no other alarm.
    let other = Condition { text: "still wrong".to_owned(), ..condition(NotApplied, "swp1") };
    alarms.report(&[NotApplied], [other]);
    let [row] = &alarms.rows()[..] else { panic!("{:?}", alarms.rows()) };
    assert_eq!((row.text.as_str(), row.remedy.as_str()), ("still wrong", "show it"));
    assert_eq!(alarms.open.values().next().expect("it").since_ns, since_ns);
    // What is said of other kinds does not end it.
    alarms.report(&[GroupsFull], []);
    assert_eq!(objects(&alarms), ["swp1"]);
    assert_eq!(told(&hub, 0), ["+swp1"]);
    alarms.report(&[NotApplied], []);
    assert_eq!(objects(&alarms), [""; 0]);
    assert_eq!(told(&hub, 1), ["-swp1"]);
    // One that comes back is a new one.
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1")]);
    assert!(alarms.open.values().next().expect("it").since_ns > since_ns);
}

#[test]
fn alarms_of_a_restart_keep_their_beginning_and_those_that_ended_meanwhile_are_told() {
    let file = File::new("restart");
    let (mut alarms, _) = file.alarms();
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1"), condition(NotApplied, "swp2")]);
    let since_ns = alarms.open[&(NotApplied, "swp1".to_owned())].since_ns;
    drop(alarms);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let (mut alarms, hub) = file.alarms();
    assert_eq!(objects(&alarms), [""; 0], "nothing is told that was not found");
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1"), condition(NotApplied, "swp3")]);
    assert_eq!(alarms.open[&(NotApplied, "swp1".to_owned())].since_ns, since_ns);
    assert!(alarms.open[&(NotApplied, "swp3".to_owned())].since_ns > since_ns);
    // netd ends again before it has found the other.
    drop(alarms);
    let (mut alarms, again) = file.alarms();
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1"), condition(NotApplied, "swp3")]);
    assert_eq!(alarms.open[&(NotApplied, "swp1".to_owned())].since_ns, since_ns);
    alarms.forget_remembered();
    assert_eq!(told(&hub, 0), ["+swp1", "+swp3"]);
    assert_eq!(told(&again, 0), ["+swp1", "+swp3", "-swp2"]);
}

#[test]
fn alarms_of_another_boot_and_of_a_broken_file_are_forgotten() {
    let file = File::new("boot");
    let broken = ["", "{", "[]", "{\"boot_id\":\"x\",\"alarms\":[]}", &"x".repeat(300_000)];
    for text in broken {
        std::fs::write(&file.0, text).expect("a file");
        assert_eq!(file.alarms().0.remembered.len(), 0, "{text:.20}");
    }
    let (mut alarms, _) = file.alarms();
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1")]);
    assert_eq!(file.alarms().0.remembered.len(), 1);
    let text = std::fs::read_to_string(&file.0).expect("a file");
    let boot_id = crate::clock::Moment::now().boot_id;
    std::fs::write(&file.0, text.replace(&boot_id, "another")).expect("a file");
    assert_eq!(file.alarms().0.remembered.len(), 0);
}

#[test]
fn alarms_of_a_kind_are_a_few_rows_however_many_there_are() {
    let file = File::new("many");
    let (mut alarms, hub) = file.alarms();
    let report = |alarms: &mut Alarms, numbers: std::ops::Range<usize>| {
        let routes = numbers.map(|number| condition(RouteNotInHardware, &format!("10.0.{number}.0/24")));
        alarms.report(&[RouteNotInHardware], routes);
        alarms.rows()
    };
    report(&mut alarms, 0..3);
    assert_eq!(told(&hub, 0).len(), 3);
    let rows = report(&mut alarms, 0..50_000);
    assert_eq!(rows.len(), 4);
    let many = rows.iter().find(|row| row.object == "routes").expect("the others");
    assert_eq!(many.text, "49997 more, first 10.0.3.0/24: it is wrong");
    assert_eq!(told(&hub, 3), ["+routes"]);
    // They go one by one, and that is no news until the last is gone.
    for left in [10_000, 20, 5] {
        assert_eq!(report(&mut alarms, 0..left).len(), 4);
    }
    assert_eq!(told(&hub, 4), [""; 0]);
    assert_eq!(report(&mut alarms, 1..3).len(), 2);
    assert_eq!(told(&hub, 4), ["-10.0.0.0/24", "-routes"]);
    assert_eq!(report(&mut alarms, 1..MOST_SINGLE + 1).len(), MOST_SINGLE);
    report(&mut alarms, 0..0);
    // All at once are one event.
    let before = hub.events_after(0).len() as u64;
    let rows = report(&mut alarms, 0..50);
    assert_eq!(rows[0].text, "50, first 10.0.0.0/24: it is wrong");
    assert_eq!((rows.len(), told(&hub, before)), (1, vec!["+routes".to_owned()]));
}

#[test]
fn object_that_is_wrong_in_two_ways_is_one_row_of_a_kind() {
    let file = File::new("two");
    let (mut alarms, _) = file.alarms();
    let also = || Condition::critical(NotApplied, "swp1", "mtu");
    for _ in 0..2 {
        alarms.report(&[NotApplied], [condition(NotApplied, "swp1"), also()]);
        let rows = alarms.rows();
        assert_eq!((rows.len(), rows[0].text.as_str()), (1, "it is wrong; mtu"));
        assert_eq!(rows[0].severity, Severity::Critical);
    }
    let long = Condition::critical(NotApplied, "swp1", "é".repeat(1000));
    alarms.report(&[NotApplied], [long]);
    assert!(alarms.rows()[0].text.len() <= MAX_TEXT_BYTES + 4);
}

#[test]
fn worst_alarms_come_first_and_of_those_the_newest() {
    let file = File::new("order");
    let (mut alarms, _) = file.alarms();
    let kinds = [NotApplied, GroupsFull];
    let first = [condition(GroupsFull, "swp1"), Condition::critical(NotApplied, "swp2", "")];
    alarms.report(&kinds, first.clone());
    std::thread::sleep(std::time::Duration::from_millis(20));
    let later = [condition(GroupsFull, "swp3"), Condition::critical(NotApplied, "swp4", "")];
    alarms.report(&kinds, first.into_iter().chain(later));
    assert_eq!(objects(&alarms), ["swp4", "swp2", "swp3", "swp1"]);
}

#[tokio::test]
async fn new_reader_of_events_is_told_which_alarms_hold() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    let file = File::new("reader");
    let (mut alarms, hub) = file.alarms();
    alarms.report(&[NotApplied], [condition(NotApplied, "swp1"), condition(NotApplied, "swp2")]);
    alarms.report(&[NotApplied], [condition(NotApplied, "swp2")]);
    let stream = UnixStream::from(watch::open(&hub, Request::default(), (), || true).expect("a stream"));
    stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("a socket");
    let lines = move || BufReader::new(stream).lines().map_while(Result::ok).collect::<Vec<_>>();
    let lines = tokio::task::spawn_blocking(lines).await.expect("the reader");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let event: Event = serde_json::from_str(line).expect("an event");
    assert_eq!((event.object.as_str(), event.alarm, event.snapshot), ("swp2", Some(NotApplied), true));
}
