//! What the screens show and how keys change it. No input or output happens here.

mod editing;
mod page;
mod pending;
mod press;
mod rollback;
mod search;

use std::time::Instant;

use netd_api::comparison::Comparison;
use netd_api::generation::Status;
use netd_api::state::Discard;

use super::editor::Editor;
use super::feed::Update;
use super::keys::Key;
use super::log::LogView;
use super::now::NowView;
use super::ports::PortsView;
use super::prompt::Prompt;
use super::recent;
use super::vlans::VlansView;
use crate::cli::{self, Command, Show};
use crate::commands::change::{Change, RollBack};
use crate::complete::Names;
use crate::journal::News;
use crate::look::Look;
use crate::outcome::{Exit, Outcome};
use crate::text;

pub use page::Page;
pub use pending::TakenBack;

/// The screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// What is wrong, and the last changes.
    #[default]
    Now,
    /// Ports, live.
    Ports,
    /// VLANs, and the forwarding database of the selected one.
    Vlans,
    /// Messages of netd and the kernel.
    Log,
}

impl Screen {
    /// All of them with their digits and names, in that order. Digits between them are for what is to come.
    pub const ALL: [(Screen, char, &'static str); 4] = [
        (Screen::Now, '0', "Now"),
        (Screen::Ports, '1', "Ports"),
        (Screen::Vlans, '2', "VLANs"),
        (Screen::Log, '9', "Log"),
    ];

    /// The screen of a digit.
    fn of_digit(wanted: char) -> Option<Screen> {
        Screen::ALL.into_iter().find(|(_, digit, _)| *digit == wanted).map(|(screen, ..)| screen)
    }

    fn step(self, by: usize) -> Screen {
        let at = Screen::ALL.iter().position(|(screen, ..)| *screen == self).unwrap_or(0);
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
    Help(Page),
    /// Output of a command.
    Output(Page),
    /// Words in place of the editor. Only Escape leaves them: of a paste meant for the editor nothing may become a
    /// command.
    Notice(Page),
    /// The editor.
    Editor,
    /// What applying the text in the editor, or going back to a generation, would change.
    Review(Page),
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
    /// Compare an earlier generation with what runs.
    ReviewRollBack(RollBack),
    /// Go back to a generation that was compared.
    RollBack(RollBack),
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
    /// Login name; empty for root.
    pub user: String,
    /// Local time, `14:05`.
    pub clock: String,
    /// The same in seconds since 1970.
    pub now_s: u64,
    /// Running generation and how it is doing, once known.
    pub status: Option<Status>,
    /// Generations that can be gone back to.
    pub generations: Vec<u64>,
    /// Kinds and names of the interfaces that are no ports.
    pub interfaces: Vec<(String, String)>,
    /// Whether netd answers.
    pub link: Link,
    /// Why netd answers no more to this user: then the session is over.
    pub denied: Option<String>,
    /// What the change that waits did to the network, once known.
    pub comparison: Option<Comparison>,
    /// What was taken back, until a key is pressed.
    pub taken_back: Option<TakenBack>,
    /// Whether it is asked whether to leave.
    leaving: bool,
    /// The generation whose comparison is shown.
    rollback: Option<RollBack>,
    /// Whether the key being taken followed another faster than a hand types.
    pub pasted: bool,
    /// The screen shown.
    pub screen: Screen,
    /// Alarms and changes.
    pub now: NowView,
    /// The ports.
    pub ports: PortsView,
    /// The port that was last shown in full, and what it discarded.
    pub discards: (String, Vec<Discard>),
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
    /// The first line of the port in full that is in view, and how many it has, as last painted.
    pub detail_top: usize,
    /// See `detail_top`.
    pub detail_lines: usize,
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
            user: String::new(),
            clock,
            now_s: 0,
            status: None,
            generations: Vec::new(),
            interfaces: Vec::new(),
            link: Link::default(),
            denied: None,
            comparison: None,
            taken_back: None,
            leaving: false,
            rollback: None,
            pasted: false,
            screen: Screen::default(),
            now: NowView::default(),
            ports: PortsView::default(),
            discards: (String::new(), Vec::new()),
            vlans: VlansView::default(),
            log: LogView::default(),
            over: Over::default(),
            prompt: None,
            history: Vec::new(),
            editor: None,
            comment: None,
            running: None,
            detail_top: 0,
            detail_lines: 0,
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
            Update::Denied(why) => {
                // Whoever was never let in is told so on the screens.
                if self.status.is_some() {
                    self.denied = Some(why);
                    return;
                }
                return self.update(Update::Away(format!("not allowed: {why}")));
            }
            Update::Status(status) => self.update_status(status),
            Update::Comparison(comparison) => self.update_comparison(comparison),
            Update::Generations(history) => self.update_history(&history),
            Update::Interfaces(interfaces) => self.interfaces = interfaces,
            Update::Alarms(alarms) => self.now.update(alarms),
            Update::Ports(at, ports) => self.update_ports(at, ports),
            Update::Discards(port, discards) => self.discards = (port, discards),
            Update::Vlans(vlans, fdb) => self.vlans.update(vlans, fdb),
        }
        self.link = Link::Up;
    }

