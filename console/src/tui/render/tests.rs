//! Snapshots of the screens at 80x24, as text and with their styles.

use std::time::{Duration, Instant};

use netd_api::comparison::Comparison;
use netd_api::generation::{Generation, Health, State, Status};
use netd_api::state::Discard;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::draw;
use crate::commands::change::{Applied, Base, Confirm, Review, RollBack, RollBackReview};
use crate::journal::{Entry, News};
use crate::look::Look;
use crate::outcome::Exit;
use crate::outcome::Outcome;
use crate::tables::comparison::tests::comparison;
use crate::tables::tests as switch;
use crate::target::Target;
use crate::tui::app::{App, Effect};
use crate::tui::feed::Update;
use crate::tui::keys::Key;
use crate::tui::recent;

const COLOUR: Look = Look { colour: true, unicode: true, alternate_screen: true };

/// Screens of a switch that has been looked at for two seconds.
fn app(look: Look) -> App {
    let mut app = App::new(look, "leaf1".into(), "14:05".into());
    let start = Instant::now();
    app.update(Update::Status(Status { generation: 12, ..Status::default() }));
    app.update(Update::Ports(start, switch::ports()));
    let mut ports = switch::ports();
    ports[0].counters.rx_bytes += 1_500_000;
    ports[1].counters.tx_bytes += 125_000_000;
    app.update(Update::Ports(start + Duration::from_secs(1), ports));
    app.update(Update::Vlans(switch::vlans(), switch::fdb()));
    press(&mut app, &[Key::Char('1')]);
    app
}

fn press(app: &mut App, keys: &[Key]) -> Option<Effect> {
    keys.iter().map(|key| app.press(*key)).last().flatten()
}

fn type_text(app: &mut App, text: &str) {
    for c in text.chars() {
        app.press(Key::Char(c));
    }
}

fn picture_of(app: &mut App, width: u16, height: u16) -> Buffer {
    draw(app, Rect::new(0, 0, width, height)).0
}

