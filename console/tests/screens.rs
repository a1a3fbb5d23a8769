//! The screens on a pseudo-terminal, seen through a terminal emulator.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as the test does")]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use netd_api::state::Discard;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use support::{Bus, CORTEN, Failure, Netd, switch};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A terminal with the console on it.
struct Console {
    child: Child,
    screen: vt100::Parser,
    output: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Everything that was written.
    written: Vec<u8>,
    keyboard: File,
    line: std::os::fd::OwnedFd,
}

/// A terminal whose kernel side knows no size, as on a serial line.
const SERIAL: (u16, u16) = (0, 0);

impl Console {
    /// The same, on the screen of ports.
    fn start(bus: &Bus, size: (u16, u16), term: &str) -> Console {
        let mut console = Console::start_now(bus, size, term);
        console.press("1");
        console
    }

    /// Starts the console on a terminal that the kernel believes to have `columns` by `lines`.
    fn start_now(bus: &Bus, (columns, lines): (u16, u16), term: &str) -> Console {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let path = nix::unistd::ttyname(&slave).unwrap();
        let mut command = Command::new(CORTEN);
        command
            .env_clear()
            .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
            .env("TERM", term)
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave.try_clone().unwrap()))
            .kill_on_drop(true);
        // SAFETY: setsid(2) and open(2) are async-signal-safe, and nothing is allocated: the path was made
        // before the fork.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                // The first terminal a session leader opens becomes its controlling terminal.
                let opened =
                    nix::fcntl::open(&path, nix::fcntl::OFlag::O_RDWR, nix::sys::stat::Mode::empty())?;
                drop(opened);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let keyboard = File::from(master.try_clone().unwrap());
        let (sender, output) = mpsc::unbounded_channel();
        let mut master = File::from(master);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut chunk) {
                if sender.send(chunk[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (rows, cols) = if lines == 0 { (24, 80) } else { (lines, columns) };
        Console { child, screen: emulator(rows, cols), output, written: vec![], keyboard, line: slave }
    }

    fn press(&mut self, bytes: &str) {
        self.keyboard.write_all(bytes.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Takes what is written until the screen is as wanted; answers how long that took.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Console) -> bool) -> Duration {
        let start = Instant::now();
        while !wanted(self) {
            match timeout(DEADLINE.saturating_sub(start.elapsed()), self.output.recv()).await {
                Ok(Some(bytes)) => {
                    self.screen.process(&bytes);
                    self.written.extend(bytes);
                }
                _ => panic!("waited for {what}; the screen shows:\n{}", self.text()),
            }
        }
        start.elapsed()
    }

    async fn until_shown(&mut self, text: &str) -> Duration {
        self.until(text, |console| console.text().contains(text)).await
    }

    /// How many bytes are written within a time.
    async fn bytes_within(&mut self, time: Duration) -> usize {
        let before = self.written.len();
        let end = tokio::time::Instant::now() + time;
        while let Ok(Some(bytes)) = tokio::time::timeout_at(end, self.output.recv()).await {
            self.screen.process(&bytes);
            self.written.extend(bytes);
        }
        self.written.len() - before
    }

    async fn ended(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("the console ends").unwrap().code()
    }

    fn is_raw(&self) -> bool {
        let settings = tcgetattr(self.line.as_fd()).unwrap();
        !settings.local_flags.contains(LocalFlags::ICANON)
    }
}

#[tokio::test]
async fn a_serial_line_that_does_not_answer_gets_80x24_in_plain_ascii() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, SERIAL, "vt220");
    console.until_shown("swp2").await;
    assert!(console.text().lines().next().unwrap().len() <= 80);
    assert!(console.text().lines().last().unwrap().contains("q log out"), "{}", console.text());
    assert!(console.written.is_ascii());
    let written = String::from_utf8_lossy(&console.written).into_owned();
    assert!(written.contains("\x1b[6n"), "the size is asked for");
    for colour in ["\x1b[3", "\x1b[4"] {
        let coloured = written.split(colour).skip(1).any(|rest| rest.starts_with(|c| matches!(c, '0'..='8')));
        assert!(!coloured, "no colours: {written:?}");
    }
}

