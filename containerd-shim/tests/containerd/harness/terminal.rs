//! A terminal for a client.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::Ran;

/// Runs a program in a terminal of 33 rows and 99 columns. What it prints, errors too, comes back without the
/// terminal's carriage returns.
pub fn in_terminal(mut program: Command) -> Ran {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&ours).expect("access to the terminal");
    unlockpt(&ours).expect("the terminal unlocked");
    let name =
        ptsname(&ours, Vec::new()).expect("name of the terminal").into_string().expect("plain letters");
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let theirs = options.open(name).expect("open the terminal");
    let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).expect("set the terminal's size");
    program.stdin(theirs.try_clone().expect("descriptor"));
    program.stdout(theirs.try_clone().expect("descriptor")).stderr(theirs);
    let mut child = program.spawn().expect("start in a terminal");
    // It holds the program's ends of the terminal.
    drop(program);
    let mut text = Vec::new();
    // It ends with an error (EIO) once nobody has the other end open.
    let _ = File::from(ours).read_to_end(&mut text);
    let status = child.wait().expect("wait for a program");
    let stdout = String::from_utf8_lossy(&text).replace('\r', "");
    Ran { code: status.code().unwrap_or(-1), stdout, stderr: String::new() }
}

mod tests {
    use super::*;
    use crate::harness::program;

    #[test]
    fn terminal_has_its_size_and_loses_nothing() {
        let mut shell = Command::new(program("busybox"));
        shell.args(["sh", "-c", "busybox stty size; busybox seq 1 20000; exit 4"]);
        let ran = in_terminal(shell);
        let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
        assert_eq!((ran.code, ran.stdout), (4, format!("33 99\n{expected}")));
    }
}