/// The picture's lines.
fn text(picture: &Buffer) -> String {
    let lines = (0..picture.area.height).map(|y| {
        let cells = (0..picture.area.width).map(|x| picture[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The picture's lines, each followed by a line of marks for its styles: `r`ed, `g`reen, `c`yan, `d`ark,
/// `#` reversed, `_` underlined, `b`old.
fn styled(picture: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..picture.area.height {
        let cells: Vec<_> = (0..picture.area.width).map(|x| &picture[(x, y)]).collect();
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        let marks: String = cells
            .iter()
            .map(|cell| match (cell.fg, cell.modifier) {
                (_, modifier) if modifier.contains(Modifier::REVERSED) => '#',
                (Color::Red, _) => 'r',
                (Color::Green, _) => 'g',
                (Color::Cyan, _) => 'c',
                (Color::DarkGray, _) => 'd',
                (_, modifier) if modifier.contains(Modifier::UNDERLINED) => '_',
                (_, modifier) if modifier.contains(Modifier::BOLD) => 'b',
                _ => ' ',
            })
            .collect();
        out.push_str(line.trim_end());
        out.push('\n');
        if !marks.trim_end().is_empty() {
            out.push_str(&format!("{}\n", marks.trim_end()));
        }
    }
    out
}

fn screen(app: &mut App) -> String {
    text(&picture_of(app, 80, 24))
}

#[test]
fn ports_in_mono_ascii() {
    let picture = picture_of(&mut app(Look::PLAIN), 80, 24);
    assert!(picture.content.iter().all(|cell| cell.symbol().is_ascii()));
    assert!(picture.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    insta::assert_snapshot!(styled(&picture));
}

#[test]
fn the_header_tells_what_waits_and_what_is_wrong() {
    let mut app = app(Look::PLAIN);
    app.user = "ana".into();
    app.now_s = 1000;
    for (state, confirm_by_s, shown) in [
        (Health::Unconfirmed, 1103, "gen 12 UNCONFIRMED 1:43  14:05"),
        (Health::Degraded, 0, "gen 12 DEGRADED"),
        (Health::Degraded, 1009, "gen 12 DEGRADED UNCONFIRMED 0:09"),
        (Health::Ok, 0, "gen 12  14:05"),
    ] {
        let role = "admin".to_owned();
        app.update(Update::Status(Status { state, generation: 12, confirm_by_s, role, ..Status::default() }));
        let header = screen(&mut app).lines().next().unwrap().to_owned();
        assert!(header.contains(shown) && header.len() <= 80, "{header}");
        assert!(header.starts_with(" ana@leaf1 admin  0 [1 Ports] 2 9 "), "{header}");
    }
}

/// Five alarms, and the changes before them.
fn with_alarms(app: &mut App) {
    use netd_api::events::{Event, EventKind, EventSource};
    app.now_s = switch::NOW_S;
    app.update(Update::Alarms(switch::alarms()));
    app.recent(recent::News::Begin);
    // Older than a day: their ages do not depend on the time of day of the test.
    let day_ns = 86_400 * 1_000_000_000;
    let now_ns = crate::text::monotonic_ns_now();
    for (days, kind, object, detail) in [
        (9, EventKind::Applied, "11", "by bo"),
        (3, EventKind::LinkDown, "swp49", ""),
        (3, EventKind::LinkUp, "swp49", ""),
        (2, EventKind::Unconfirmed, "12", "by ana: new uplink"),
    ] {
        app.recent(recent::News::Event(Box::new(Event {
            boot_id: "boot".into(),
            seq: 1,
            monotonic_ns: now_ns.saturating_sub(days * day_ns + day_ns / 2),
            kind,
            object: object.into(),
            alarm: None,
            source: EventSource::Netd,
            detail: detail.into(),
            snapshot: false,
        })));
    }
}

/// The first screen, with what depends on how long this machine has been up taken out.
fn now_screen(picture: &str) -> String {
    let is_change = |line: &str| ["applied", "link up", "link down"].iter().any(|word| line.contains(word));
    let lines = picture.lines().map(|line| match is_change(line) {
        true => format!("  AGE{}", line.chars().skip(5).collect::<String>()),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn alarms_are_above_and_the_last_changes_below() {
    for (name, look) in [("now_mono", Look::PLAIN), ("now_colour", COLOUR)] {
        let mut app = app(look);
        with_alarms(&mut app);
        press(&mut app, &[Key::Char('0'), Key::Down]);
        let picture = picture_of(&mut app, 80, 24);
        insta::assert_snapshot!(name, now_screen(&styled(&picture)));
    }
}

#[test]
fn first_screen_of_a_switch_that_is_well() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('0')]);
    assert!(screen(&mut app).contains("Waiting for netd."));
    app.update(Update::Alarms(Vec::new()));
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn screens_begin_with_what_is_wrong() {
    let mut app = App::new(Look::PLAIN, "leaf1".into(), "14:05".into());
    app.update(Update::Alarms(switch::alarms()));
    assert!(screen(&mut app).starts_with(" leaf1  [0 Now] 1 2 9 "), "{}", screen(&mut app));
    // Digits of screens that are not there yet do nothing.
    for key in "345678".chars() {
        press(&mut app, &[Key::Char(key)]);
        assert!(screen(&mut app).contains("[0 Now]"), "{key}");
    }
    press(&mut app, &[Key::BackTab]);
    assert!(screen(&mut app).contains("[9 Log]"));
    press(&mut app, &[Key::Tab]);
    assert!(screen(&mut app).contains("[0 Now]"));
}

#[test]
fn number_of_alarms_and_the_countdown_are_on_every_screen() {
    let mut app = app(Look::PLAIN);
    app.user = "ana".into();
    with_alarms(&mut app);
    waiting(&mut app);
    for keys in [&[Key::Char('0')][..], &[Key::Char('1')], &[Key::Enter], &[Key::Escape, Key::Char('9')]] {
        press(&mut app, keys);
        for (width, count) in
            [(80, "! 5 alarms   gen 13 UNCONFIRMED 1:43  14:05"), (30, "!5 gen 13 UNCONFIRMED 1:43")]
        {
            let header = text(&picture_of(&mut app, width, 24)).lines().next().unwrap().to_owned();
            assert!(header.ends_with(count), "{width}: {header}");
        }
    }
    // One that is degraded has an alarm for it.
    let status = Status { state: Health::Degraded, generation: 13, ..Status::default() };
    app.update(Update::Status(status));
    assert!(screen(&mut app).lines().next().unwrap().ends_with("! 5 alarms   gen 13  14:05"));
    app.update(Update::Alarms(switch::alarms()[..1].to_vec()));
    assert!(screen(&mut app).lines().next().unwrap().ends_with("! 1 alarm   gen 13  14:05"));
}

#[test]
fn alarm_is_read_in_full_and_found_by_a_text() {
    let mut app = app(Look::PLAIN);
    with_alarms(&mut app);
    press(&mut app, &[Key::Char('0'), Key::Down, Key::Enter]);
    let shown = screen(&mut app);
    for words in ["alarm in full", "10.0.7.9/24", "defends it", "duplicate-address", "show neighbours swp7"] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    press(&mut app, &[Key::Escape]);
    type_text(&mut app, "/vlan20");
    let shown = screen(&mut app);
    assert!(shown.contains("4711 addr") && !shown.contains("131072"), "{shown}");
    assert!(shown.contains("(alarms: 1 of 5)"), "{shown}");
    press(&mut app, &[Key::Escape]);
    // However many there are, the changes keep their place.
    let many = (0..100).map(|number| netd_api::alarm::Alarm {
        object: format!("swp{number}"),
        ..switch::alarms().remove(2)
    });
    app.update(Update::Alarms(many.collect()));
    let shown = screen(&mut app);
    assert!(shown.contains("(alarms: 15 of 100 in view)") && shown.contains("unconfirmed"), "{shown}");
    press(&mut app, &[Key::End]);
    assert!(screen(&mut app).contains("swp99"), "{}", screen(&mut app));
}

/// A change of ana's that waits for its confirmation, until second 1103; it is second 1000.
fn waiting(app: &mut App) {
    app.now_s = 1000;
    app.update(Update::Status(Status {
        state: Health::Unconfirmed,
        generation: 13,
        confirm_by_s: 1103,
        user: "ana".into(),
        role: "admin".into(),
        ..Status::default()
    }));
}

fn row(generation: u64, state: State, reason: &str, time_s: u64) -> Generation {
    Generation { generation, state, reason: reason.into(), time_s, ..Generation::default() }
}

#[test]
fn countdown_is_on_every_screen_and_at_every_size() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    let everything: &[&[Key]] = &[
        &[],
        &[Key::Char('0')],
        &[Key::Char('2')],
        &[Key::Char('9')],
        &[Key::Char('?')],
        &[Key::Escape, Key::Char('1'), Key::Enter],
        &[Key::Escape, Key::Char(':')],
    ];
    for keys in everything {
        press(&mut app, keys);
        for (width, height) in [(80, 24), (132, 43), (40, 12), (20, 8)] {
            let shown = text(&picture_of(&mut app, width, height));
            assert!(shown.lines().next().unwrap().contains("UNCONFIRMED 1:43"), "{width}x{height}:\n{shown}");
        }
    }
    press(&mut app, &[Key::Escape]);
    command(&mut app, "apply -");
    assert!(screen(&mut app).contains("UNCONFIRMED 1:43"), "{}", screen(&mut app));
    app.now_s += 100;
    assert!(screen(&mut app).contains("UNCONFIRMED 0:03"), "{}", screen(&mut app));
}

#[test]
fn change_that_waits_is_a_banner_over_the_screen() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn what_a_change_cost_is_under_its_banner_on_every_screen() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    app.update(Update::Comparison(comparison()));
    insta::assert_snapshot!(screen(&mut app));
    press(&mut app, &[Key::Char('3')]);
    assert!(screen(&mut app).contains("lost    neighbour      vlan20 10.0.20.7"), "{}", screen(&mut app));
    // On a small screen less of it, and never the banner less.
    for (width, height) in [(80, 12), (40, 12), (40, 24)] {
        let shown = text(&picture_of(&mut app, width, height));
        assert!(shown.contains("not confirmed"), "{width}x{height}:\n{shown}");
    }
    // That of another change, or of one that ended, is not told.
    app.update(Update::Comparison(Comparison { generation: 12, ..comparison() }));
    assert!(!screen(&mut app).contains("vlan20"), "{}", screen(&mut app));
    app.update(Update::Comparison(comparison()));
    app.update(Update::Status(Status { generation: 13, role: "admin".into(), ..Status::default() }));
    assert!(!screen(&mut app).contains("vlan20"), "{}", screen(&mut app));
}

#[test]
fn change_that_confirms_itself_says_so() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    let kinds = Vec::new();
    app.update(Update::Comparison(Comparison { if_same: true, kinds, ..comparison() }));
    let shown = screen(&mut app);
    assert!(shown.contains("kept in 1:43 if nothing is lost then"), "{shown}");
    command(&mut app, "apply - --confirm 2m --if-same");
    paste(&mut app, "mine");
    press(&mut app, &[Key::Ctrl('d')]);
    app.reviewed(difference(13));
    let shown = screen(&mut app);
    assert!(shown.contains("a apply for 2 min, kept if nothing is lost  g apply for good"), "{shown}");
    let Some(Effect::Apply(_, change)) = app.press(Key::Char('a')) else { panic!("not applied") };
    assert_eq!(change.confirm, Confirm::IfSame(120));
}

#[test]
fn change_that_ran_out_says_so_until_a_key_that_saw_it() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    let back = || Update::Status(Status { generation: 12, role: "admin".into(), ..Status::default() });
    app.update(back());
    // A key that was pressed before it was on the screen has not seen it.
    press(&mut app, &[Key::Down]);
    app.update(Update::Generations(vec![
        row(13, State::RolledBack, "not confirmed in time", 900),
        row(12, State::Running, "", 100),
    ]));
    let shown = screen(&mut app);
    assert!(shown.lines().next().unwrap().contains("gen 13 TAKEN BACK  gen 12  14:05"), "{shown}");
    assert!(
        shown.contains("! Generation 13 was TAKEN BACK (not confirmed in time): generation 12 runs."),
        "{shown}"
    );
    press(&mut app, &[Key::Down]);
    assert!(!screen(&mut app).contains("TAKEN BACK"), "{}", screen(&mut app));
    // A confirmation is no end of that kind.
    waiting(&mut app);
    app.update(Update::Status(Status { generation: 13, ..Status::default() }));
    assert!(!screen(&mut app).contains("TAKEN BACK"), "{}", screen(&mut app));
}

#[test]
fn who_logs_in_after_a_change_ran_out_is_told() {
    for (age_s, told) in [(60, true), (100_000, false)] {
        let mut app = app(Look::PLAIN);
        app.now_s = 200_000;
        app.generations.clear();
        app.update(Update::Generations(vec![
            row(13, State::RolledBack, "not confirmed in time", 200_000 - age_s),
            row(12, State::Running, "", 1),
        ]));
        assert_eq!(screen(&mut app).contains("gen 13 TAKEN BACK"), told, "{age_s}");
    }
}

#[test]
fn leaving_is_asked_while_something_would_be_lost() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    for leave in ["q", ":exit\n", ":quit\n"] {
        let last = leave.chars().map(|c| app.press(if c == '\n' { Key::Enter } else { Key::Char(c) })).last();
        assert_eq!(last.flatten(), None, "{leave}");
        let shown = screen(&mut app);
        assert!(shown.contains("Generation 13 is not confirmed, 1:43 left. Leave? y leave"), "{shown}");
        assert_eq!(app.press(Key::Char('n')), None);
        assert!(screen(&mut app).contains("q log out"));
    }
    app.press(Key::Char('q'));
    assert_eq!(app.press(Key::Char('y')), Some(Effect::Quit));
    // A text that was typed would be lost too.
    app.update(Update::Status(Status { generation: 13, ..Status::default() }));
    command(&mut app, "apply -");
    paste(&mut app, "mine");
    press(&mut app, &[Key::Escape, Key::Escape]);
    assert_eq!(app.press(Key::Char('q')), None);
    assert!(screen(&mut app).contains("A text is not applied. Leave?"), "{}", screen(&mut app));
}

#[test]
fn commands_are_taken_on_every_screen() {
    let mut app = app(Look::PLAIN);
    waiting(&mut app);
    let confirm = |app: &mut App, place: &str| {
        assert_eq!(command(app, "confirm"), Some(Effect::Run("confirm".into())), "{place}:\n{}", screen(app));
        app.finished("confirm", Outcome::done("confirmed".into()));
        press(app, &[Key::Escape]);
    };
    confirm(&mut app, "ports");
    press(&mut app, &[Key::Enter]);
    confirm(&mut app, "a port in full");
    press(&mut app, &[Key::Char('?')]);
    confirm(&mut app, "the keys");
    command(&mut app, "show fdb");
    app.finished("show fdb", Outcome::done("an entry".into()));
    confirm(&mut app, "an output");
    command(&mut app, "apply -");
    paste(&mut app, "mine");
    press(&mut app, &[Key::Escape]);
    let shown = screen(&mut app);
    assert!(shown.contains("This text was not applied.") && shown.contains("taken back in 1:43"), "{shown}");
    confirm(&mut app, "the editor's last page");
    command(&mut app, "edit");
    press(&mut app, &[Key::Ctrl('d')]);
    app.reviewed(difference(13));
    confirm(&mut app, "the comparison");
    // They wait for no other command either.
    command(&mut app, "show routes");
    confirm(&mut app, "a command is running");
    assert_eq!(app.running.as_deref(), Some("show routes"));
}

#[test]
fn keys_of_the_comparison_do_not_depend_on_caps_lock() {
    for (key, confirm) in [
        ('a', Confirm::Within(120)),
        ('A', Confirm::Within(120)),
        ('g', Confirm::Unsaid),
        ('G', Confirm::Unsaid),
    ] {
        let mut app = app(Look::PLAIN);
        command(&mut app, "apply -");
        paste(&mut app, "mine");
        press(&mut app, &[Key::Ctrl('d')]);
        app.reviewed(difference(12));
        assert!(screen(&mut app).contains("a apply, taken back in 2 min unless confirmed  g apply for good"));
        let Some(Effect::Apply(_, change)) = app.press(Key::Char(key)) else {
            panic!("{}", screen(&mut app))
        };
        assert_eq!(change.confirm, confirm, "{key}");
    }
}

#[test]
fn roll_back_is_compared_before_it_is_made() {
    let mut app = app(Look::PLAIN);
    let Some(Effect::ReviewRollBack(request)) = command(&mut app, "rollback -1") else { panic!("no review") };
    assert_eq!(request, RollBack::new(Some(Target::Back(1)), Confirm::Unsaid, false, None));
    let found = RollBack { generation: 11, ..request };
    let compared =
        || RollBackReview::Compared { text: "1 step on the network:\n".into(), request: found.clone() };
    app.reviewed_roll_back(compared());
    let shown = screen(&mut app);
    assert!(shown.contains("What going back to generation 11 changes"), "{shown}");
    assert!(shown.contains("a apply, taken back in 2 min unless confirmed"), "{shown}");
    assert_eq!(press(&mut app, &[Key::Escape]), None);
    assert!(screen(&mut app).contains("RX b/s"));
    command(&mut app, "rollback -1");
    app.reviewed_roll_back(compared());
    assert_eq!(press(&mut app, &[Key::Char('a')]), Some(Effect::RollBack(found.clone())));
    app.finished("rollback 11", Outcome::done("applied".into()));
    command(&mut app, "rollback -1");
    app.reviewed_roll_back(compared());
    let for_good = RollBack { timeout_s: 0, ..found.clone() };
    assert_eq!(press(&mut app, &[Key::Char('g')]), Some(Effect::RollBack(for_good)));
    app.finished("rollback 11", Outcome::done("applied".into()));
    // What waits is taken back at once: there is nothing to compare.
    command(&mut app, "rollback");
    let words = "Generation 13 is taken back: generation 12 runs again.";
    app.reviewed_roll_back(RollBackReview::Over(Outcome::done(words.into())));
    assert!(screen(&mut app).contains(words));
    assert_eq!(app.running, None);
}

#[test]
fn viewer_is_told_before_typing_that_nothing_can_be_applied() {
    let mut app = app(Look::PLAIN);
    app.user = "vic".into();
    app.update(Update::Status(Status { generation: 12, role: "view".into(), ..Status::default() }));
    assert!(screen(&mut app).starts_with(" vic@leaf1 view"), "{}", screen(&mut app));
    assert_eq!(command(&mut app, "edit"), Some(Effect::Load));
    app.loaded(Ok(("version = 1\n".into(), 12)));
    assert!(screen(&mut app).contains("role view: nothing can be applied"), "{}", screen(&mut app));
    press(&mut app, &[Key::Ctrl('d')]);
    app.reviewed(difference(12));
    assert_eq!(press(&mut app, &[Key::Char('a')]), None);
    assert!(!screen(&mut app).contains("a apply"), "{}", screen(&mut app));
    press(&mut app, &[Key::Escape, Key::Escape, Key::Escape]);
    command(&mut app, "edit");
    assert!(app.editor.as_ref().unwrap().look_only);
}

#[test]
fn log_opens_at_its_end() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('9')]);
    app.journal(News::Begin);
    for number in 1..=60 {
        app.journal(entry(6, "netd", &format!("message {number} {}", "word ".repeat(20))));
    }
    screen(&mut app);
    press(&mut app, &[Key::Enter]);
    assert!(screen(&mut app).contains("message 60"), "{}", screen(&mut app));
    press(&mut app, &[Key::Escape]);
    command(&mut app, "log");
    let lines: Vec<String> = (1..=100).map(|number| format!("line {number}")).collect();
    app.finished("log", Outcome::done(lines.join("\n")));
    let shown = screen(&mut app);
    assert!(shown.contains("line 100") && !shown.contains("line 1\n"), "{shown}");
}

