//! How netd ended, in the service manager's words (systemd.exec(5), `$SERVICE_RESULT`), and whether that counts against
//! the configuration it ran with.

/// The exit status of a thread's panic, as Rust has it for the main one.
pub const PANIC_STATUS: u8 = 101;

/// How netd ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// `$SERVICE_RESULT`.
    pub result: String,
    /// `$EXIT_STATUS`: a number, or the name of a signal.
    pub status: String,
}

impl End {
    /// Whether netd crashed: panicked, aborted, hung, or took more memory than it may. `oom_of_own` tells whether it was
    /// its own cgroup that had none left. What else ends it (somebody's signal, a start that took too long, a kernel that
    /// did not answer) is no fault of the configuration.
    pub fn is_crash(&self, oom_of_own: impl FnOnce() -> bool) -> bool {
        match self.result.as_str() {
            "core-dump" | "watchdog" => true,
            "signal" => ["ABRT", "SEGV", "BUS", "ILL", "FPE", "TRAP", "SYS"].contains(&self.status.as_str()),
            "exit-code" => self.status == PANIC_STATUS.to_string(),
            "oom-kill" => oom_of_own(),
            _ => false,
        }
    }
}

/// Whether a cgroup's `memory.events` tell that its limit left no memory.
pub fn reached_limit(events: &str) -> bool {
    let count = |line: &str| line.strip_prefix("oom ").and_then(|count| count.trim().parse::<u64>().ok());
    events.lines().find_map(count).is_some_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_crash(result: &str, status: &str, oom_of_own: bool) -> bool {
        End { result: result.to_owned(), status: status.to_owned() }.is_crash(|| oom_of_own)
    }

    #[test]
    fn end_counts_against_the_configuration_only_if_netd_crashed() {
        for (result, status) in [
            ("core-dump", "ABRT"),
            ("core-dump", "SEGV"),
            ("watchdog", "ABRT"),
            ("signal", "SEGV"),
            ("exit-code", "101"),
        ] {
            assert!(is_crash(result, status, false), "{result} {status}");
        }
        for (result, status) in [
            ("success", "0"),
            ("signal", "KILL"),
            ("signal", "TERM"),
            ("exit-code", "1"),
            ("timeout", "TERM"),
            ("resources", ""),
            ("", ""),
        ] {
            assert!(!is_crash(result, status, true), "{result} {status}");
        }
        assert!(is_crash("oom-kill", "KILL", true));
        assert!(!is_crash("oom-kill", "KILL", false), "the switch was out of memory, not netd");
    }

    #[test]
    fn limit_of_a_cgroup_is_reached_when_its_events_say_so() {
        assert!(reached_limit("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n"));
        assert!(!reached_limit("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n"));
        assert!(!reached_limit(""));
    }
}
