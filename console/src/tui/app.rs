//! What the screens show and how keys change it. No input or output happens here.

mod editing;

use std::time::Instant;

use netd_api::generation::Status;
use netd_api::state::{FdbEntry, Vlan};

use super::editor::Editor;
use super::feed::Update;
use super::keys::Key;
use super::list::List;
use super::log::LogView;
use super::ports::PortsView;
use super::prompt::{Asked, Prompt};
use crate::commands::change::Change;
use crate::complete::Names;
use crate::journal::News;
use crate::look::Look;
use crate::outcome::{Exit, Outcome};
use crate::text;

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// Ports, live.
    #[default]
    Ports,
    /// VLANs, and the forwarding database of the selected one.
    Vlans,
    /// Messages of netd and the kernel.
    Log,
}

impl Screen {
    /// All of them, in the order of their keys.
    pub const ALL: [(Screen, &'static str); 3] =
        [(Screen::Ports, "1 Ports"), (Screen::Vlans, "2 VLANs"), (Screen::Log, "3 Log")];

    fn step(self, by: usize) -> Screen {
        let at = Screen::ALL.iter().position(|(screen, _)| *screen == self).unwrap_or(0);
        Screen::ALL[(at + by) % Screen::ALL.len()].0
    }
}

/// Whether netd answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Not known yet.
    #[default]
    Connecting,
    /// It does.
    Up,
    /// It does not.
    Away {
        /// Why.
        why: String,
        /// Since when, `14:05`.
        since: String,
    },
}

/// What lies over the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Nothing.
    #[default]
    Nothing,
    /// The selected port in full.
    Port,
    /// The keys.
    Help,
    /// Output of a command.
    Output(Page),
    /// Words in place of the editor. Only Escape leaves them: of a paste meant for the editor nothing may become a
    /// command.
    Notice(Page),
    /// The editor.
    Editor,
    /// What applying the text in the editor would change.
    Review(Page),
}

/// Lines to read, longer and wider than the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What they are.
    pub title: String,
    /// The lines.
    pub lines: Vec<String>,
    /// The first line in view.
    pub top: usize,
    /// The first column in view.
    pub left: usize,
}

impl Page {
    fn new(title: impl Into<String>, lines: Vec<String>) -> Page {
        Page { title: title.into(), lines, top: 0, left: 0 }
    }

    /// Takes a key that moves; `height` is how many lines are in view.
    fn press(&mut self, key: Key, height: usize) {
        let most = self.lines.len().saturating_sub(height);
        self.top = scroll(self.top, key, most, height);
        self.left = sideways(self.left, key);
    }
}

/// VLANs and the forwarding database.
#[derive(Debug, Default)]
pub struct VlansView {
    /// VLANs.
    pub vlans: Vec<Vlan>,
    /// Forwarding entries.
    pub fdb: Vec<FdbEntry>,
    /// Place among the VLANs; row 0 stands for all.
    pub list: List,
    /// Place in the forwarding database.
    pub fdb_list: List,
    /// What a line must contain to be shown.
    pub filter: String,
    /// Whether they were read at all.
    pub known: bool,
}

impl VlansView {
    /// The selected VLAN; `None` for all.
    pub fn selected(&self) -> Option<&Vlan> {
        self.list.selected.checked_sub(1).and_then(|index| self.vlans.get(index))
    }

    /// The forwarding entries of the selected VLAN that pass the filter; the switch's own only when they are
    /// asked for.
    pub fn entries(&self) -> Vec<&FdbEntry> {
        let id = self.selected().map(|vlan| vlan.id);
        let local = self.filter.eq_ignore_ascii_case("local");
        let wanted = |entry: &&FdbEntry| {
            id.is_none_or(|id| id == entry.vlan_id)
                && (local || entry.kind != "local")
                && super::contains(&self.filter, &[&entry.mac, &entry.port, &entry.kind])
        };
        self.fdb.iter().filter(wanted).collect()
    }
}

/// Something the outside has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Close the screens.
    Quit,
    /// Run a command.
    Run(String),
    /// Read the running document for the editor.
    Load,
    /// Look for mistakes in a text, and for what it would change.
    Review(String),
    /// Apply a text.
    Apply(String, Change),
    /// Ask for the terminal's size and paint everything anew.
    Probe,
}