#[test]
fn text_is_found_in_outputs_and_in_the_editor() {
    let mut app = app(Look::PLAIN);
    command(&mut app, "show routes");
    let lines: Vec<String> = (1..=100).map(|number| format!("10.0.{number}.0/24")).collect();
    app.finished("show routes", Outcome::done(lines.join("\n")));
    type_text(&mut app, "/10.0.77");
    press(&mut app, &[Key::Enter]);
    let shown = screen(&mut app);
    assert!(shown.contains("10.0.77.0/24") && shown.contains("\"10.0.77\" 1 of 1"), "{shown}");
    press(&mut app, &[Key::Escape]);
    command(&mut app, "edit");
    app.loaded(Ok(("version = 1\n[ports.swp7]\n".into(), 12)));
    press(&mut app, &[Key::Ctrl('f')]);
    type_text(&mut app, "SWP7");
    press(&mut app, &[Key::Enter]);
    assert!(screen(&mut app).contains("(line 2, column 8)"), "{}", screen(&mut app));
}

#[test]
fn port_in_full_has_discards_of_its_own_alone() {
    let mut app = app(Look::PLAIN);
    assert_eq!(app.port_in_full(), None, "nobody asks for discards of a table");
    press(&mut app, &[Key::Enter]);
    assert_eq!(app.port_in_full().as_deref(), Some("swp1"));
    let row = |reason: &str, frames: Option<u64>| Discard {
        port: "swp1".into(),
        direction: "in".into(),
        reason: reason.into(),
        frames,
        counted_by: frames.map(|_| "kernel".into()),
    };
    let rows = vec![row("vlan", None), row("other", Some(4711))];
    app.update(Update::Discards("swp1".into(), rows));
    let whole = |app: &mut App| text(&picture_of(app, 80, 43));
    let shown = whole(&mut app);
    let lines: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("DISCARDED")).collect();
    assert!(lines[1].contains("VLAN not on the port") && lines[1].contains("not counted"), "{shown}");
    assert!(lines[2].contains("4711") && lines[2].ends_with("kernel"), "{shown}");
    // On a small terminal one scrolls to them.
    assert!(!screen(&mut app).contains("4711"));
    press(&mut app, &[Key::PageDown]);
    assert!(screen(&mut app).contains("4711"), "{}", screen(&mut app));
    press(&mut app, &[Key::Down]);
    assert_eq!(app.port_in_full().as_deref(), Some("swp2"));
    assert!(!whole(&mut app).contains("DISCARDED"), "{}", whole(&mut app));
}

