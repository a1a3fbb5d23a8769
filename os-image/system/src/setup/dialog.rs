//! The questions, over any reader and writer.
//!
//! Plain lines for any terminal: no colours, no cursor movement, at most 80 columns.

use std::io::{self, BufRead, Write};

use netd_api::config;

use super::answers;
use super::document::{Answers, Network};
use super::terminal::INTERRUPT;

/// Longest line that is read; the longest answer is an SSH key.
const MAX_LINE: usize = 8192;
/// Ends of input in a row after which the terminal is taken to be gone.
const MAX_ENDS: usize = 8;

/// How a run of the dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A configuration is applied.
    Applied,
    /// Ctrl-C, end of input, or the document was turned down: begin anew.
    Restart,
    /// Input ends again and again: nobody is there.
    HungUp,
}

/// The dialog. `echo` shows or hides what is typed; `apply` applies a document or says why not.
pub struct Dialog<R, W, E, A> {
    input: R,
    output: W,
    echo: E,
    apply: A,
    /// Ends of input since the last line.
    ends: usize,
}

/// Why a question has no answer.
enum Stop {
    Restart,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

const WELCOME: &str = "
Welcome to Corten.

This switch has no configuration yet. A few questions lead to a first one;
nothing is changed before you confirm it. Enter takes the value in [brackets],
Ctrl-C starts over.
";

impl<R, W, E, A> Dialog<R, W, E, A>
where
    R: BufRead,
    W: Write,
    E: Fn(bool) -> io::Result<()>,
    A: FnMut(&str) -> Result<(), String>,
{
    /// A dialog over these.
    pub fn new(input: R, output: W, echo: E, apply: A) -> Self {
        Dialog { input, output, echo, apply, ends: 0 }
    }

    /// Asks everything once.
    ///
    /// # Errors
    /// The terminal fails.
    pub fn run(&mut self) -> io::Result<Outcome> {
        let outcome = self.ask_and_apply();
        // However it ended, the next one types visibly.
        (self.echo)(true)?;
        match outcome {
            Ok(true) => Ok(Outcome::Applied),
            Ok(false) => Ok(Outcome::Restart),
            Err(Stop::Restart) if self.ends >= MAX_ENDS => Ok(Outcome::HungUp),
            Err(Stop::Restart) => {
                self.say("\nStarting over.")?;
                Ok(Outcome::Restart)
            }
            Err(Stop::Io(error)) => Err(error),
        }
    }

    fn ask_and_apply(&mut self) -> Result<bool, Stop> {
        self.say(WELCOME)?;
        let answers = self.ask_all()?;
        let document = answers.document();
        self.say("\nThis is the configuration:\n")?;
        for line in answers.shown().lines() {
            self.say(&format!("    {line}"))?;
        }
        self.say("")?;
        if !self.yes("Apply it? (yes/no)")? {
            self.say("\nNot applied.")?;
            return Ok(false);
        }
        let checked = config::parse(&document).map(|_| ()).map_err(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            lines.join("\n")
        });
        let mut applied = checked.and_then(|()| (self.apply)(&document));
        if applied.as_ref().is_err_and(|message| message.contains("management.vrf")) {
            // Some drivers cannot bear a VRF; without one the rest may do.
            self.say(
                "\nThis switch allows no VRF for mgmt0: it shares the default one with the front panel.",
            )?;
            applied = (self.apply)(&Answers { own_vrf: false, ..answers.clone() }.document());
        }
        match applied {
            Ok(()) => {
                self.say(&format!("\nApplied. You can log in as {} now.", answers.user))?;
                self.say(&format!("{}\n", next_steps(&answers)))?;
                Ok(true)
            }
            Err(message) => {
                self.say(&format!("\nThe configuration was not applied:\n{message}\n\nPlease try again."))?;
                Ok(false)
            }
        }
    }

    fn ask_all(&mut self) -> Result<Answers, Stop> {
        self.say("\nThe first user is an administrator.")?;
        let user = self.ask("User name", Some("admin"), answers::user_name)?;
        let (key, password_hash) = self.ask_credentials(&user)?;
        self.say("\nThe management port (mgmt0) has its address by DHCP or a fixed one.")?;
        let network = self.ask_network()?;
        let host_name = self.ask("Host name", Some("corten"), answers::host_name)?;
        Ok(Answers { user, key, password_hash, network, host_name: Some(host_name), own_vrf: true })
    }

    /// An SSH key, a console password, or both; never neither.
    fn ask_credentials(&mut self, user: &str) -> Result<(Option<String>, Option<String>), Stop> {
        self.say("\nPaste the SSH public key (the line of the .pub file) on one line.")?;
        self.say("Without a key the user can log in on this console only; `:edit` there can add one later.")?;
        let key = self.ask_optional("SSH public key [none]", answers::ssh_key)?;
        self.say(&format!("\nA password lets {user} log in on this console; SSH never takes one."))?;
        match key {
            Some(_) => self.say("Enter alone: no password, log in by SSH only.")?,
            None => self.say("There is no key, so a password is needed.")?,
        }
        loop {
            let password = self.ask_password()?;
            if key.is_some() || password.is_some() {
                return Ok((key, password));
            }
            self.say("Without a key and without a password nobody could log in.")?;
        }
    }