/// Everything the screens show.
#[derive(Debug)]
pub struct App {
    /// What the terminal can show.
    pub look: Look,
    /// Host name.
    pub host: String,
    /// Local time, `14:05`.
    pub clock: String,
    /// Running generation and how it is doing, once known.
    pub status: Option<Status>,
    /// Generations that can be gone back to.
    pub generations: Vec<u64>,
    /// Kinds and names of the interfaces that are no ports.
    pub interfaces: Vec<(String, String)>,
    /// Whether netd answers.
    pub link: Link,
    /// The screen shown.
    pub screen: Screen,
    /// The ports.
    pub ports: PortsView,
    /// VLANs and forwarding database.
    pub vlans: VlansView,
    /// The log.
    pub log: LogView,
    /// What lies over the screen.
    pub over: Over,
    /// The line being typed.
    pub prompt: Option<Prompt>,
    /// Commands typed before, the newest last.
    pub history: Vec<String>,
    /// The document being typed, kept until it is applied.
    pub editor: Option<Editor>,
    /// What the history is to say about a document that is being loaded.
    comment: Option<String>,
    /// The command that is running.
    pub running: Option<String>,
    /// Lines of the screen's body, as last painted: what a page is.
    pub page: usize,
    /// Columns of the screen, as last painted.
    pub columns: usize,
}

impl App {
    /// Screens that know nothing yet.
    pub fn new(look: Look, host: String, clock: String) -> App {
        App {
            look,
            host,
            clock,
            status: None,
            generations: Vec::new(),
            interfaces: Vec::new(),
            link: Link::default(),
            screen: Screen::default(),
            ports: PortsView::default(),
            vlans: VlansView::default(),
            log: LogView::default(),
            over: Over::default(),
            prompt: None,
            history: Vec::new(),
            editor: None,
            comment: None,
            running: None,
            page: 20,
            columns: 80,
        }
    }