#[test]
fn port_in_full_scrolls_on_a_small_screen() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Enter]);
    let small = |app: &mut App| text(&picture_of(app, 40, 12));
    assert!(small(&mut app).contains("Port           swp1"), "{}", small(&mut app));
    press(&mut app, &[Key::End]);
    assert!(small(&mut app).contains("Dropped"), "{}", small(&mut app));
    press(&mut app, &[Key::Down]);
    assert!(small(&mut app).contains("Port           swp2"), "{}", small(&mut app));
}

#[test]
fn errors_and_drops_have_columns_on_a_wide_screen() {
    let mut app = app(Look::PLAIN);
    assert!(!screen(&mut app).contains("DROPS"));
    let wide = text(&picture_of(&mut app, 132, 43));
    assert!(wide.contains("ERRORS  DROPS"), "{wide}");
}

#[test]
fn session_of_a_user_who_is_none_any_more_is_over() {
    let mut app = app(Look::PLAIN);
    app.update(Update::Denied("only users of the switch may look".into()));
    assert_eq!(app.denied.as_deref(), Some("only users of the switch may look"));
    // Who was never let in sees why.
    let mut app = App::new(Look::PLAIN, "leaf1".into(), "14:05".into());
    app.update(Update::Denied("no such user".into()));
    assert_eq!(app.denied, None);
    assert!(screen(&mut app).contains("! not allowed: no such user"), "{}", screen(&mut app));
}

