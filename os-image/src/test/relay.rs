//! Hands on what the behaviours' program prints, so that no line of others falls into a block.
//!
//! A block begins with `-- NAME` and ends with an empty line.

/// Puts the lines of blocks together.
#[derive(Default)]
pub struct Relay {
    block: Option<String>,
}

impl Relay {
    /// Takes a line; answers what can be printed now.
    pub fn line(&mut self, line: &str) -> Option<String> {
        let mut text = match self.block.take() {
            None if !line.starts_with("-- ") => return Some(format!("{line}\n")),
            block => block.unwrap_or_default(),
        };
        if line.is_empty() {
            return Some(text);
        }
        text.push_str(line);
        text.push('\n');
        self.block = Some(text);
        None
    }

    /// What is left once there are no lines any more: a block that broke off.
    pub fn rest(self) -> String {
        self.block.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_handed_on_as_one_and_other_lines_at_once() {
        let mut relay = Relay::default();
        let lines = ["image x", "-- lag: 3 s", "ok      lacp", "", "", "-- broken"];
        let printed: Vec<Option<String>> = lines.iter().map(|line| relay.line(line)).collect();
        let printed: Vec<Option<&str>> = printed.iter().map(Option::as_deref).collect();
        let block = "-- lag: 3 s\nok      lacp\n";
        assert_eq!(printed, [Some("image x\n"), None, None, Some(block), Some("\n"), None]);
        assert_eq!(relay.rest(), "-- broken\n");
    }
}
