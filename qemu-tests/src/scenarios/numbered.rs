//! Numbered frames from one port to another: where a gap shows, and when the first one crosses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Frame, Mac, View};
use qemu_tests::wire::{Capture, Captured, Wire};

use crate::lab::fresh_payload;

/// Digits of a frame's number.
const DIGITS: usize = 9;
/// How long frames on their way may take after the last was sent.
const DRAIN: Duration = Duration::from_secs(3);

fn frame(label: &str, number: u64) -> Vec<u8> {
    // Broadcast: it needs no learned address, so that a gap is a gap of forwarding alone.
    Frame::new(Mac::of_host(900), Mac::BROADCAST).payload(format!("{label}{number:0DIGITS$};")).build()
}

fn number(label: &str, view: &View<'_>) -> Option<u64> {
    let text = view.payload.strip_prefix(label.as_bytes())?;
    std::str::from_utf8(text.get(..DIGITS)?).ok()?.parse().ok()
}

/// Frames sent at a steady rate until it is stopped.
pub struct Stream {
    label: String,
    capture: Capture,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Result<u64>>>,
    received: BTreeSet<u64>,
    repeated: u64,
}

/// What came of a stream.
pub struct Tally {
    /// Frames sent.
    pub sent: u64,
    /// Numbers that did not arrive.
    pub missing: Vec<u64>,
    /// Frames that arrived again.
    pub repeated: u64,
}

impl Tally {
    /// The missing numbers, those in a row as one piece: the first and the last of each.
    pub fn pieces(&self) -> Vec<(u64, u64)> {
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        for &number in &self.missing {
            match pieces.last_mut() {
                Some((_, last)) if number == *last + 1 => *last = number,
                _ => pieces.push((number, number)),
            }
        }
        pieces
    }

    /// The missing numbers in short.
    pub fn gaps(&self) -> String {
        let pieces = self.pieces();
        let piece = |(first, last): &(u64, u64)| {
            if first == last { first.to_string() } else { format!("{first} to {last}") }
        };
        let shown: Vec<String> = pieces.iter().take(8).map(piece).collect();
        let more = if pieces.len() > shown.len() { ", …" } else { "" };
        format!("{} of {} frames missing: {}{more}", self.missing.len(), self.sent, shown.join(", "))
    }
}

impl Stream {
    /// Starts sending from one wire to the other, `rate` frames a second.
    pub fn start(from: &Wire, to: &Wire, rate: u32) -> Result<Stream> {
        let label = fresh_payload("numbered");
        let capture = to.capture_text(&label);
        let stop = Arc::new(AtomicBool::new(false));
        let (wire, stopped, of_sender) = (from.clone(), Arc::clone(&stop), label.clone());
        let interval = Duration::from_secs(1) / rate;
        let sender = std::thread::Builder::new()
            .name("numbered".to_owned())
            .spawn(move || send(&wire, &of_sender, interval, &stopped))
            .context("cannot start a sender")?;
        Ok(Stream { label, capture, stop, sender: Some(sender), received: BTreeSet::new(), repeated: 0 })
    }

    /// Waits until `count` more frames have arrived.
    pub fn wait_for_more(&mut self, count: u64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let wanted = self.received.len() as u64 + count;
        while (self.received.len() as u64) < wanted {
            let captured = self.capture.next_before(deadline);
            let captured = captured.with_context(|| {
                format!(
                    "{} of {wanted} numbered frames arrived within {:.0} s",
                    self.received.len(),
                    timeout.as_secs_f64()
                )
            })?;
            self.count(&captured);
        }
        Ok(())
    }

    fn count(&mut self, captured: &Captured) {
        if let Some(number) = captured.view().and_then(|view| number(&self.label, &view)) {
            self.repeated += u64::from(!self.received.insert(number));
        }
    }

    /// Stops sending and tells what arrived.
    pub fn finish(mut self) -> Result<Tally> {
        let sent = self.stop_sending()?;
        let deadline = Instant::now() + DRAIN;
        while (self.received.len() as u64) < sent {
            let Some(captured) = self.capture.next_before(deadline) else { break };
            self.count(&captured);
        }
        ensure!(self.capture.overflowed() == 0, "the capture overflowed, so a gap means nothing");
        let missing = (0..sent).filter(|number| !self.received.contains(number)).collect();
        Ok(Tally { sent, missing, repeated: self.repeated })
    }

    fn stop_sending(&mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.sender.take().map(JoinHandle::join) {
            Some(Ok(sent)) => sent,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(0),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(wire: &Wire, label: &str, interval: Duration, stop: &AtomicBool) -> Result<u64> {
    let started = Instant::now();
    let mut sent = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        // A frame that the machine did not take would look like one that the switch lost.
        ensure!(wire.send(&frame(label, u64::from(sent))), "the machine did not take frame {sent}");
        sent += 1;
        // The pace is kept over the whole stream: a late frame is followed by the next at once.
        std::thread::sleep((interval * sent).saturating_sub(started.elapsed()));
    }
    Ok(u64::from(sent))
}

/// The first frame that crossed the switch.
#[derive(Clone, Copy, Debug)]
pub struct FirstFrame {
    /// When it arrived.
    pub at: Instant,
}

/// Frames being sent until one crosses.
pub struct AwaitedFrame(JoinHandle<Result<FirstFrame>>);

impl FirstFrame {
    /// Sends a frame every few milliseconds, from before the boot, until one arrives.
    pub fn await_on(from: &Wire, to: &Wire, timeout: Duration) -> Result<AwaitedFrame> {
        let label = fresh_payload("first");
        let capture = to.capture_text(&label);
        let from = from.clone();
        let deadline = Instant::now() + timeout;
        let thread = std::thread::Builder::new().name("first-frame".to_owned()).spawn(move || {
            for count in 0.. {
                // What is not taken is lost: nobody reads while the guest has no driver.
                from.try_send(&frame(&label, count));
                if let Some(captured) = capture.next_before(Instant::now() + Duration::from_millis(20)) {
                    return Ok(FirstFrame { at: captured.at });
                }
                ensure!(
                    Instant::now() < deadline,
                    "no frame crossed within {:.0} s of the start",
                    timeout.as_secs_f64()
                );
            }
            anyhow::bail!("no frame crossed")
        });
        Ok(AwaitedFrame(thread.context("cannot start a sender")?))
    }
}

impl AwaitedFrame {
    /// Waits for the frame.
    pub fn finish(self) -> Result<FirstFrame> {
        match self.0.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_frames_in_a_row_are_one_piece() {
        let tally = Tally { sent: 20, missing: vec![3, 7, 8, 9, 15], repeated: 0 };
        assert_eq!(tally.pieces(), [(3, 3), (7, 9), (15, 15)]);
        assert_eq!(tally.gaps(), "5 of 20 frames missing: 3, 7 to 9, 15");
    }
}
