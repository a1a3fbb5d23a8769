//! The first line: who and where, the screens, how many alarms there are, what runs, the time.
//!
//! What matters most is at the right and is never left out for the rest: on a narrow terminal the names go first.

use netd_api::generation::Health;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{bar, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Link, Screen};

/// Columns of host, user and role together, at most.
const MAX_WHO_COLUMNS: usize = 26;

/// Draws the header.
pub fn draw(app: &mut App, area: Rect, picture: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    bar(picture, area, app.look);
    let style = app.look.style(Tone::Bar);
    let columns = usize::from(area.width);
    let rights = right_sides(app);
    let right = rights.iter().find(|right| text::width(right) <= columns).or(rights.last());
    let right = right.cloned().unwrap_or_default();
    let room = columns.saturating_sub(text::width(&right));
    let left = left_sides(app).into_iter().find(|left| text::width(left) <= room).unwrap_or_default();
    write(picture, area, &left, style);
    let place = Rect { x: area.x + u16::try_from(room).unwrap_or(0), ..area }.intersection(area);
    write(picture, place, &right, style);
    if let Some(taken_back) = &mut app.taken_back {
        taken_back.shown = true;
    }
}

/// From the widest to the narrowest.
fn left_sides(app: &App) -> [String; 4] {
    let cut = app.look.cut_mark();
    let host = text::fit(&app.look.text(&app.host), 20, cut);
    let role = app.status.as_ref().map_or("", |status| status.role.as_str());
    let who = match (app.user.as_str(), role) {
        ("", _) => host.clone(),
        (user, "") => format!("{user}@{host}"),
        (user, role) => format!("{user}@{host} {role}"),
    };
    let who = text::fit(&app.look.text(&who), MAX_WHO_COLUMNS, cut);
    // The screens by their digits, the present one with its name.
    let screens = |named: bool| -> String {
        let one = |(screen, digit, name): (Screen, char, &str)| match screen == app.screen {
            true if named => format!(" [{digit} {name}]"),
            true => format!(" [{digit}]"),
            false => format!(" {digit}"),
        };
        Screen::ALL.into_iter().map(one).collect()
    };
    let (named, digits) = (screens(true), screens(false));
    [format!(" {who} {named}"), format!(" {host} {named}"), digits, String::new()]
}

/// From the widest to the narrowest.
fn right_sides(app: &App) -> [String; 5] {
    let netd = match app.link {
        Link::Connecting => "netd ...  ",
        Link::Up => "",
        Link::Away { .. } => "netd AWAY  ",
    };
    let (state, short) = state(app);
    let (alarms, count) = match app.now.count() {
        0 => (String::new(), String::new()),
        1 => ("! 1 alarm   ".to_owned(), "!1 ".to_owned()),
        count => (format!("! {count} alarms   "), format!("!{count} ")),
    };
    [
        format!("{netd}{alarms}{state}  {} ", app.clock),
        format!("{netd}{alarms}{state} "),
        format!("{count}{state} "),
        format!("{count}{short} "),
        format!("{short} "),
    ]
}

/// What runs and how that is doing, and the same where there is hardly room.
fn state(app: &App) -> (String, String) {
    let Some(status) = &app.status else { return (String::new(), String::new()) };
    let generation = status.generation;
    if let Some(taken_back) = &app.taken_back {
        let words = format!("gen {} TAKEN BACK", taken_back.generation);
        return (format!("{words}  gen {generation}"), words);
    }
    // What is degraded is an alarm, once alarms are known.
    let degraded = if status.state == Health::Degraded && app.now.count() == 0 { " DEGRADED" } else { "" };
    if let Some(left) = app.seconds_left() {
        let left = text::countdown(left);
        return (format!("gen {generation}{degraded} UNCONFIRMED {left}"), format!("UNCONFIRMED {left}"));
    }
    let words = format!("gen {generation}{degraded}");
    (words.clone(), words)
}