#[test]
fn refused_command_is_told_in_its_words() {
    let mut app = app(Look::PLAIN);
    command(&mut app, "confirm");
    app.finished("confirm", Outcome::failed(Exit::Refused, "corten: nothing waits\n".into()));
    assert!(screen(&mut app).contains("corten: nothing waits"));
}

#[test]
fn ports_in_colour() {
    insta::assert_snapshot!(styled(&picture_of(&mut app(COLOUR), 80, 24)));
}

#[test]
fn one_port_in_full() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Down, Key::Enter]);
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn vlans_with_the_whole_forwarding_database() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('2')]);
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn the_forwarding_database_of_one_vlan_in_colour() {
    let mut app = app(COLOUR);
    press(&mut app, &[Key::Tab, Key::Down, Key::Down, Key::Down]);
    insta::assert_snapshot!(styled(&picture_of(&mut app, 80, 24)));
}

fn entry(priority: u8, source: &str, message: &str) -> News {
    News::Entry(Entry {
        time: "May 02 14:05:09".into(),
        source: source.into(),
        priority,
        message: message.into(),
    })
}

#[test]
fn log_in_mono_and_colour() {
    for (name, look) in [("log_mono", Look::PLAIN), ("log_colour", COLOUR)] {
        let mut app = app(look);
        press(&mut app, &[Key::Char('9')]);
        app.journal(News::Begin);
        app.journal(entry(
            6,
            "kernel",
            "bridge: filtering via arp/ip/ip6tables is no longer available by default",
        ));
        app.journal(entry(4, "netd", "port swp3: link down"));
        app.journal(entry(
            3,
            "netd",
            "route 2001:db8:ffff::/48: the kernel refused it: Network is unreachable, Zürich",
        ));
        app.journal(entry(7, "netd-a-very-long-name", "debug \x1b[2J"));
        insta::assert_snapshot!(name, styled(&picture_of(&mut app, 80, 24)));
    }
}