    /// Takes news from netd.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Away(why) => {
                let since = match &self.link {
                    Link::Away { since, .. } => since.clone(),
                    _ => self.clock.clone(),
                };
                self.link = Link::Away { why, since };
                self.ports.forget_rates();
                return;
            }
            Update::Status(status) => self.status = Some(status),
            Update::Generations(generations) => self.generations = generations,
            Update::Interfaces(interfaces) => self.interfaces = interfaces,
            Update::Ports(at, ports) => self.update_ports(at, ports),
            Update::Vlans(vlans, fdb) => {
                // The selection stays on its VLAN when others come and go.
                let id = self.vlans.selected().map(|vlan| vlan.id);
                self.vlans.vlans = vlans;
                self.vlans.fdb = fdb;
                self.vlans.known = true;
                let place = id.and_then(|id| self.vlans.vlans.iter().position(|vlan| vlan.id == id));
                self.vlans.list.selected = place.map_or(0, |index| index + 1);
            }
        }
        self.link = Link::Up;
    }

    fn update_ports(&mut self, at: Instant, ports: Vec<netd_api::state::Port>) {
        self.ports.update(at, ports);
        if self.over == Over::Port && self.ports.selected().is_none() {
            self.over = Over::Nothing;
        }
    }

    /// Takes news from the journal.
    pub fn journal(&mut self, news: News) {
        self.log.take(news);
    }

    /// Takes the outcome of a command.
    pub fn finished(&mut self, outcome: Outcome) {
        let title = self.running.take().unwrap_or_default();
        self.show_outcome(title, outcome);
    }

    fn show_outcome(&mut self, title: String, outcome: Outcome) {
        let mut text = outcome.out;
        text.push_str(&outcome.err);
        if text.is_empty() && outcome.exit == Exit::Done {
            text.push_str("done");
        }
        let lines = text.lines().map(|line| self.look.text(line)).collect();
        self.show(Page::new(title, lines));
    }

    fn show(&mut self, page: Page) {
        self.over = match self.over {
            Over::Notice(_) => Over::Notice(page),
            _ => Over::Output(page),
        };
    }

    fn notice(&mut self, title: &str, words: &str) {
        let lines = text::wrap(words, self.columns);
        self.over = Over::Notice(Page::new(title, lines));
    }

    /// Names for completion.
    pub fn names(&self) -> Names {
        Names {
            ports: self.ports.names(),
            vlans: self.vlans.vlans.iter().map(|vlan| vlan.id.to_string()).collect(),
            generations: self.generations.iter().map(u64::to_string).collect(),
            interfaces: self.interfaces.clone(),
        }
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Ctrl('l') {
            return Some(Effect::Probe);
        }
        if let Some(prompt) = self.prompt.take() {
            return self.press_in_prompt(prompt, key);
        }
        match &mut self.over {
            Over::Nothing => self.press_on_screen(key),
            Over::Port => {
                match key {
                    Key::Escape | Key::Enter | Key::Char('q') | Key::Ctrl('c') => self.over = Over::Nothing,
                    key => {
                        self.ports.press(key, self.page);
                    }
                }
                None
            }
            Over::Help => {
                self.over = Over::Nothing;
                None
            }
            Over::Output(page) => {
                match key {
                    Key::Escape | Key::Enter | Key::Char('q') | Key::Ctrl('c') => self.over = Over::Nothing,
                    Key::Char(':') => self.prompt = Some(Prompt::command()),
                    key => page.press(key, self.page),
                }
                None
            }
            Over::Notice(page) => {
                match key {
                    Key::Escape | Key::Ctrl('c') => self.over = Over::Nothing,
                    key => page.press(key, self.page),
                }
                None
            }
            Over::Editor | Over::Review(_) => self.press_in_editor(key),
        }
    }

    fn press_on_screen(&mut self, key: Key) -> Option<Effect> {
        match key {
            Key::Char('q') => return Some(Effect::Quit),
            Key::Char('1') => self.screen = Screen::Ports,
            Key::Char('2') => self.screen = Screen::Vlans,
            Key::Char('3') => self.screen = Screen::Log,
            Key::Tab => self.screen = self.screen.step(1),
            Key::BackTab => self.screen = self.screen.step(2),
            Key::Char('?') => self.over = Over::Help,
            Key::Char(':') => self.prompt = Some(Prompt::command()),
            Key::Char('/') => {
                // Another text is another filter, not a longer one.
                self.set_filter(String::new());
                self.prompt = Some(Prompt::filter(""));
            }
            Key::Char('p') if self.screen == Screen::Log => self.log.next_severity(),
            Key::Enter if self.screen == Screen::Log => self.read_log(),
            Key::Escape => self.set_filter(String::new()),
            Key::Enter if self.screen == Screen::Ports && self.ports.selected().is_some() => {
                self.over = Over::Port;
            }
            key => self.press_in_list(key),
        }
        None
    }

    /// The messages in view and those around them, each in full.
    fn read_log(&mut self) {
        let (lines, at) = self.log.in_full(self.columns, self.page);
        if !lines.is_empty() {
            let top = at.min(lines.len().saturating_sub(self.page));
            let lines = lines.iter().map(|line| self.look.text(line)).collect();
            self.over = Over::Output(Page { top, ..Page::new("messages in full", lines) });
        }
    }

    fn press_in_list(&mut self, key: Key) {
        match self.screen {
            Screen::Ports => {
                self.ports.press(key, self.page);
            }
            Screen::Vlans => {
                // Pages turn the longer table, the forwarding database.
                if matches!(key, Key::PageUp | Key::PageDown | Key::Home | Key::End) {
                    let rows = self.vlans.entries().len();
                    self.vlans.fdb_list.press(key, rows, self.page / 2);
                } else {
                    let rows = self.vlans.vlans.len() + 1;
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
        if let Some(effect) = self.editing(line) {
            return effect;
        }
        match line {
            "q" | "quit" | "exit" | "logout" => return Some(Effect::Quit),
            "help" | "?" => self.over = Over::Help,
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

    /// The filter of the screen shown.
    pub fn filter(&self) -> &str {
        match self.screen {
            Screen::Ports => &self.ports.filter,
            Screen::Vlans => &self.vlans.filter,
            Screen::Log => &self.log.filter,
        }
    }

    fn set_filter(&mut self, filter: String) {
        match self.screen {
            Screen::Ports => self.ports.set_filter(filter),
            Screen::Vlans => self.vlans.filter = filter,
            Screen::Log => self.log.filter = filter,
        }
    }
}

/// Columns one moves sideways.
const SIDE_STEP: usize = 20;

/// The first column in view after a key.
pub fn sideways(left: usize, key: Key) -> usize {
    match key {
        Key::Left => left.saturating_sub(SIDE_STEP),
        // Nothing is longer than this.
        Key::Right => (left + SIDE_STEP).min(4000),
        _ => left,
    }
}

/// The first line in view after a key.
fn scroll(top: usize, key: Key, most: usize, page: usize) -> usize {
    let top = match key {
        Key::Up | Key::Char('k') => top.saturating_sub(1),
        Key::Down | Key::Char('j') => top.saturating_add(1),
        Key::PageUp => top.saturating_sub(page),
        Key::PageDown | Key::Char(' ') => top.saturating_add(page),
        Key::Home => 0,
        Key::End => most,
        _ => top,
    };
    top.min(most)
}
