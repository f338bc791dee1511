//! A bounded line that is fair between clients: they take turns, however many places each has.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Names one place in the line.
pub type Ticket = u64;

/// One of the places that there is room at, for those who wait for that one alone.
pub type Spot = usize;

/// Whoever waits, by client. Each client's own places are served in the order of their arrival.
#[derive(Debug)]
pub struct Line<C> {
    by_client: HashMap<C, VecDeque<Ticket>>,
    /// Clients with places; the front one is next.
    turns: VecDeque<C>,
    /// Called before and sent back: they keep their turn.
    returned: VecDeque<Ticket>,
    /// Likewise, but room elsewhere is of no use to them.
    bound: HashMap<Spot, VecDeque<Ticket>>,
    length: usize,
}

/// What became of a wish to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    Waits,
    /// It waits in place of this one: the last of the client that had most.
    WaitsInsteadOf(Ticket),
    /// The line is full, and nobody in it has more places than this client.
    Full,
}

impl<C> Default for Line<C> {
    fn default() -> Self {
        Self {
            by_client: HashMap::new(),
            turns: VecDeque::new(),
            returned: VecDeque::new(),
            bound: HashMap::new(),
            length: 0,
        }
    }
}

impl<C: Clone + Eq + Hash> Line<C> {
    /// Those who wait and have not been called.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many are called before a newcomer of this client, if nobody else comes.
    pub fn ahead_of(&self, client: &C) -> usize {
        let own = self.by_client.get(client).map_or(0, VecDeque::len);
        let rounds = (own + 1) * (self.turns.len() + usize::from(own == 0)) - 1;
        self.length.min(rounds + self.returned.len())
    }

    /// Takes a place, if the line has fewer than `limit`, or if a client has more places than this
    /// one would have: else one client could fill the line and keep all others out.
    pub fn join(&mut self, client: C, ticket: Ticket, limit: usize) -> Joined {
        if self.length < limit {
            self.push(client, ticket);
            return Joined::Waits;
        }
        let own = self.by_client.get(&client).map_or(0, VecDeque::len);
        let longest = self.by_client.iter().max_by_key(|(_, tickets)| tickets.len());
        match longest.map(|(client, tickets)| (client.clone(), tickets)) {
            Some((longest, tickets)) if tickets.len() > own + 1 => {
                let last = tickets[tickets.len() - 1];
                self.leave(&longest, last);
                self.push(client, ticket);
                Joined::WaitsInsteadOf(last)
            }
            _ => Joined::Full,
        }
    }

    fn push(&mut self, client: C, ticket: Ticket) {
        let tickets = self.by_client.entry(client.clone()).or_default();
        if tickets.is_empty() {
            self.turns.push_back(client);
        }
        tickets.push_back(ticket);
        self.length += 1;
    }

    /// Takes the next one out for room at a spot, if that is known: one that is bound to it, else
    /// one that was sent back, at last one that is bound elsewhere, to look again.
    pub fn call(&mut self, at: Option<Spot>) -> Option<Ticket> {
        at.and_then(|spot| self.call_bound(spot))
            .or_else(|| self.call_returned())
            .or_else(|| self.call_new())
            .or_else(|| self.bound.keys().next().copied().and_then(|spot| self.call_bound(spot)))
    }

    fn call_returned(&mut self) -> Option<Ticket> {
        let ticket = self.returned.pop_front()?;
        self.length -= 1;
        Some(ticket)
    }

    /// Takes the next one out that is bound to this spot.
    pub fn call_bound(&mut self, spot: Spot) -> Option<Ticket> {
        let tickets = self.bound.get_mut(&spot)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.bound.remove(&spot);
        }
        self.length -= usize::from(ticket.is_some());
        ticket
    }

    /// Takes the next one out that has not been called before.
    pub fn call_new(&mut self) -> Option<Ticket> {
        let client = self.turns.pop_front()?;
        let tickets = self.by_client.get_mut(&client)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.by_client.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.length -= 1;
        ticket
    }

    /// Sends one back that was called in vain. `bound`: there is no room at the spot that it waits
    /// for alone.
    pub fn put_back(&mut self, ticket: Ticket, bound: Option<Spot>) {
        match bound {
            Some(spot) => self.bound.entry(spot).or_default().push_back(ticket),
            None => self.returned.push_back(ticket),
        }
        self.length += 1;
    }

    /// Gives a place up that has not been called.
    pub fn leave(&mut self, client: &C, ticket: Ticket) {
        let mut left = remove(&mut self.returned, ticket);
        self.bound.retain(|_, tickets| {
            left += remove(tickets, ticket);
            !tickets.is_empty()
        });
        self.length -= left;
        let Some(tickets) = self.by_client.get_mut(client) else { return };
        self.length -= remove(tickets, ticket);
        if tickets.is_empty() {
            self.by_client.remove(client);
            self.turns.retain(|other| other != client);
        }
    }
}