/// Answers the question for the size that comes after so many bytes, until the console has taken the answer: it waits for
/// half a second, in which a busy machine may not get to answer, and asks again at Ctrl-L.
async fn tell_size(console: &mut Console, mut asked: usize, lines: u16, columns: u16) {
    console.screen = emulator(lines, columns);
    for _ in 0..10 {
        console
            .until("the question for the size", |console| {
                console.written[asked..].windows(4).any(|bytes| bytes == b"\x1b[6n")
            })
            .await;
        asked = console.written.len();
        console.press(&format!("\x1b[{lines};{columns}R"));
        for _ in 0..8 {
            let footer = console.screen.screen().contents_between(lines - 1, 0, lines - 1, columns - 1);
            if footer.contains("log out") {
                return;
            }
            console.bytes_within(Duration::from_millis(250)).await;
        }
        console.press("\x0c");
    }
    panic!("no footer on line {lines}; the screen shows:\n{}", console.text());
}

#[tokio::test]
async fn a_serial_line_tells_its_size_and_again_after_ctrl_l() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, SERIAL, "vt220");
    tell_size(&mut console, 0, 30, 100).await;
    console.until_shown("swp2").await;
    // A cursor report nobody asked for is a key (xterm's Shift-F3).
    console.press("\x1b[1;2R?");
    console.until_shown("Keys and commands").await;
    console.press("q");
    console.until_shown("swp2").await;
    let asked = console.written.len();
    console.press("\x0c");
    tell_size(&mut console, asked, 20, 80).await;
    console.until_shown("swp2").await;
}

#[tokio::test]
async fn an_idle_switch_costs_no_bytes_and_a_lost_link_shows_soon() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "vt220");
    // Rates are known after the second reading.
    console.until("rates", |console| console.text().contains("     0       0 ")).await;
    let idle = console.bytes_within(Duration::from_secs(4)).await;
    // The clock may tick once.
    assert!(idle < 60, "{idle} bytes while nothing happened");
    netd.switch.lock().ports[0].oper_state = "down".into();
    let seen = console.until_shown("up/down").await;
    let painted = console.written.len();
    println!("{painted} bytes until here, {idle} of them while idle");
    println!("a lost link was on the screen after {seen:?}");
    netd.switch.lock().ports[0].counters.rx_bytes += 12_345;
    let tick = console.bytes_within(Duration::from_millis(1500)).await;
    println!("{tick} bytes for a tick of the counters");
    assert!((1..700).contains(&tick), "{tick} bytes for a tick of the counters");
}

#[tokio::test]
async fn first_screen_shows_what_is_wrong_and_its_end() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().alarms = vec![support::alarm("swp2", 200)];
    netd.switch.lock().changes = (1..=300).map(|seq| support::link_down(seq, &format!("swp{seq}"))).collect();
    let mut console = Console::start_now(&bus, (80, 24), "vt220");
    console.until_shown("1024 groups joined").await;
    let shown = console.text();
    assert!(shown.contains("! 1 alarm   gen 7") && shown.contains("3m2"), "{shown}");
    assert!(shown.contains("show mdb swp2") && shown.contains("---- the last changes"), "{shown}");
    // The newest change is the first.
    console.until_shown("swp300     link down").await;
    assert!(console.text().contains("swp290"), "{}", console.text());
    console.press("1");
    console.until_shown("RX b/s").await;
    assert!(console.text().contains("! 1 alarm "), "{}", console.text());
    netd.switch.lock().alarms.clear();
    console.until("no alarm in the header", |console| !console.text().contains("! 1 alarm")).await;
    console.press("0");
    console.until_shown("No alarms.").await;
}

#[tokio::test]
async fn netd_may_go_and_come_back() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("gen 7").await;
    console.until_shown("swp2").await;
    let state = netd.switch.clone();
    drop(netd);
    console.until_shown("netd AWAY").await;
    assert!(
        console.text().contains("swp2") && console.text().contains("No news since"),
        "{}",
        console.text()
    );
    state.lock().generation = 8;
    let _netd = Netd::serve(&bus, state).await;
    console.until_shown("gen 8").await;
    console.until("netd is back", |console| !console.text().contains("netd AWAY")).await;
    assert!(!console.text().contains("No news since"));
}

#[tokio::test]
async fn a_command_typed_on_the_screens_runs() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    console.press(":sh\tvl\t\r");
    console.until_shown("servers").await;
    console.press("\x1b");
    console.until_shown("RX b/s").await;
    console.press("2");
    console.until_shown("10 addresses").await;
    console.press(":sh ro --v\tb\t");
    console.until_shown(":sh ro --vrf blue").await;
}

