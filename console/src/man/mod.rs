//! The manual page corten(1), made from the command tree so that it never lags behind.

mod show;

use clap::{Arg, Command};
use clap_mangen::Man;

use crate::cli;
use crate::commands::Context;
use crate::outcome::{Exit, Outcome};

/// What follows the commands.
const REST: &str = r#".SH SCREENS
Without arguments
.B corten
shows the switch on the terminal: what is wrong and what changed last, its ports with their rates, its VLANs with the
forwarding database, and the log of netd and the kernel. It is made for 80 columns and 24 lines; from 100 columns on ports have errors and drops,
on a narrower terminal names are left out of the first line before anything else.
That line names the user, the switch and the user's role, the screens by their digits, how many alarms there are,
.BR "! 2 alarms" ,
and what runs. While a change waits for its confirmation it
counts down what is left,
.BR "UNCONFIRMED 1:43" ,
on every screen of every session; a change that was taken back is told there,
.BR "gen 3 TAKEN BACK" ,
until a key is pressed. Keys:
.TP
.B 0 1 2 9, Tab
Choose a screen: now (alarms above, the last changes below), ports, VLANs, log. Digits between them are for screens to
come.
.TP
.B arrows, PgUp, PgDn, Home, End
Move.
.TP
.B Enter
Show the selected port in full, with the reason why it forwards nothing; on the first screen the selected alarm, on the
log the messages in full.
.TP
.B /
Show only lines with a text;
.B swp[1\-4]
stands for a range, Escape shows all. On the VLAN screen a VLAN's number or name, and a hardware address in any of the
usual ways. In an output it searches;
.B n
goes on,
.B N
back.
.TP
.B p
On the log: everything, warnings and worse, errors and worse.
.TP
.B Left, Right
Move sideways in what is wider than the screen.
.TP
.B :
Type a command, as listed above. Tab completes. It is taken on every screen but in the editor, where it is text: Escape
leaves that for a page that takes commands.
.TP
.B Ctrl\-L
Ask the terminal for its size and paint the screen again. A serial line does not tell when the size changes.
.TP
.B ?
Show the keys.
.TP
.B q
Leave; at the console of the switch this logs out. While a change waits for its confirmation, or a text was typed and
not applied, that is asked first.
.SH EDITOR
.B :edit
on the screens opens the running configuration document,
.B ":apply \-"
an empty text to paste one into.
A running document of more than 1024 KiB is not opened: print it with
.BR config ,
edit the file elsewhere, and apply that. Keys:
.TP
.B Ctrl\-D, Ctrl\-X
Check the text. Mistakes are told with line and column, and the cursor goes to the first; else the screen shows
what applying it would change: warnings first, then the steps on the network, then the difference of the texts.
There
.B a
applies it for two minutes (or the time of
.BR \-\-confirm ),
to be kept with
.BR :confirm ,
and
.B g
for good, but for what may end this session. Escape goes back to the text. After a check that found mistakes the first
of these keys is not taken for text.
After
.B ":check \-"
and
.B ":diff \-"
there is nothing to apply; the text can be gone on with by
.BR :edit .
.TP
.B Ctrl\-N
The next mistake.
.TP
.B Ctrl\-F
Find a text.
.TP
.B Ctrl\-Z, Ctrl\-Y, Ctrl\-K
Undo, redo, cut the line.
.TP
.B Escape
Leave, also while the text is being checked or applied: that goes on and is told when it is done.
The text is kept until the screens are left;
.B :edit
goes on with it,
.B ":edit \-\-anew"
begins with the running document, and
.B ":apply \- \-\-anew"
with an empty text; without
.B \-\-anew
a text that was changed and not applied is not discarded.
.PP
Whoever has the role
.B view
can check and compare a text, and is told at once that nothing can be applied.
.PP
This is how the configuration is changed at the serial console.
Whoever applies a document that somebody else's change has overtaken since it was compared is told so, and the text
stays: checking it again shows what applying it would change by then.
.SH LOGIN SHELL
.B corten
is the login shell of the users of the switch. A command over SSH, as in
.BR "ssh ana@switch show ports" ,
is split into words as a shell would do it and run as a
.B corten
command. No other program can be started, and no file be copied there with
.BR scp (1)
or
.BR sftp (1):
documents go in over standard input.
The words pass through the shell of the machine that
.BR ssh (1)
runs on, so that a text with blanks needs quotes for both.
.PP
The history tells the key a user came in with, where sshd tells it
.RB ( ExposeAuthInfo
in
.BR sshd_config (5)).
A change is refused to who came in with a key that the configuration does not have any more.
.SH CHANGES
A document is applied whole or not at all, and becomes a new generation.
With
.B \-\-confirm
it runs until
.B corten confirm
or until the time is up; then the last confirmed generation runs again, and so it does after a restart of the
switch.
Meanwhile only the user who applied it may apply another one or confirm it; every administrator may take it
back with
.BR "corten take\-back" .
.B corten show pending
tells whose it is, how long it has, what was there before it and is gone, and what it changed.
.PP
.B apply
ends when the switch has done all of its part: ports that have a carrier forward, routes have their next hops.
What others decide is then told as
.IR pending ,
with its reason: ports without a carrier, members of LAGs that hear no LACP partner or still negotiate, ports that the
spanning tree holds back, VLAN interfaces without a port that forwards, tunnels without a route to their other end.
Only what the change was about is named;
.B corten show pending
tells of it later, and how many others there are.
.PP
What was there before a change with a time to confirm it in is recorded, and looked for again every two seconds for as
long as the change waits: ports with a carrier, active members of each LAG, neighbours, addresses learned in each VLAN,
default routes of each VRF with the number of their usable next hops, and ports of workloads. What is missing is
.IR lost ,
a number that is clearly less is
.IR fewer :
any less of members and next hops, less than 95 in 100 of learned addresses.
.B apply
waits for at most five seconds for what a change interrupts to come back, then tells the rest; so do the screens. Where
a busy switch has not looked three times by then, it waits for at most ten seconds.
A neighbour counts if it was known to be there within five minutes before the change, and afterwards if it answered:
the switch asks each one again. More than 1024 of them are counted for each interface instead. A learned address counts
if it was heard within a minute before the change or since. What a change takes away on purpose is lost as well, and a
neighbour on another interface is another one.
.PP
With
.B \-\-if\-same
a change decides by itself at the end of its time, whether or not the session it was made in is still there: it is
confirmed if nothing is lost or fewer then, nor was in the last five seconds (of less than 20 seconds, in their last
quarter); else it is taken back, and the history tells what was lost.
So a port that comes back after some seconds does no harm, and what is missing for good does. Give it the time that
links, protocols and hosts need.
What could not be recorded or read is never the same, nor is anything at an end that netd does not live to see: then
the change is taken back.
.B corten confirm
and
.B corten take\-back
decide at once.
.PP
.B corten rollback
goes back to an earlier generation: it is compared with what runs, applied again as a new one, and taken back by itself
unless it is confirmed.
.BR \-1 " is the one before, of those that ran confirmed and had another document."
It is not
.BR "corten take\-back" ,
which only ends what waits.
.PP
A change that leaves no administrator who could log in, or takes that role from the user who makes it, is applied with a
time to confirm it in only, and confirmed with
.B \-\-force
only. Rights that a change takes away end in sessions that are open: who is no administrator any more can change
nothing, and the screens of who is no user any more end.
.PP
A change that may end the SSH session it is made in (the address, VRF or gateway of
.BR mgmt0 ;
the address, VRF or VLAN of the interface it comes in over; the route back to the client; the control plane) is warned
of, and has
.B \-\-confirm 2m
by itself;
.B \-\-no\-confirm
refuses that.
.PP
Where netd gives no answer in time
.RB ( \-\-timeout )
it is asked what became of the change, and that is told.
.PP
Applying waits until duplicate address detection has found new IPv6 addresses to be unique, a second or two;
where another host uses one the change is refused with the line that has it, and undone.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Refused or invalid: a mistake in the document, a missing right, nothing by that name, an unreadable file.
.TP
.B 2
The command line was wrong.
.TP
.B 3
netd cannot be reached.
.SH ENVIRONMENT
.TP
.B SSH_CONNECTION
Where sshd tells both ends of the session.
.TP
.B SSH_USER_AUTH
Where sshd tells the key the user came in with.
.TP
.B NO_COLOR
When set and not empty: no colours.
.TP
.B TERM, LC_ALL, LC_CTYPE, LANG
VT terminals, linux, dumb and an unknown terminal get plain ASCII without colours; so does a locale that is
not UTF\-8 for the characters.
.TP
.B DBUS_SYSTEM_BUS_ADDRESS
Where the system bus is.
.SH EXAMPLES
.nf
corten show ports
corten show fdb \-\-vlan 10 \-\-json
corten check switch.toml
corten diff switch.toml
corten apply switch.toml \-\-confirm 2m \-\-comment \(dqnew uplink\(dq
corten apply switch.toml \-\-confirm 2m \-\-if\-same
corten confirm
corten rollback \-1
corten diff 2 4
corten ping 10.0.10.80 \-\-vrf blue
corten show routes 10.0.10.5
corten show ports swp[1\-4]
corten log \-n 20 \-\-priority warning
ssh ana@switch apply \- < switch.toml
ssh ana@switch \(aqapply \- \-\-confirm 2m \-\-comment \(dqnew uplink\(dq\(aq < switch.toml
.fi
.SH SEE ALSO
.BR busctl (1),
.BR journalctl (1),
.BR switch.toml (5),
.BR containerd\-shim\-corten\-v1 (8),
.BR netd (8)
"#;

/// Where the image has the other pages.
const FOLDER: &str = "/usr/share/man";

/// Shows a page on a terminal; elsewhere corten(1) as roff, for the image and for man(1).
pub fn run(name: Option<&str>, context: &Context) -> Outcome {
    let text = match name {
        None if context.width.is_none() => return Outcome::done(page()),
        None | Some("corten") => Ok(page()),
        Some("switch.toml") => std::fs::read_to_string(format!("{FOLDER}/man5/switch.toml.5")),
        Some(name) => std::fs::read_to_string(format!("{FOLDER}/man8/{name}.8")),
    };
    match text {
        Ok(text) => Outcome::done(crate::text::clean_lines(&show::show(&text, context.width.unwrap_or(80)))),
        Err(error) => {
            let name = name.unwrap_or_default();
            Outcome::failed(Exit::Refused, format!("corten: the manual page {name}: {error}\n"))
        }
    }
}

/// The page as roff.
pub fn page() -> String {
    let tree = cli::tree();
    let man = Man::new(tree.clone()).title("CORTEN").section("1").manual("Corten");
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render_title(&mut page);
    let mut name = Vec::new();
    let _ = man.render_name_section(&mut name);
    let mut page = String::from_utf8_lossy(&page).into_owned();
    // The name section repeats the definitions above the title.
    let name = String::from_utf8_lossy(&name).into_owned();
    page.push_str(name.find(".SH").map_or("", |at| &name[at..]));
    page.push_str(".SH SYNOPSIS\n.B corten\n.br\n.B corten\n.I COMMAND\n.SH COMMANDS\n");
    add_commands(&tree, "corten", &mut page);
    page.push_str(REST);
    page
}

/// A section for each command that does something, depth first.
fn add_commands(command: &Command, path: &str, page: &mut String) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            add_commands(sub, &path, page);
            continue;
        }
        let usage: Vec<String> = sub.get_arguments().filter(|arg| !is_help(arg)).map(usage).collect();
        page.push_str(&format!(
            ".SS {}\n",
            escape(&format!("{path} {}", usage.join(" ")).trim_end().replace('"', ""))
        ));
        let about = sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default();
        page.push_str(&format!("{}\n", escape(&about).replace("\n\n", "\n.PP\n")));
        for arg in sub.get_arguments().filter(|arg| !is_help(arg)) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n.B {}\n{}.\n", escape(&name(arg)), escape(&help)));
        }
    }
}

fn is_help(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

/// `--vlan VLAN`, `FILE`.
fn name(arg: &Arg) -> String {
    let value =
        arg.get_value_names().unwrap_or_default().first().map(ToString::to_string).unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn usage(arg: &Arg) -> String {
    let many = if arg.get_num_args().is_some_and(|count| count.max_values() > 1) { "..." } else { "" };
    match arg.is_required_set() {
        true => format!("{}{many}", name(arg)),
        false => format!("[{}]{many}", name(arg)),
    }
}

/// Text as roff shows it: hyphens that can be copied, no line that is a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_command_and_exit_status() {
        let page = page();
        for text in [
            "corten show ports [PORT]...",
            "corten check FILE",
            "\\-\\-base GENERATION",
            "corten rollback [GENERATION]",
            "\\-\\-confirm TIME",
            ".SH EXIT STATUS",
        ] {
            assert!(page.contains(text), "{text}\n{page}");
        }
        assert!(page.contains(".TH CORTEN 1"), "{page}");
    }

    #[test]
    fn text_never_becomes_a_request() {
        assert_eq!(escape(".so /etc/shadow\n'x\\"), "\\&.so /etc/shadow\n\\&'x\\e");
    }
}