#[test]
fn log_without_access_says_so() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('9')]);
    app.journal(News::Unreadable("No journal files were opened due to insufficient permissions.".into()));
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn empty_log_says_so_until_a_message_passes() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('9')]);
    app.journal(News::Begin);
    let second = |app: &mut App| screen(app).lines().nth(3).unwrap_or_default().to_owned();
    assert_eq!(second(&mut app), "No messages.", "{}", screen(&mut app));
    app.journal(entry(6, "netd", "configuration applied"));
    assert!(!screen(&mut app).contains("No messages."), "{}", screen(&mut app));
    // Of those that are warnings there are still none.
    app.log.next_severity();
    assert!(screen(&mut app).contains("No messages."), "{}", screen(&mut app));
}

#[test]
fn keys_are_listed() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Char('?')]);
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn netd_away_is_a_banner_over_what_was_known() {
    let mut app = app(Look::PLAIN);
    app.update(Update::Away("netd is not reachable: it is not running".into()));
    app.clock = "14:09".into();
    app.update(Update::Away("netd is not reachable: it does not answer".into()));
    insta::assert_snapshot!(screen(&mut app));
    app.update(Update::Ports(Instant::now(), switch::ports()));
    assert!(!screen(&mut app).contains("No news since"));
}

#[test]
fn before_netd_answers_the_screens_say_so() {
    let mut app = App::new(Look::PLAIN, "leaf1".into(), "14:05".into());
    insta::assert_snapshot!(screen(&mut app));
}

#[test]
fn a_command_line_completes_and_lists() {
    let mut app = app(Look::PLAIN);
    type_text(&mut app, ":show ports s");
    press(&mut app, &[Key::Tab, Key::Tab]);
    insta::assert_snapshot!(screen(&mut app));
    let cursor = draw(&mut app, Rect::new(0, 0, 80, 24)).1.unwrap();
    assert_eq!((cursor.x, cursor.y), (":show ports swp".len() as u16, 23));
}

#[test]
fn a_command_runs_and_its_output_scrolls() {
    let mut app = app(Look::PLAIN);
    type_text(&mut app, ":show fdb");
    assert_eq!(press(&mut app, &[Key::Enter]), Some(Effect::Run("show fdb".into())));
    assert!(screen(&mut app).contains("running: show fdb"));
    let lines: Vec<String> = (1..=100).map(|number| format!("line {number} \x1b[2J")).collect();
    app.finished("show fdb", Outcome::done(lines.join("\n")));
    screen(&mut app);
    press(&mut app, &[Key::PageDown, Key::Down]);
    insta::assert_snapshot!(screen(&mut app));
    press(&mut app, &[Key::End]);
    assert!(screen(&mut app).contains("line 100"));
    press(&mut app, &[Key::Escape]);
    assert!(screen(&mut app).contains("RX b/s"), "{}", screen(&mut app));
}

/// Types a command.
fn command(app: &mut App, line: &str) -> Option<Effect> {
    type_text(app, &format!(":{line}"));
    app.press(Key::Enter)
}

/// Pastes lines; none of them may do anything but become text, or nothing.
fn paste(app: &mut App, lines: &str) {
    app.pasted = true;
    for c in lines.chars() {
        let key = if c == '\n' { Key::Enter } else { Key::Char(c) };
        assert_eq!(app.press(key), None, "{lines}");
    }
    app.pasted = false;
}