#[tokio::test]
async fn port_in_full_asks_for_its_discards_and_tables_do_not() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    netd.switch.lock().discards = vec![Discard {
        port: "swp1".into(),
        direction: "in".into(),
        reason: "vlan".into(),
        frames: Some(4711),
        counted_by: Some("driver".into()),
    }];
    let mut console = Console::start(&bus, (80, 43), "xterm");
    console.until_shown("swp2").await;
    let asked = |netd: &Netd| netd.switch.lock().queries.iter().any(|(table, _)| table == "discards");
    assert!(!asked(&netd), "a table of ports costs no questions to drivers");
    console.press("\r");
    console.until_shown("VLAN not on the port").await;
    console.until_shown("4711").await;
    let interfaces = {
        let switch = netd.switch.lock();
        let mut queries = switch.queries.iter().filter(|(table, _)| table == "discards");
        queries.next().and_then(|(_, filter)| filter.interfaces.clone())
    };
    assert_eq!(interfaces, Some(vec!["swp1".to_owned()]));
}

#[tokio::test]
async fn a_pasted_document_is_checked_compared_and_applied_with_a_window() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, SERIAL, "vt220");
    console.until_shown("swp2").await;
    console.press(":apply - --comment 'by console'\r");
    console.until_shown("Paste a configuration").await;
    // A mistake at the end of a long paste: it is told, the cursor goes there, and the text stays.
    let ports: String = (1..=300).map(|index| format!("[ports.swp{index}]\rmtu = 1500\r")).collect();
    console.press(&format!("version = 1\r{ports}wrong = 1\r\x04"));
    console.until_shown("Mistake: 602:1: ").await;
    console.until_shown("(line 602, column 1)").await;
    console.press("\x0b\x04");
    // What matters comes first, the text last.
    console.until_shown("1 step on the network").await;
    console.until_shown("+++ the text").await;
    console.press("\x1b[F");
    console.until_shown("+[ports.swp300]").await;
    assert_eq!(netd.switch.lock().generation, 7);
    console.press("a");
    console.until_shown("Applied as generation 8.").await;
    console.until_shown("unless you confirm it: `:confirm`").await;
    let document = netd.switch.lock().document.clone();
    assert_eq!(document, format!("version = 1\n{}", ports.replace('\r', "\n")));
    assert_eq!(netd.switch.lock().options.comment.as_deref(), Some("by console"));
    console.until_shown("gen 8 UNCONFIRMED 1:").await;
    console.press(":confirm\r");
    console.until_shown("Generation 8 is confirmed").await;
}

#[tokio::test]
async fn the_running_document_is_edited_and_what_netd_refuses_is_not_lost() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    console.press(":edit\r");
    console.until_shown("Configuration of generation 7").await;
    console.press("# mine\r");
    console.until_shown("# mine").await;
    console.press("\x03");
    console.until_shown("kept until you leave").await;
    console.press("\x1b");
    console.until_shown("RX b/s").await;
    console.press(":edit\r");
    console.until_shown("# mine").await;
    netd.switch.lock().apply_fails = Some(Failure::Refused("swp1: Operation not supported".into()));
    console.press("\x18");
    console.until_shown("+# mine").await;
    console.press("g");
    console.until_shown("swp1: Operation not supported").await;
    assert!(console.text().contains("# mine"), "{}", console.text());
    netd.switch.lock().apply_fails = None;
    console.press("\x18");
    console.until_shown("+# mine").await;
    // What was not compared with is not applied over; comparing anew shows it, and lets it be.
    netd.switch.lock().generation = 9;
    console.press("g");
    console.until_shown("somebody else changed").await;
    console.press("\x18");
    console.until_shown("Generation 9 runs; the text was made from 7").await;
    console.press("g");
    console.until_shown("Applied as generation 10").await;
    assert_eq!(netd.switch.lock().document, "# mine\nversion = 1\n");
}

#[tokio::test]
async fn a_paste_is_not_applied_over_what_was_not_reviewed() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    console.press(":apply -\r");
    console.until_shown("Paste a configuration").await;
    console.press("version = 1\r# new\r\x04");
    console.until_shown("+# new").await;
    netd.switch.lock().generation = 8;
    console.press("a");
    console.until_shown("somebody else changed").await;
    assert_eq!(netd.switch.lock().document, "version = 1\n");
    console.press("\x04");
    console.until_shown("--- generation 8").await;
    console.press("a");
    console.until_shown("Applied as generation 9").await;
}

