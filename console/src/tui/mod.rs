//! The screens: a loop that waits for keys, for news and for signals, and paints what changed.
//!
//! [`app`] holds what is shown and knows no terminal; [`render`] makes a picture of it; [`terminal`]
//! brings pictures to the user. An idle switch costs no byte on a serial line.

mod app;
mod feed;
mod journal;
mod keys;
mod line;
mod list;
mod log;
mod ports;
mod prompt;
mod rates;
mod render;
mod terminal;

use std::io::{self, Read};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{self, Instant};

use crate::commands::{self, Context};
use crate::document::Sources;
use crate::look::Look;
use crate::outcome::{Exit, Outcome};
use app::{App, Effect, Screen};
use feed::{Update, Want};
use journal::News;
use keys::{Decoder, Input};
use terminal::Terminal;

pub use terminal::{DEFAULT_SIZE, window_size};

/// After a lone escape, how long to wait for the rest of a key's sequence. At 1200 baud a byte takes 8 ms.
const ESCAPE_PATIENCE: Duration = Duration::from_millis(100);
/// News other than keys are painted no closer together than this.
const PAINT_GAP: Duration = Duration::from_millis(200);

/// Whether any of the texts contains the filter, whatever the case.
fn contains(filter: &str, texts: &[&str]) -> bool {
    let filter = filter.to_lowercase();
    filter.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&filter))
}

/// Runs the screens until the user leaves, the terminal goes away or a signal says so.
///
/// # Errors
/// When the terminal cannot be set or written.
pub async fn run() -> io::Result<()> {
    let look = Look::of_stdout();
    let mut signals = Signals::new()?;
    let size = window_size();
    let terminal = Terminal::take(look, size.unwrap_or(DEFAULT_SIZE))?;
    let mut screens = Screens::new(look, terminal);
    if size.is_none() {
        screens.terminal.probe()?;
        screens.hold_paint(terminal::PROBE_PATIENCE);
    }
    screens.run(&mut signals).await
}

/// Signals the screens answer to.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    resize: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            resize: signal(SignalKind::window_change())?,
        })
    }
}

/// The screens with all that feeds them.
struct Screens {
    app: App,
    terminal: Terminal,
    decoder: Decoder,
    bytes: mpsc::Receiver<Vec<u8>>,
    updates: mpsc::Receiver<Update>,
    want: watch::Sender<Want>,
    news: mpsc::Receiver<News>,
    /// Given to the journal's reader when the log is first shown.
    news_sender: Option<mpsc::Sender<News>>,
    outcomes: mpsc::Receiver<Outcome>,
    outcome_sender: mpsc::Sender<Outcome>,
    /// When what changed may be painted; `None` when nothing changed.
    paint_at: Option<Instant>,
    last_paint: Option<Instant>,
}

impl Screens {
    fn new(look: Look, terminal: Terminal) -> Screens {
        let (want, wanted) = watch::channel(Want { screen: Screen::default(), refresh: 0 });
        // A slow line makes the feed wait instead of piling up what it reads.
        let (update_sender, updates) = mpsc::channel(1);
        spawn_local(feed::run(wanted, update_sender));
        let (news_sender, news) = mpsc::channel(256);
        let (outcome_sender, outcomes) = mpsc::channel(1);
        Screens {
            app: App::new(look, commands::hostname(), clock()),
            terminal,
            decoder: Decoder::default(),
            bytes: read_keyboard(),
            updates,
            want,
            news,
            news_sender: Some(news_sender),
            outcomes,
            outcome_sender,
            paint_at: Some(Instant::now()),
            last_paint: None,
        }
    }

