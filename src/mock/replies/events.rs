//! An answer that is a stream of server-sent events.

/// The events of an answer, written one at a time.
pub struct Events {
    script: Box<dyn Script>,
    tokens: usize,
    written: usize,
}

/// When an event is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The first event: after the time to the first LLM token.
    First,
    /// Another LLM token: after the time between two of them.
    Token,
    /// Together with the event before it.
    AtOnce,
}

/// How one dialect tells a text in events: some, then one for each LLM token, then some.
pub(super) trait Script: Send {
    fn opening_events(&self) -> usize;
    fn closing_events(&self) -> usize;
    /// Appends one event with the blank line that ends it.
    fn write(&self, event: Event, out: &mut Vec<u8>);
}

/// An event, by its index within its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Opening(usize),
    Token(usize),
    Closing(usize),
}

impl Events {
    pub(super) fn new(script: Box<dyn Script>, tokens: usize) -> Self {
        Self { script, tokens, written: 0 }
    }

    /// Appends the next event and says when it is due; `None` after the last one.
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> Option<Pace> {
        let event = self.next_event()?;
        let pace = match event {
            _ if self.written == 0 => Pace::First,
            Event::Token(1..) => Pace::Token,
            _ => Pace::AtOnce,
        };
        self.script.write(event, out);
        self.written += 1;
        Some(pace)
    }

    fn next_event(&self) -> Option<Event> {
        let Some(after_opening) = self.written.checked_sub(self.script.opening_events()) else {
            return Some(Event::Opening(self.written));
        };
        let Some(closing) = after_opening.checked_sub(self.tokens) else {
            return Some(Event::Token(after_opening));
        };
        (closing < self.script.closing_events()).then_some(Event::Closing(closing))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("written", &self.written).finish_non_exhaustive()
    }
}