const PASTED: &str = "version = 1\n:rollback\n:quit\nqaA";

fn difference(generation: u64) -> Review {
    Review::Difference { text: "+line\n".into(), generation }
}

#[test]
fn a_paste_that_finds_no_editor_runs_no_command() {
    let mut app = app(Look::PLAIN);
    command(&mut app, "show fdb");
    for opens in ["apply -", "edit"] {
        assert_eq!(command(&mut app, opens), None);
        assert!(screen(&mut app).contains("still running"));
        paste(&mut app, PASTED);
        press(&mut app, &[Key::Escape]);
    }
    command(&mut app, "apply -");
    // The outcome comes amid the paste.
    paste(&mut app, PASTED);
    app.finished("show fdb", Outcome::done("an entry".into()));
    paste(&mut app, PASTED);
    assert!(screen(&mut app).contains("an entry"));
    press(&mut app, &[Key::Escape]);
    command(&mut app, "apply -");
    // It is left before the paste has ended.
    paste(&mut app, PASTED);
    press(&mut app, &[Key::Ctrl('c')]);
    paste(&mut app, PASTED);
    assert!(screen(&mut app).contains("It is kept until you leave"), "{}", screen(&mut app));
    assert_eq!(app.editor.as_ref().unwrap().document(), PASTED);
}

#[test]
fn the_editor_opens_with_no_command_line_half_typed() {
    let mut app = app(Look::PLAIN);
    assert_eq!(command(&mut app, "edit"), Some(Effect::Load));
    type_text(&mut app, ":show f");
    app.loaded(Ok(("version = 1\n".into(), 12)));
    paste(&mut app, "db\n");
    assert_eq!(app.editor.as_ref().unwrap().document(), "db\nversion = 1\n");
}

#[test]
fn document_that_is_too_long_for_the_editor_is_not_opened() {
    let mut app = app(Look::PLAIN);
    let longest = "#".repeat(1024 * 1024);
    command(&mut app, "edit");
    app.loaded(Ok((format!("{longest}#"), 12)));
    let shown = screen(&mut app);
    assert!(
        shown.contains("has 1025 KiB") && shown.contains("ssh ana@switch config > switch.toml"),
        "{shown}"
    );
    assert!(app.editor.is_none());
    // What is typed for the editor is no command.
    paste(&mut app, PASTED);
    press(&mut app, &[Key::Escape]);
    command(&mut app, "edit");
    app.loaded(Ok((longest, 12)));
    assert!(app.editor.is_some());
}

#[test]
fn a_text_that_was_not_applied_is_discarded_only_when_told() {
    let mut app = app(Look::PLAIN);
    command(&mut app, "apply - --comment one");
    paste(&mut app, "mine");
    press(&mut app, &[Key::Escape, Key::Escape]);
    for line in ["apply -", "check -", "diff - "] {
        assert_eq!(command(&mut app, line), None);
        assert!(screen(&mut app).contains("A text that was not applied is kept"), "{}", screen(&mut app));
        paste(&mut app, PASTED);
        press(&mut app, &[Key::Escape]);
        assert_eq!(app.editor.as_ref().unwrap().document(), "mine", "{line}");
    }
    command(&mut app, "edit --comment two");
    assert_eq!(app.editor.as_ref().unwrap().change.comment.as_deref(), Some("two"));
    press(&mut app, &[Key::Escape, Key::Escape]);
    command(&mut app, "edit");
    assert_eq!(app.editor.as_ref().unwrap().change.comment.as_deref(), Some("two"));
    press(&mut app, &[Key::Escape, Key::Escape]);
    command(&mut app, "apply - --anew");
    assert_eq!(app.editor.as_ref().unwrap().document(), "");
    // What is as it was when the editor opened is nobody's work.
    press(&mut app, &[Key::Escape, Key::Escape]);
    assert_eq!(command(&mut app, "edit --anew"), Some(Effect::Load));
    app.loaded(Ok(("version = 1\n".into(), 12)));
    press(&mut app, &[Key::Escape, Key::Escape]);
    command(&mut app, "check -");
    assert!(app.editor.as_ref().unwrap().look_only);
}

#[test]
fn what_is_only_checked_is_not_offered_for_applying() {
    for line in ["check -", "diff -"] {
        let mut app = app(Look::PLAIN);
        command(&mut app, line);
        paste(&mut app, "mine");
        assert!(matches!(press(&mut app, &[Key::Ctrl('d')]), Some(Effect::Review(_))));
        app.reviewed(difference(12));
        assert!(!screen(&mut app).contains("apply,"), "{}", screen(&mut app));
        paste(&mut app, "aA");
        press(&mut app, &[Key::Escape, Key::Escape, Key::Escape]);
        command(&mut app, "edit");
        press(&mut app, &[Key::Ctrl('d')]);
        app.reviewed(difference(13));
        assert!(screen(&mut app).contains("g apply for good"));
        let Some(Effect::Apply(text, change)) = press(&mut app, &[Key::Char('g')]) else {
            panic!("{}", screen(&mut app))
        };
        assert_eq!((text.as_str(), change.base), ("mine", Base::Is(13)));
    }
}