    fn ask_password(&mut self) -> Result<Option<String>, Stop> {
        loop {
            let first = self.hidden("Password (not shown)")?;
            if first.is_empty() {
                return Ok(None);
            }
            match answers::password_hash(&first) {
                Err(message) => self.say(&message)?,
                Ok(hash) if self.hidden("Once more")? == first => return Ok(Some(hash)),
                Ok(_) => self.say("The two are not the same.")?,
            }
        }
    }

    fn ask_network(&mut self) -> Result<Network, Stop> {
        let address = self.ask("Address, such as 192.0.2.10/24, or dhcp", Some("dhcp"), |text| {
            if text.eq_ignore_ascii_case("dhcp") { Ok(None) } else { answers::address(text).map(Some) }
        })?;
        let Some(address) = address else {
            return Ok(Network::Dhcp);
        };
        let gateway = self.ask_optional("Gateway [none]", |text| answers::gateway(&address, text))?;
        Ok(Network::Static { address, gateway })
    }

    /// Asks until the answer is good.
    fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let prompt = default.map_or_else(|| question.to_owned(), |default| format!("{question} [{default}]"));
        loop {
            let line = self.line(&prompt)?;
            let answer = if line.is_empty() { default.unwrap_or_default() } else { line.as_str() };
            match check(answer) {
                Ok(answer) => return Ok(answer),
                Err(message) => self.say(&message)?,
            }
        }
    }

    fn ask_optional<T>(
        &mut self,
        question: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Stop> {
        self.ask(question, None, |text| if text.is_empty() { Ok(None) } else { check(text).map(Some) })
    }

    fn yes(&mut self, question: &str) -> Result<bool, Stop> {
        self.ask(question, None, |text| match text.to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("Please answer yes or no.".to_owned()),
        })
    }

    fn hidden(&mut self, prompt: &str) -> Result<String, Stop> {
        (self.echo)(false)?;
        let line = self.raw_line(prompt);
        (self.echo)(true)?;
        // The line end was not shown either.
        self.say("")?;
        line
    }

    fn line(&mut self, prompt: &str) -> Result<String, Stop> {
        Ok(self.raw_line(prompt)?.trim().to_owned())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines().chain(text.is_empty().then_some("")) {
            for row in wrapped(line) {
                writeln!(self.output, "{row}")?;
            }
        }
        self.output.flush()
    }

    /// Asks and reads a line, without its end.
    fn raw_line(&mut self, prompt: &str) -> Result<String, Stop> {
        loop {
            write!(self.output, "{prompt}: ")?;
            self.output.flush()?;
            match self.read_line()? {
                Line::Text(bytes) => match String::from_utf8(bytes) {
                    Ok(line) => return Ok(line),
                    Err(_) => self.say("This is not UTF-8 text. Please type it again.")?,
                },
                Line::TooLong => self.say(&format!("Too long: at most {MAX_LINE} characters."))?,
                Line::Stop => return Err(Stop::Restart),
            }
        }
    }

    fn read_line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                self.ends += 1;
                return Ok(Line::Stop);
            }
            let end = available.iter().position(|byte| [b'\n', b'\r', INTERRUPT].contains(byte));
            let (part, used) = end.map_or((available, available.len()), |end| (&available[..end], end + 1));
            let interrupted = end.is_some_and(|end| available[end] == INTERRUPT);
            too_long |= line.len() + part.len() > MAX_LINE;
            if !too_long {
                line.extend_from_slice(part);
            }
            self.input.consume(used);
            if end.is_some() {
                self.ends = 0;
                return Ok(match (interrupted, too_long) {
                    (true, _) => Line::Stop,
                    (false, true) => Line::TooLong,
                    (false, false) => Line::Text(line),
                });
            }
        }
    }
}

/// What to do after the dialog: where the switch is reached, and how it is configured.
fn next_steps(answers: &Answers) -> String {
    let reached = match (&answers.network, &answers.key) {
        (Network::Static { address, .. }, Some(_)) => {
            let host = address.split('/').next().unwrap_or_default();
            format!("From elsewhere: ssh {}@{host}", answers.user)
        }
        (Network::Static { address, .. }, None) => format!("mgmt0 has {address}."),
        (Network::Dhcp, _) => {
            "mgmt0 asks for its address by DHCP: `:show ports mgmt0` on this console tells which it got."
                .to_owned()
        }
    };
    format!("{reached}\nAfter the login `?` lists the keys, and `:edit` changes the configuration.")
}

enum Line {
    Text(Vec<u8>),
    TooLong,
    /// Ctrl-C or end of input.
    Stop,
}

/// A line of text in rows of less than 80 columns, broken between words. Words that are longer (keys)
/// are left whole.
fn wrapped(line: &str) -> Vec<String> {
    const COLUMNS: usize = 79;
    // What is indented is a document, not prose.
    if line.chars().count() <= COLUMNS || line.starts_with(' ') {
        return vec![line.to_owned()];
    }
    let mut rows = vec![String::new()];
    for word in line.split(' ') {
        match rows.last_mut() {
            Some(row) if row.is_empty() => row.push_str(word),
            Some(row) if row.chars().count() + 1 + word.chars().count() <= COLUMNS => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
#[path = "dialog_tests.rs"]
mod tests;