    fn update_ports(&mut self, at: Instant, ports: Vec<netd_api::state::Port>) {
        self.ports.update(at, ports);
        if self.over == Over::Port && self.ports.selected().is_none() {
            self.over = Over::Nothing;
        }
    }

    /// The name of the port that is shown in full.
    pub fn port_in_full(&self) -> Option<String> {
        let selected = self.ports.selected().filter(|_| self.over == Over::Port);
        selected.map(|(port, _)| port.name.clone())
    }

    /// Takes news from the journal.
    pub fn journal(&mut self, news: News) {
        self.log.take(news);
    }

    /// Takes news of what changed.
    pub fn recent(&mut self, news: recent::News) {
        self.now.take(news);
    }

    /// Takes the outcome of a command.
    pub fn finished(&mut self, line: &str, outcome: Outcome) {
        if self.running.as_deref() == Some(line) {
            self.running = None;
        }
        self.show_outcome(line.to_owned(), outcome);
    }

    fn show_outcome(&mut self, title: String, outcome: Outcome) {
        let mut text = outcome.out;
        text.push_str(&outcome.err);
        if text.is_empty() && outcome.exit == Exit::Done {
            text.push_str("done");
        }
        let lines = text.lines().map(|line| self.look.text(line)).collect();
        let page = match self.is_log(&title) {
            true => Page::new(title, lines).at_end(self.page),
            false => Page::new(title, lines),
        };
        self.show(page);
    }

    /// Whether a command prints the log, of which the end is what matters.
    fn is_log(&self, line: &str) -> bool {
        let words = crate::login::split(line).unwrap_or_default();
        matches!(cli::parse(&words).map(|cli| cli.command), Ok(Command::Log(_) | Command::Show(Show::Log(_))))
    }

    fn show(&mut self, page: Page) {
        self.rollback = None;
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
            vlans: self.vlans.all().iter().map(|vlan| vlan.id.to_string()).collect(),
            generations: self.generations.iter().map(u64::to_string).collect(),
            interfaces: self.interfaces.clone(),
        }
    }

    /// The filter of the screen shown.
    pub fn filter(&self) -> &str {
        match self.screen {
            Screen::Now => &self.now.filter,
            Screen::Ports => &self.ports.filter,
            Screen::Vlans => &self.vlans.filter,
            Screen::Log => &self.log.filter,
        }
    }

    fn set_filter(&mut self, filter: String) {
        match self.screen {
            Screen::Now => self.now.set_filter(filter),
            Screen::Ports => self.ports.set_filter(filter),
            Screen::Vlans => self.vlans.set_filter(filter),
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