#[test]
fn a_text_being_checked_or_applied_can_be_left_and_its_outcome_is_told() {
    let mut app = app(Look::PLAIN);
    command(&mut app, "apply -");
    paste(&mut app, "mine");
    let leave = |app: &mut App| {
        assert!(screen(app).contains("working ...  Esc leave"), "{}", screen(app));
        paste(app, PASTED);
        press(app, &[Key::Ctrl('c')]);
        assert!(screen(app).contains("still being checked or applied"));
        press(app, &[Key::Escape]);
        assert!(screen(app).contains("RX b/s"));
        assert_eq!(command(app, "apply - --anew"), None);
        assert!(screen(app).contains("still being checked"));
        press(app, &[Key::Escape]);
    };
    press(&mut app, &[Key::Ctrl('d')]);
    leave(&mut app);
    app.reviewed(Review::Failed("netd is not reachable".into()));
    assert!(screen(&mut app).contains("netd is not reachable\n`:edit` goes on"), "{}", screen(&mut app));
    press(&mut app, &[Key::Escape]);
    command(&mut app, "edit");
    assert_eq!(app.editor.as_ref().unwrap().document(), "mine");
    press(&mut app, &[Key::Ctrl('d')]);
    app.reviewed(difference(12));
    assert!(matches!(press(&mut app, &[Key::Char('a')]), Some(Effect::Apply(..))));
    leave(&mut app);
    // The command that is running keeps its name.
    command(&mut app, "show fdb");
    app.applied(Applied::Done(Outcome::done("applied as generation 13".into())));
    assert!(screen(&mut app).contains("applied as generation 13"));
    assert_eq!((app.running.as_deref(), app.editor.is_none()), (Some("show fdb"), true));
}

#[test]
fn a_filter_narrows_while_it_is_typed() {
    let mut app = app(Look::PLAIN);
    type_text(&mut app, "/UPLINK");
    let shown = screen(&mut app);
    assert!(shown.contains("swp2") && !shown.contains("swp3"), "{shown}");
    press(&mut app, &[Key::Enter]);
    assert!(screen(&mut app).contains("only \"UPLINK\""));
    press(&mut app, &[Key::Escape]);
    assert!(screen(&mut app).contains("swp3"));
    type_text(&mut app, "/nothing has this");
    assert!(screen(&mut app).contains("No port contains this text"));
}

#[test]
fn a_link_that_goes_down_shows() {
    let mut app = app(Look::PLAIN);
    assert!(screen(&mut app).lines().any(|line| line.contains("swp1") && line.contains("up/up")));
    let mut ports = switch::ports();
    ports[0].oper_state = "down".into();
    app.update(Update::Ports(Instant::now(), ports));
    assert!(screen(&mut app).lines().any(|line| line.contains("swp1") && line.contains("up/down")));
}

#[test]
fn the_selection_stays_on_its_port() {
    let mut app = app(Look::PLAIN);
    press(&mut app, &[Key::Down, Key::Down]);
    let mut ports = switch::ports();
    ports.remove(0);
    app.update(Update::Ports(Instant::now(), ports));
    assert_eq!(app.ports.selected().unwrap().0.name, "swp3");
}

#[test]
fn nothing_new_is_the_same_picture() {
    let mut app = app(Look::PLAIN);
    app.update(Update::Ports(Instant::now(), switch::ports()));
    app.update(Update::Ports(Instant::now() + Duration::from_secs(1), switch::ports()));
    let first = picture_of(&mut app, 80, 24);
    app.update(Update::Ports(Instant::now() + Duration::from_secs(2), switch::ports()));
    app.update(Update::Status(Status { generation: 12, ..Status::default() }));
    assert_eq!(first, picture_of(&mut app, 80, 24));
}

#[test]
fn q_leaves_the_screens_but_only_closes_what_lies_over_them() {
    let mut app = app(Look::PLAIN);
    assert_eq!(press(&mut app, &[Key::Enter, Key::Char('q')]), None);
    assert_eq!(press(&mut app, &[Key::Char('q')]), Some(Effect::Quit));
    type_text(&mut app, ":quit");
    assert_eq!(press(&mut app, &[Key::Enter]), Some(Effect::Quit));
    assert_eq!(press(&mut app, &[Key::Ctrl('l')]), Some(Effect::Probe));
}

#[test]
fn every_size_can_be_drawn() {
    let everything: &[&[Key]] = &[
        &[],
        &[Key::Enter],
        &[Key::Escape, Key::Char('2')],
        &[Key::Char('9')],
        &[Key::Char('0')],
        &[Key::Enter],
        &[Key::Escape, Key::Char('?')],
        &[Key::Escape, Key::Char(':'), Key::Tab],
    ];
    for away in [false, true] {
        let mut app = app(COLOUR);
        with_alarms(&mut app);
        app.journal(News::Unreadable("no".repeat(100)));
        if away {
            app.update(Update::Away("gone".into()));
        }
        for keys in everything {
            press(&mut app, keys);
            for (width, height) in [(1, 1), (2, 2), (3, 3), (5, 4), (10, 5), (20, 8), (79, 23), (200, 60)] {
                picture_of(&mut app, width, height);
            }
        }
    }
}
