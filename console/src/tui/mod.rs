//! The screens: a loop that waits for keys, for news and for signals, and paints what changed.
//!
//! [`app`] holds what is shown and knows no terminal; [`render`] makes a picture of it; [`terminal`]
//! brings pictures to the user. An idle switch costs no byte on a serial line.

mod app;
mod clock;
mod editor;
mod feed;
mod keys;
mod line;
mod list;
mod log;
mod now;
mod ports;
mod prompt;
mod rates;
mod recent;
mod render;
mod terminal;
mod vlans;

use std::io::{self, Read};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{self, Instant};

use crate::commands::change::{self, Applied, Review, RollBackReview};
use crate::commands::{self, Context};
use crate::document::Sources;
use crate::journal::{self, News};
use crate::look::Look;
use crate::outcome::{Exit, Outcome};
use crate::pattern::Pattern;
use app::{App, Effect, Screen};
use clock::Minute;
use feed::{Update, Want};
use keys::{Decoder, Input};
use terminal::Terminal;

pub use terminal::{DEFAULT_SIZE, window_size};

/// After a lone escape, how long to wait for the rest of a key's sequence. At 1200 baud a byte takes 8 ms.
const ESCAPE_PATIENCE: Duration = Duration::from_millis(100);
/// News other than keys are painted no closer together than this.
const PAINT_GAP: Duration = Duration::from_millis(200);

/// Keys that follow each other faster than this are no hand's.
const TYPING_GAP: Duration = Duration::from_millis(25);
/// More inputs than this at once are a paste, which no hand types.
const PASTE_INPUTS: usize = 64;
/// The most inputs taken before anything else gets its turn.
const MAX_INPUTS: usize = 256 * 1024;
/// Chunks of the keyboard's bytes that may wait: of a paste, a line that is slow to paint must lose nothing.
const KEYBOARD_CHUNKS: usize = 4096;

/// Whether any of the texts contains the filter, whatever the case. `swp[1-3]` and `*` mean what they do elsewhere.
fn contains(filter: &str, texts: &[&str]) -> bool {
    let filter = Pattern::new(filter);
    texts.iter().any(|text| filter.is_in(text))
}