/// How many it removed.
fn remove(tickets: &mut VecDeque<Ticket>, ticket: Ticket) -> usize {
    let before = tickets.len();
    tickets.retain(|other| *other != ticket);
    before - tickets.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(clients: &str) -> Line<char> {
        let mut line = Line::default();
        for (ticket, client) in (0..).zip(clients.chars()) {
            assert_eq!(line.join(client, ticket, usize::MAX), Joined::Waits);
        }
        line
    }

    fn called(mut line: Line<char>) -> Vec<Ticket> {
        std::iter::from_fn(|| line.call(None)).collect()
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_order() {
        assert_eq!(called(line("aaaabbc")), [0, 4, 6, 1, 5, 2, 3]);
    }

    #[test]
    fn whoever_is_bound_to_a_spot_is_called_when_there_is_room_at_it() {
        const HERE: Spot = 1;
        const THERE: Spot = 2;
        let mut line = line("abcd");
        let first: Vec<_> = (0..3).filter_map(|_| line.call(None)).collect();
        assert_eq!(first, [0, 1, 2]);
        line.put_back(0, Some(THERE));
        line.put_back(1, Some(HERE));
        line.put_back(2, None);
        assert_eq!(line.len(), 4);

        // Before all others here, and after all others elsewhere.
        assert_eq!(line.call(Some(HERE)), Some(1));
        assert_eq!(line.call(Some(HERE)), Some(2));
        assert_eq!(line.call(Some(HERE)), Some(3));
        assert_eq!(line.call(Some(HERE)), Some(0));
        assert!(line.is_empty() && line.call(Some(THERE)).is_none());
    }

    #[test]
    fn whoever_is_bound_can_leave() {
        let mut line = line("a");
        assert_eq!(line.call(None), Some(0));
        line.put_back(0, Some(7));
        line.leave(&'a', 0);
        assert!(line.is_empty() && line.call_bound(7).is_none());
    }

    #[test]
    fn whoever_leaves_frees_the_place() {
        let mut line = line("aab");
        line.leave(&'a', 0);
        line.leave(&'b', 2);
        line.leave(&'b', 2);
        assert_eq!(line.len(), 1);
        assert_eq!(called(line), [1]);
    }

    #[test]
    fn who_is_sent_back_keeps_its_turn() {
        let mut line = line("ab");
        let first = line.call(None).unwrap();
        line.put_back(first, None);
        assert_eq!(line.len(), 2);
        assert_eq!(called(line), [0, 1]);
    }

    #[test]
    fn a_full_line_takes_a_newcomer_in_place_of_the_greediest_client() {
        let mut line = line("aaab");
        assert_eq!(line.join('c', 10, 4), Joined::WaitsInsteadOf(2));
        assert_eq!(line.join('a', 11, 4), Joined::Full);
        assert_eq!(line.join('c', 12, 4), Joined::Full);
        assert_eq!(called(line), [0, 3, 10, 1]);
    }

    #[test]
    fn without_places_nobody_waits() {
        assert_eq!(Line::default().join('a', 0, 0), Joined::Full);
    }

    #[test]
    fn a_newcomer_knows_how_many_are_called_before_it() {
        let line = line("aaaab");
        assert_eq!(line.ahead_of(&'c'), 2);
        assert_eq!(line.ahead_of(&'b'), 3);
        assert_eq!(line.ahead_of(&'a'), 5);
        assert_eq!(Line::default().ahead_of(&'a'), 0);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(char),
        Call,
        CallAndPutBack,
        Leave(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => prop::char::range('a', 'd').prop_map(Step::Join),
            1 => Just(Step::Call),
            1 => Just(Step::CallAndPutBack),
            1 => (0u64..60).prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn whoever_waits_is_called_once(steps in prop::collection::vec(step(), 0..60)) {
            let mut line = Line::default();
            let mut waiting: Vec<(char, Ticket)> = Vec::new();
            for (ticket, step) in (0..).zip(steps) {
                match step {
                    Step::Join(client) => match line.join(client, ticket, 8) {
                        Joined::Waits => waiting.push((client, ticket)),
                        Joined::WaitsInsteadOf(other) => {
                            waiting.retain(|(_, ticket)| *ticket != other);
                            waiting.push((client, ticket));
                        }
                        Joined::Full => prop_assert_eq!(waiting.len(), 8),
                    },
                    Step::Call => {
                        let called = line.call(None);
                        prop_assert_eq!(called.is_some(), !waiting.is_empty());
                        waiting.retain(|(_, ticket)| Some(*ticket) != called);
                    }
                    Step::CallAndPutBack => {
                        if let Some(called) = line.call(None) {
                            line.put_back(called, None);
                        }
                    }
                    Step::Leave(which) => {
                        let found = waiting.iter().position(|(_, ticket)| *ticket == which);
                        if let Some((client, ticket)) = found.map(|at| waiting.remove(at)) {
                            line.leave(&client, ticket);
                        }
                    }
                }
                prop_assert_eq!(line.len(), waiting.len());
            }
            let mut rest: Vec<Ticket> = std::iter::from_fn(|| line.call(None)).collect();
            rest.sort_unstable();
            waiting.sort_unstable_by_key(|(_, ticket)| *ticket);
            prop_assert_eq!(rest, waiting.iter().map(|(_, t)| *t).collect::<Vec<_>>());
            prop_assert!(line.by_client.is_empty() && line.turns.is_empty());
        }
    }
}