    async fn run(&mut self, signals: &mut Signals) -> io::Result<()> {
        loop {
            if self.paint_at.is_some_and(|at| at <= Instant::now()) {
                self.paint()?;
            }
            let paint_at = self.paint_at;
            let waiting = self.decoder.is_waiting();
            let goes_on = tokio::select! {
                bytes = self.bytes.recv() => match bytes {
                    Some(bytes) => self.typed(&bytes)?,
                    None => false,
                },
                () = time::sleep(ESCAPE_PATIENCE), if waiting => {
                    let input = self.decoder.flush();
                    self.inputs(input)?
                }
                Some(update) = self.updates.recv() => {
                    self.app.update(update);
                    self.paint_soon()
                }
                Some(news) = self.news.recv() => {
                    self.app.journal(news);
                    self.take_waiting_news();
                    self.paint_soon()
                }
                Some(outcome) = self.outcomes.recv() => {
                    self.app.finished(outcome);
                    // It may have been an apply: the header is to show the new generation at once.
                    self.want.send_modify(|want| want.refresh += 1);
                    self.paint_now()
                }
                () = time::sleep(until_next_minute()) => {
                    self.app.clock = clock();
                    self.app.host = commands::hostname();
                    self.paint_soon()
                }
                () = sleep_until(paint_at) => true,
                _ = signals.resize.recv() => self.resize(window_size().unwrap_or(DEFAULT_SIZE))?,
                _ = signals.terminate.recv() => false,
                _ = signals.hang_up.recv() => false,
                _ = signals.interrupt.recv() => false,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn paint(&mut self) -> io::Result<()> {
        let (picture, cursor) = render::draw(&mut self.app, self.terminal.area());
        self.terminal.paint(picture, cursor)?;
        self.paint_at = None;
        self.last_paint = Some(Instant::now());
        Ok(())
    }

    fn paint_now(&mut self) -> bool {
        self.paint_at = Some(Instant::now());
        true
    }

    /// Paints what is news, but not too often: a serial line has better things to do.
    fn paint_soon(&mut self) -> bool {
        let at = self.last_paint.map_or_else(Instant::now, |last| last + PAINT_GAP);
        self.paint_at = Some(self.paint_at.unwrap_or(at));
        true
    }

    fn hold_paint(&mut self, time: Duration) {
        self.paint_at = Some(Instant::now() + time);
    }

    fn typed(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let inputs = self.decoder.feed(bytes);
        self.inputs(inputs)
    }

    /// Takes inputs; `false` when the user leaves.
    fn inputs(&mut self, inputs: impl IntoIterator<Item = Input>) -> io::Result<bool> {
        for input in inputs {
            let effect = match input {
                Input::Key(key) => self.app.press(key),
                Input::Cursor { column, line } => {
                    if self.terminal.takes_answer() {
                        self.resize(terminal::bounded(column, line))?;
                    }
                    continue;
                }
            };
            self.want.send_if_modified(|want| {
                std::mem::replace(&mut want.screen, self.app.screen) != self.app.screen
            });
            if self.app.screen == Screen::Log
                && let Some(sender) = self.news_sender.take()
            {
                spawn_local(journal::run(sender));
            }
            self.paint_now();
            match effect {
                None => {}
                Some(Effect::Quit) => return Ok(false),
                Some(Effect::Probe) => {
                    self.terminal.clear()?;
                    self.terminal.probe()?;
                }
                Some(Effect::Run(line)) => self.start(line),
            }
        }
        Ok(true)
    }

    fn resize(&mut self, size: (u16, u16)) -> io::Result<bool> {
        let area = self.terminal.area();
        if size != (area.width, area.height) {
            self.terminal.resize(size)?;
        }
        Ok(self.paint_now())
    }

    /// Runs a command beside the screens, its output to be shown when it is done.
    fn start(&self, line: String) {
        let context = Context {
            width: Some(usize::from(self.terminal.area().width)),
            // Colours of a command's text would have to be taken apart again.
            look: Look { colour: false, ..self.app.look },
            error_look: Look { colour: false, ..self.app.look },
            sources: Sources::RegularFiles,
        };
        let done = self.outcome_sender.clone();
        spawn_local(async move {
            let outcome = match crate::login::split(&line) {
                Ok(words) => commands::run_words(&words, &context).await,
                Err(message) => Outcome::failed(Exit::Usage, format!("{message}\n")),
            };
            // The screens may be gone by now.
            let _ = done.send(outcome).await;
        });
    }

    /// Takes what the journal has ready, so that many messages are one picture.
    fn take_waiting_news(&mut self) {
        for _ in 0..1000 {
            match self.news.try_recv() {
                Ok(news) => self.app.journal(news),
                Err(_) => return,
            }
        }
    }
}

/// A thread that reads the keyboard. Making the terminal non-blocking instead would do so for everyone
/// who shares it, standard output included.
fn read_keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (sender, bytes) = mpsc::channel(64);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut chunk = [0; 1024];
        loop {
            match stdin.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) if count > 0 => {
                    if sender.blocking_send(chunk[..count].to_vec()).is_err() {
                        return;
                    }
                }
                // The line is gone; dropping the sender tells the screens.
                _ => return,
            }
        }
    });
    bytes
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Local time, `14:05`.
fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}

fn until_next_minute() -> Duration {
    let second = u64::try_from(jiff::Zoned::now().second()).unwrap_or(0);
    Duration::from_secs(60u64.saturating_sub(second).max(1))
}