#[tokio::test]
async fn change_of_another_session_counts_down_and_its_end_is_told_until_a_key() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    {
        let mut switch = netd.switch.lock();
        switch.past.insert(7, "version = 1\n".into());
        (switch.generation, switch.confirm_by_s) = (8, support::now_s() + 4);
    }
    console.until_shown("gen 8 UNCONFIRMED 0:0").await;
    console.until_shown("Generation 8 of ana is not confirmed").await;
    console.press("9");
    console.until_shown("UNCONFIRMED 0:01").await;
    netd.switch.lock().take_back();
    console.until_shown("gen 8 TAKEN BACK").await;
    console.until_shown("Generation 8 was TAKEN BACK (not confirmed in time): generation 7 runs.").await;
    console.press("1");
    console.until("the header as before", |console| !console.text().contains("TAKEN BACK")).await;
    assert!(console.text().contains("gen 7"), "{}", console.text());
}

#[tokio::test]
async fn roll_back_on_the_screens_is_compared_and_waits_for_its_confirmation() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    console.press(":rollback 3\r");
    console.until_shown("What going back to generation 3 changes").await;
    console.until_shown("+version = 1 # of old").await;
    assert_eq!(netd.switch.lock().generation, 7);
    console.press("a");
    console.until_shown("Applied as generation 8: the document of generation 3 again.").await;
    console.until_shown("gen 8 UNCONFIRMED 1:").await;
    console.press(":take-back\r");
    console.until_shown("Generation 8 is taken back: generation 7 runs again.").await;
    // Once more would be a step further: it is asked first.
    console.press("\x1b");
    console.until_shown("RX b/s").await;
    console.press(":rollback\r");
    console.until_shown("Do you want to go further back? `:rollback -1` does.").await;
    assert_eq!(netd.switch.lock().generation, 7);
}

#[tokio::test]
async fn leaving_while_a_change_waits_is_asked() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    netd.switch.lock().confirm_by_s = support::now_s() + 600;
    console.until_shown("UNCONFIRMED").await;
    console.press(":exit\r");
    console.until_shown("Generation 7 is not confirmed, ").await;
    console.until_shown("Leave? y leave").await;
    console.press("n");
    console.until_shown("q log out").await;
    console.press("q");
    console.until_shown("Leave? y leave").await;
    console.press("y");
    assert_eq!(console.ended().await, Some(0));
}

#[tokio::test]
async fn session_of_a_user_who_is_none_any_more_ends() {
    let bus = Bus::start("");
    let netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    netd.switch.lock().denies = true;
    assert_eq!(console.ended().await, Some(1));
    console.until_shown("this session ends: only users of the switch may look").await;
}

#[tokio::test]
async fn leaving_gives_the_terminal_back() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    for how in ["q", ":quit\r"] {
        let mut console = Console::start(&bus, (80, 24), "xterm");
        console.until_shown("swp2").await;
        assert!(console.is_raw());
        console.press(how);
        assert_eq!(console.ended().await, Some(0));
        assert!(!console.is_raw(), "{how}");
        console.until("the cursor", |console| !console.screen.screen().hide_cursor()).await;
    }
}

#[tokio::test]
async fn signals_give_the_terminal_back() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut console = Console::start(&bus, (80, 24), "vt220");
        console.until_shown("swp2").await;
        let pid = Pid::from_raw(i32::try_from(console.child.id().unwrap()).unwrap());
        kill(pid, signal).unwrap();
        assert_eq!(console.ended().await, Some(0), "{signal}");
        assert!(!console.is_raw(), "{signal}");
    }
}

#[tokio::test]
async fn a_terminal_may_change_its_size() {
    let bus = Bus::start("");
    let _netd = Netd::start(&bus, switch()).await;
    let mut console = Console::start(&bus, (80, 24), "xterm");
    console.until_shown("swp2").await;
    let size = Winsize { ws_row: 12, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    console.screen = emulator(12, 60);
    set_size(&console.line, &size);
    console
        .until("the footer on line 12", |console| {
            console.screen.screen().contents_between(11, 0, 11, 59).contains("Tab screen")
        })
        .await;
}

/// A terminal of this many lines and columns.
fn emulator(lines: u16, columns: u16) -> vt100::Parser {
    vt100::Parser::new(NonZero::new(lines).unwrap(), NonZero::new(columns).unwrap(), 0)
}

fn set_size(line: &impl std::os::fd::AsRawFd, size: &Winsize) {
    // SAFETY: the descriptor is an open terminal and the size outlives the call.
    let result = unsafe { nix::libc::ioctl(line.as_raw_fd(), nix::libc::TIOCSWINSZ, size) };
    assert_eq!(result, 0);
}
