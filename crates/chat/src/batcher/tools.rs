//! Replies that wait for a tool, outside the decoder: what they say so far is read again when they go on.

use std::time::Duration;

use super::{Batcher, Event, choices_of, note_likelihoods};
use crate::turn::Stopped;

/// How long a step waits for the result of a tool where there is nothing else to do.
const PATIENCE: Duration = Duration::from_millis(20);

impl Batcher<'_> {
    /// Looks what the tools have said; waits for it where there is nothing else to do.
    pub(super) fn hear(&mut self) {
        let Some(calls) = &mut self.calls else { return };
        let waits = self.parked.iter().all(|parked| parked.call.is_some());
        let idle = self.live.is_empty() && self.waiting.is_empty() && waits && !self.parked.is_empty();
        let mut patience = if idle { PATIENCE } else { Duration::ZERO };
        while let Some((number, result)) = calls.result(patience) {
            patience = Duration::ZERO;
            // None has this number if it was cancelled.
            if let Some(parked) = self.parked.iter_mut().find(|parked| parked.call == Some(number)) {
                parked.call = None;
                parked.live.turn.answered(result.as_deref());
            }
        }
    }

    /// A reply whose tool has spoken goes on. False if there is none, or no memory for it.
    pub(super) fn resume(&mut self, events: &mut Vec<Event>) -> bool {
        let Some(at) = self.parked.iter().position(|parked| parked.call.is_none()) else {
            return false;
        };
        let live = &self.parked[at].live;
        let read = live.prompt.iter().chain(live.turn.ids()).map(|&id| id as i32);
        let read: Vec<i32> = read.collect();
        let prefilled = self.decoder.prefill(&[&read]);
        let ready = prefilled.and_then(|prompt| self.decoder.append(&prompt, &[0]).map(|()| prompt));
        let Ok(prompt) = ready else {
            if self.live.is_empty() {
                // It will not be better later.
                let mut live = self.parked.remove(at).live;
                events.push(Event {
                    id: live.id,
                    delta: live.turn.stop(Stopped::Memory),
                    reply: Some(live.turn.into_reply()),
                });
                return true;
            }
            return false;
        };
        let (row, first) = (self.live.len(), events.len());
        self.live.push(self.parked.remove(at).live);
        let choices = choices_of(std::iter::once((0, &mut self.live[row])));
        let mut chosen = prompt.choose(&choices).into_iter();
        events.push(self.live[row].step(&mut chosen));
        let live = std::iter::once((0, &self.live[row]));
        note_likelihoods(live, &mut events[first..], |rows| prompt.logits_of(rows));
        self.settle(row, first, events);
        true
    }
}
