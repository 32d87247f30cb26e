//! From the queue to rows: prompts are processed in groups of similar length, and their replies begin as far as there are
//! rows and memory.

use std::iter::repeat_n;
use std::rc::Rc;

use ferrochat_model::Sampler;

use super::{Batcher, Event, Live, choices_of, note_likelihoods};
use crate::turn::Stopped;

/// Tokens of prompts that are processed together, filling included: more of them make it no faster.
const PREFILL: usize = 4096;

impl Batcher<'_> {
    /// Begins replies, one group of prompts at most. False if none can begin now.
    pub(super) fn begin(&mut self, events: &mut Vec<Event>) -> bool {
        let Some(front) = self.waiting.front() else {
            return false;
        };
        if front.request.max_tokens == 0 {
            self.refuse_front(Stopped::Length, events);
            return true;
        }
        let enough = self.make_ready() && self.begin_ready(events);
        if !enough && self.live.is_empty() {
            // It will not be better later.
            self.refuse_front(Stopped::Memory, events);
            return true;
        }
        enough
    }

    /// Processes the prompt at the front, and others of similar length as far as there are rows for them. False if
    /// there is no memory.
    fn make_ready(&mut self) -> bool {
        let free = self.rows - self.live.len();
        let Some(front) = self.waiting.front() else {
            return false;
        };
        if front.ready.is_some() {
            return true;
        }
        let (mut shortest, mut longest) = (front.ids.len(), front.ids.len());
        let (mut count, mut samples) = (0, 0);
        for waiting in &self.waiting {
            let length = waiting.ids.len();
            (shortest, longest) = (shortest.min(length), longest.max(length));
            let fits = longest - shortest <= 16 + longest / 8 && longest * (count + 1) <= PREFILL;
            if count > 0 && !(fits && samples < free && waiting.ready.is_none() && waiting.request.max_tokens > 0) {
                break;
            }
            count += 1;
            samples += waiting.request.samples;
        }
        while count > 0 {
            let group = self.waiting.iter().take(count);
            let prompts: Vec<&[i32]> = group.map(|waiting| waiting.ids.as_slice()).collect();
            if let Ok(prompts) = self.decoder.prefill(&prompts) {
                let prompts = Rc::new(prompts);
                for (index, waiting) in self.waiting.iter_mut().take(count).enumerate() {
                    waiting.ready = Some((Rc::clone(&prompts), index));
                }
                return true;
            }
            count /= 2;
        }
        false
    }

    /// Gives rows to replies whose prompts were processed together. False if there is no memory.
    fn begin_ready(&mut self, events: &mut Vec<Event>) -> bool {
        let Some((prompts, _)) = self.waiting.front().and_then(|front| front.ready.clone()) else {
            return false;
        };
        let mut chosen = Vec::new();
        for waiting in &self.waiting {
            let Some((_, index)) = waiting.ready.as_ref().filter(|ready| Rc::ptr_eq(&ready.0, &prompts)) else {
                break;
            };
            chosen.extend(repeat_n(*index, waiting.request.samples - waiting.begun));
        }
        chosen.truncate(self.rows - self.live.len());
        while self.decoder.append(&prompts, &chosen).is_err() {
            chosen.truncate(chosen.len() / 2);
            if chosen.is_empty() {
                return false;
            }
        }
        let (first_row, first) = (self.live.len(), events.len());
        for _ in &chosen {
            let waiting = self.waiting.front().expect("as many wait as were chosen");
            let sample = waiting.begun;
            let prompt: &[u32] = if self.calls.is_some() {
                &waiting.request.prompt
            } else {
                &[]
            };
            self.live.push(Live {
                id: waiting.id,
                prompt: prompt.into(),
                sample,
                turn: self.turn(waiting, sample),
                sampler: Sampler::new(
                    &waiting.request.sampling,
                    waiting.request.stream.wrapping_add(sample as u64),
                ),
                likelihoods: waiting.request.likelihoods,
                next: 0,
            });
            let waiting = self.waiting.front_mut().expect("as many wait as were chosen");
            waiting.begun += 1;
            if waiting.begun == waiting.request.samples {
                self.waiting.pop_front();
            }
        }
        let begun = &mut self.live[first_row..];
        let choices = choices_of(chosen.iter().copied().zip(begun.iter_mut()));
        let mut tokens = prompts.choose(&choices).into_iter();
        events.extend(begun.iter_mut().map(|live| live.step(&mut tokens)));
        note_likelihoods(chosen.into_iter().zip(begun.iter()), &mut events[first..], |rows| {
            prompts.logits_of(rows)
        });
        self.settle(first_row, first, events);
        true
    }

    /// Ends all replies of the first request that have not begun.
    fn refuse_front(&mut self, why: Stopped, events: &mut Vec<Event>) {
        let Some(waiting) = self.waiting.pop_front() else {
            return;
        };
        for sample in waiting.begun..waiting.request.samples {
            let mut turn = self.turn(&waiting, sample);
            events.push(Event {
                id: waiting.id,
                delta: turn.stop(why),
                reply: Some(turn.into_reply()),
            });
        }
    }
}
