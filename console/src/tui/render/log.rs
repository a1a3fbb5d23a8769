//! The log screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::App;
use crate::tui::log::Severity;

/// Draws the newest messages that fit, or those further back.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    let look = app.look;
    let entries = app.log.shown();
    let height = usize::from(area.height.saturating_sub(1));
    let back = app.log.back.min(entries.len().saturating_sub(height));
    let end = entries.len() - back;
    let which = match app.log.severity {
        Severity::All => "Messages of netd and the kernel",
        Severity::Warnings => "Warnings and errors of netd and the kernel",
        Severity::Errors => "Errors of netd and the kernel",
    };
    let title = match back {
        0 => which.to_owned(),
        back => format!("{which}, {back} newer below (End)"),
    };
    write(picture, line(area, 0), &title, look.style(Tone::Heading));
    for (index, entry) in entries[end.saturating_sub(height)..end].iter().enumerate() {
        let Ok(y) = u16::try_from(index + 1) else { break };
        let source = text::fit(&look.text(&entry.source), 8, look.cut_mark());
        let tone = match entry.priority {
            0..=3 => Tone::Bad,
            7 => Tone::Quiet,
            _ => Tone::Normal,
        };
        // Warnings and worse are marked for those who see no colours.
        let mark = if entry.priority <= 4 { '!' } else { ' ' };
        let text = format!("{} {source:8}{mark}{}", entry.time, look.text(&entry.message));
        let text =
            text::fit(&text::from_column(&text, app.log.left), usize::from(area.width), look.cut_mark());
        write(picture, line(area, y), &text, look.style(tone));
    }
    if let Some(why) = &app.log.unreadable {
        draw_unreadable(app, why, area, picture);
    } else if entries.is_empty() {
        write(picture, line(area, 2), "No messages.", look.style(Tone::Quiet));
    }
}

/// Says why there is no journal, in as many lines as that takes, at the foot.
fn draw_unreadable(app: &App, why: &str, area: Rect, picture: &mut Buffer) {
    let text = app.look.text(&format!("The journal cannot be read: {why}"));
    let columns = usize::from(area.width.max(1));
    let characters: Vec<char> = text.chars().collect();
    let lines: Vec<String> = characters.chunks(columns).take(4).map(|chunk| chunk.iter().collect()).collect();
    let count = u16::try_from(lines.len()).unwrap_or(0);
    for (y, text) in (area.height.saturating_sub(count)..).zip(lines) {
        let place = line(area, y);
        write(picture, place, &" ".repeat(columns), app.look.style(Tone::Bad));
        write(picture, place, &text, app.look.style(Tone::Bad));
    }
}
