//! `corten show alarms`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use netd_api::alarm::Alarm;

use crate::cli::Format;
use crate::client::{Error, Netd};
use crate::commands::{Context, print_now};
use crate::outcome::{Exit, Outcome};
use crate::tables::alarms;
use crate::text;

/// Moves to the upper left corner and clears what is there (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints the alarms; with a period again and again.
///
/// # Errors
/// What netd answers.
pub async fn run(
    netd: &Netd,
    watch: Option<u32>,
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    let Some(period_s) = watch else {
        let rows = netd.alarms().await?;
        return match format.json {
            true => crate::commands::json(&rows),
            false => Ok(Outcome::done(shown(&rows, context))),
        };
    };
    if !context.prints() {
        let words = "corten: the first screen shows them all the time: 0\n".to_owned();
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    let period = Duration::from_secs(period_s.into());
    let gone = crate::commands::reader_gone();
    tokio::pin!(gone);
    let mut printed = None;
    loop {
        let rows = netd.alarms().await?;
        let text = match format.json {
            true => crate::commands::json_line(&rows)? + "\n",
            false => shown(&rows, context),
        };
        // A terminal shows how old they are now. What is read later has them anew when they are others.
        let keys =
            rows.iter().map(|row| (row.kind, row.object.clone(), row.text.clone())).collect::<Vec<_>>();
        let replaces = !format.json && io::stdout().is_terminal();
        if replaces || printed.as_ref() != Some(&keys) {
            let text = if replaces { format!("{CLEAR}{text}") } else { text };
            print_now(&text)?;
            printed = Some(keys);
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = &mut gone => return Ok(Outcome::default()),
        }
    }
}

fn shown(rows: &[Alarm], context: &Context) -> String {
    match rows.is_empty() {
        true => alarms::none(context.look) + "\n",
        false => alarms::table(rows, text::now_s()).render(context.width, context.look),
    }
}
