//! What keys do on each screen and over it, and what becomes of a command that was typed.

use super::{App, Effect, Over, Page, Screen, scroll};
use crate::cli::{self, Command};
use crate::tables::alarms;
use crate::tui::keys::Key;
use crate::tui::list::List;
use crate::tui::prompt::{Asked, Prompt};

impl App {
    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Ctrl('l') {
            return Some(Effect::Probe);
        }
        self.taken_back.take_if(|taken_back| taken_back.shown);
        if self.leaving {
            return self.press_leaving(key);
        }
        if let Some(prompt) = self.prompt.take() {
            return self.press_in_prompt(prompt, key);
        }
        match &mut self.over {
            Over::Nothing => self.press_on_screen(key),
            Over::Port => {
                self.press_in_detail(key);
                None
            }
            Over::Help(page) => {
                match key {
                    Key::Char(':') => self.prompt = Some(Prompt::command()),
                    Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End => {
                        page.press(key, self.page);
                    }
                    _ => self.over = Over::Nothing,
                }
                None
            }
            Over::Output(page) => {
                match key {
                    Key::Escape | Key::Enter | Key::Char('q') | Key::Ctrl('c') => self.over = Over::Nothing,
                    Key::Char(':') => self.prompt = Some(Prompt::command()),
                    Key::Char('/') => self.begin_search(),
                    key => page.press(key, self.page),
                }
                None
            }
            Over::Notice(page) => {
                match key {
                    Key::Escape | Key::Ctrl('c') => self.over = Over::Nothing,
                    // A clock may be running: commands are taken here too, but none of a paste.
                    Key::Char(':') if !self.pasted => self.prompt = Some(Prompt::command()),
                    key => page.press(key, self.page),
                }
                None
            }
            Over::Review(_) if matches!(key, Key::Char(':')) && !self.pasted => {
                self.prompt = Some(Prompt::command());
                None
            }
            Over::Review(_) if matches!(key, Key::Char('/')) => {
                self.begin_search();
                None
            }
            Over::Editor if matches!(key, Key::Ctrl('f')) => {
                self.begin_search();
                None
            }
            Over::Review(_) if self.rollback.is_some() => self.press_in_rollback(key).flatten(),
            Over::Editor | Over::Review(_) => self.press_in_editor(key),
        }
    }

    fn press_on_screen(&mut self, key: Key) -> Option<Effect> {
        match key {
            Key::Char('q') => return self.leave(),
            Key::Char(digit @ '0'..='9') => self.screen = Screen::of_digit(digit).unwrap_or(self.screen),
            Key::Tab => self.screen = self.screen.step(1),
            Key::BackTab => self.screen = self.screen.step(Screen::ALL.len() - 1),
            Key::Char('?') => self.over = Over::Help(help()),
            Key::Char(':') => self.prompt = Some(Prompt::command()),
            Key::Char('/') => {
                // Another text is another filter, not a longer one.
                self.set_filter(String::new());
                self.prompt = Some(Prompt::filter(""));
            }
            Key::Char('p') if self.screen == Screen::Log => self.log.next_severity(),
            Key::Enter if self.screen == Screen::Log => self.read_log(),
            Key::Enter if self.screen == Screen::Now => self.read_alarm(),
            Key::Escape => self.set_filter(String::new()),
            Key::Enter if self.screen == Screen::Ports && self.ports.selected().is_some() => {
                self.detail_top = 0;
                self.over = Over::Port;
            }
            key => self.press_in_list(key),
        }
        None
    }

    /// In the port in full: arrows go to other ports, pages through its lines.
    fn press_in_detail(&mut self, key: Key) {
        match key {
            Key::Escape | Key::Enter | Key::Char('q') | Key::Ctrl('c') => self.over = Over::Nothing,
            Key::Char(':') => self.prompt = Some(Prompt::command()),
            Key::PageUp | Key::PageDown | Key::Home | Key::End => {
                let most = self.detail_lines.saturating_sub(self.page + 1);
                self.detail_top = scroll(self.detail_top, key, most, self.page);
            }
            key => {
                self.detail_top = 0;
                self.ports.press(key, self.page);
            }
        }
    }

    /// The messages in view and those around them, each in full. Whoever follows the log sees its end.
    fn read_log(&mut self) {
        let (lines, at) = self.log.in_full(self.columns, self.page);
        if !lines.is_empty() {
            let end = lines.len().saturating_sub(self.page);
            let top = if self.log.back == 0 { end } else { at.min(end) };
            let lines = lines.iter().map(|line| self.look.text(line)).collect();
            self.over = Over::Output(Page { top, ..Page::new("messages in full", lines) });
        }
    }

    /// The selected alarm in full.
    fn read_alarm(&mut self) {
        if let Some(alarm) = self.now.selected() {
            let lines = alarms::in_full(alarm, self.now_s, self.columns);
            let lines = lines.iter().map(|line| self.look.text(line)).collect();
            self.over = Over::Output(Page::new("alarm in full", lines));
        }
    }

    fn press_in_list(&mut self, key: Key) {
        match self.screen {
            Screen::Now => self.now.press(key, self.page / 2),
            Screen::Ports => {
                self.ports.press(key, self.page);
            }
            Screen::Vlans => {
                // Pages turn the longer table, the forwarding database.
                if matches!(key, Key::PageUp | Key::PageDown | Key::Home | Key::End) {
                    let rows = self.vlans.entries().len();
                    self.vlans.fdb_list.press(key, rows, self.page / 2);
                } else {
                    let rows = self.vlans.shown().len() + 1;
                    if self.vlans.list.press(key, rows, self.page / 2) {
                        self.vlans.fdb_list = List::default();
                    }
                }
            }
            Screen::Log => self.log.press(key, self.page),
        }
    }

    fn press_in_prompt(&mut self, mut prompt: Prompt, key: Key) -> Option<Effect> {
        match prompt.press(key, &self.history, || self.names()) {
            Asked::More => {
                if prompt.is_filter() {
                    self.set_filter(prompt.line.text());
                }
                self.prompt = Some(prompt);
                None
            }
            Asked::GivenUp => {
                if prompt.is_filter() {
                    self.set_filter(String::new());
                }
                None
            }
            Asked::Done if prompt.is_filter() => None,
            Asked::Done if prompt.is_search() => {
                self.search(&prompt.line.text());
                None
            }
            Asked::Done => self.command(prompt.line.text().trim()),
        }
    }

    /// Takes a command that was typed.
    fn command(&mut self, line: &str) -> Option<Effect> {
        if line.is_empty() {
            return None;
        }
        if self.history.last().is_none_or(|last| last != line) {
            self.history.push(line.to_owned());
            let surplus = self.history.len().saturating_sub(100);
            self.history.drain(..surplus);
        }
        if let Some(effect) = self.editing(line).or_else(|| self.rolling_back(line)) {
            return effect;
        }
        match line {
            "q" | "quit" | "exit" | "logout" => return self.leave(),
            "help" | "?" => self.over = Over::Help(help()),
            // A clock is running: these wait for no other command.
            _ if self.running.is_some() && is_urgent(line) => return Some(Effect::Run(line.to_owned())),
            _ if self.running.is_some() => {
                let lines = vec!["Another command is still running.".to_owned()];
                self.over = Over::Output(Page::new(line, lines));
            }
            _ => {
                self.running = Some(line.to_owned());
                return Some(Effect::Run(line.to_owned()));
            }
        }
        None
    }
}

/// Whether a command decides on what waits for its confirmation.
fn is_urgent(line: &str) -> bool {
    let words = crate::login::split(line).unwrap_or_default();
    matches!(
        cli::parse(&words).map(|cli| cli.command),
        Ok(Command::Confirm { .. } | Command::TakeBack { .. })
    )
}

fn help() -> Page {
    Page::new("Keys and commands", crate::tui::render::help_lines())
}