/// Runs the screens, beginning with a command where one is given, until the user leaves, the terminal goes away, a
/// signal says so, or netd answers no more to this user: then the answer is why.
///
/// # Errors
/// When the terminal cannot be set or written.
pub async fn run(first: Option<&str>) -> io::Result<Option<String>> {
    let look = Look::of_stdout();
    let mut signals = Signals::new()?;
    let size = window_size();
    let terminal = Terminal::take(look, size.unwrap_or(DEFAULT_SIZE))?;
    let mut screens = Screens::new(look, terminal);
    if size.is_none() {
        screens.terminal.probe()?;
        screens.hold_paint(terminal::PROBE_PATIENCE);
    }
    if let Some(command) = first {
        let keys = format!(":{command}\r");
        screens.typed(keys.as_bytes())?;
    }
    screens.run(&mut signals).await?;
    Ok(screens.app.denied.take())
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

/// What ran beside the screens and is done.
enum Done {
    Command(String, Outcome),
    ReviewedRollBack(RollBackReview),
    Loaded(Result<(String, u64), String>),
    Reviewed(Review),
    Applied(Applied),
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
    recent: mpsc::Receiver<recent::News>,
    /// Given to the reader of events when the first screen is first shown.
    recent_sender: Option<mpsc::Sender<recent::News>>,
    done: mpsc::Receiver<Done>,
    done_sender: mpsc::Sender<Done>,
    /// When the clock in the header goes on.
    minute: Minute,
    /// When the countdown of what waits goes on.
    tick_at: Instant,
    /// When the last key came: what follows it at once is pasted.
    last_key: Option<Instant>,
    /// When what changed may be painted; `None` when nothing changed.
    paint_at: Option<Instant>,
    last_paint: Option<Instant>,
}

impl Screens {
    fn new(look: Look, terminal: Terminal) -> Screens {
        let (want, wanted) = watch::channel(Want::default());
        // A slow line makes the feed wait instead of piling up what it reads.
        let (update_sender, updates) = mpsc::channel(1);
        spawn_local(feed::run(wanted, update_sender));
        let (news_sender, news) = mpsc::channel(256);
        let (recent_sender, recent) = mpsc::channel(256);
        let (done_sender, done) = mpsc::channel(1);
        let mut app = App::new(look, commands::hostname(), clock::now());
        app.user = commands::user().unwrap_or_default();
        app.now_s = crate::text::now_s();
        Screens {
            app,
            terminal,
            decoder: Decoder::default(),
            bytes: read_keyboard(),
            updates,
            want,
            news,
            news_sender: Some(news_sender),
            recent,
            recent_sender: Some(recent_sender),
            done,
            done_sender,
            minute: Minute::next(),
            tick_at: Instant::now(),
            last_key: None,
            paint_at: Some(Instant::now()),
            last_paint: None,
        }
    }

    async fn run(&mut self, signals: &mut Signals) -> io::Result<()> {
        self.start_readers();
        loop {
            if self.paint_at.is_some_and(|at| at <= Instant::now()) {
                self.paint()?;
            }
            let paint_at = self.paint_at;
            let waiting = self.decoder.is_waiting();
            let tick_at = self.app.seconds_left().map(|_| self.tick_at);
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
                    self.paint_soon() && self.app.denied.is_none()
                }
                () = sleep_until(tick_at) => self.tick(),
                Some(news) = self.news.recv() => {
                    self.app.journal(news);
                    self.take_waiting_news();
                    self.paint_soon()
                }
                Some(news) = self.recent.recv() => {
                    self.app.recent(news);
                    self.take_waiting_news();
                    self.paint_soon()
                }
                Some(done) = self.done.recv() => {
                    self.take(done);
                    // It may have been an apply: the header is to show the new generation at once.
                    self.want.send_modify(|want| want.refresh += 1);
                    self.paint_now()
                }
                () = self.minute.passed() => {
                    self.minute = Minute::next();
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

    fn take(&mut self, done: Done) {
        match done {
            Done::Command(line, outcome) => self.app.finished(&line, outcome),
            Done::ReviewedRollBack(review) => self.app.reviewed_roll_back(review),
            Done::Loaded(document) => self.app.loaded(document),
            Done::Reviewed(review) => self.app.reviewed(review),
            Done::Applied(applied) => self.app.applied(applied),
        }
    }

    /// Counts down what waits. When its time is up netd is asked at once what became of it.
    fn tick(&mut self) -> bool {
        self.tick_at = Instant::now() + Duration::from_secs(1);
        self.app.now_s = crate::text::now_s();
        if self.app.seconds_left() == Some(0) {
            self.want.send_modify(|want| want.refresh += 1);
        }
        self.paint_soon()
    }

    fn paint(&mut self) -> io::Result<()> {
        self.app.clock = clock::now();
        self.app.now_s = crate::text::now_s();
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
        let mut inputs = self.decoder.feed(bytes);
        // All of a paste that has come is one picture: painting each line would take longer than reading it.
        while let Ok(more) = self.bytes.try_recv() {
            inputs.extend(self.decoder.feed(&more));
            if inputs.len() > MAX_INPUTS {
                break;
            }
        }
        let many = inputs.len() > PASTE_INPUTS;
        let before = self.paint_at;
        let goes_on = self.inputs(inputs)?;
        if many {
            self.paint_at = before;
            self.paint_soon();
        }
        Ok(goes_on)
    }

    /// Takes inputs; `false` when the user leaves.
    fn inputs(&mut self, inputs: impl IntoIterator<Item = Input>) -> io::Result<bool> {
        for input in inputs {
            let effect = match input {
                Input::Key(key) => {
                    let last = self.last_key.replace(Instant::now());
                    self.app.pasted = last.is_some_and(|last| last.elapsed() < TYPING_GAP);
                    self.app.press(key)
                }
                Input::Cursor { column, line } => {
                    if self.terminal.takes_answer() {
                        self.resize(terminal::bounded(column, line))?;
                    }
                    continue;
                }
            };
            self.want.send_if_modified(|want| {
                let before = (want.screen, want.port.take());
                (want.screen, want.port) = (self.app.screen, self.app.port_in_full());
                before != (want.screen, want.port.clone())
            });
            self.start_readers();
            self.paint_now();
            match effect {
                None => {}
                Some(Effect::Quit) => return Ok(false),
                Some(Effect::Probe) => {
                    self.terminal.clear()?;
                    self.terminal.probe()?;
                }
                Some(Effect::Run(line)) => self.start(async move |context| {
                    let outcome = match crate::login::split(&line) {
                        Ok(words) => commands::run_words(&words, &context).await,
                        Err(message) => Outcome::failed(Exit::Usage, format!("{message}\n")),
                    };
                    Done::Command(line, outcome)
                }),
                Some(Effect::ReviewRollBack(request)) => self.start(async move |context| {
                    Done::ReviewedRollBack(change::review_roll_back(request, &context).await)
                }),
                Some(Effect::RollBack(request)) => self.start(async move |context| {
                    let line = format!("rollback {}", request.generation);
                    Done::Command(line, change::roll_back(request, &context).await)
                }),
                Some(Effect::Load) => self.start(async |_| Done::Loaded(change::running().await)),
                Some(Effect::Review(text)) => {
                    self.start(async move |context| Done::Reviewed(change::review(&text, &context).await))
                }
                Some(Effect::Apply(text, how)) => {
                    self.start(async move |context| Done::Applied(change::apply(&text, how, &context).await))
                }
            }
        }
        Ok(true)
    }

    /// Has read what the screen shows beside tables, once it is first shown.
    fn start_readers(&mut self) {
        if self.app.screen == Screen::Log
            && let Some(sender) = self.news_sender.take()
        {
            spawn_local(journal::run(sender));
        }
        if self.app.screen == Screen::Now
            && let Some(sender) = self.recent_sender.take()
        {
            spawn_local(recent::run(sender));
        }
    }

    fn resize(&mut self, size: (u16, u16)) -> io::Result<bool> {
        let area = self.terminal.area();
        if size != (area.width, area.height) {
            self.terminal.resize(size)?;
        }
        Ok(self.paint_now())
    }

    /// Runs something beside the screens, what comes of it to be taken when it is done.
    fn start(&self, run: impl AsyncFnOnce(Context) -> Done + 'static) {
        let context = Context {
            width: Some(usize::from(self.terminal.area().width)),
            // Colours of a command's text would have to be taken apart again.
            look: Look { colour: false, ..self.app.look },
            error_look: Look { colour: false, ..self.app.look },
            sources: Sources::RegularFiles,
        };
        let sender = self.done_sender.clone();
        spawn_local(async move {
            let done = run(context).await;
            // The screens may be gone by now.
            let _ = sender.send(done).await;
        });
    }

    /// Takes what the journal and the stream of events have ready, so that many messages are one picture.
    fn take_waiting_news(&mut self) {
        for _ in 0..1000 {
            match (self.news.try_recv(), self.recent.try_recv()) {
                (Err(_), Err(_)) => return,
                (message, change) => {
                    message.into_iter().for_each(|news| self.app.journal(news));
                    change.into_iter().for_each(|news| self.app.recent(news));
                }
            }
        }
    }
}

/// A thread that reads the keyboard. Making the terminal non-blocking instead would do so for everyone
/// who shares it, standard output included.
fn read_keyboard() -> mpsc::Receiver<Vec<u8>> {
    let (sender, bytes) = mpsc::channel(KEYBOARD_CHUNKS);
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
