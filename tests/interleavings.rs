//! Every order in which the steps of several threads can fall gives what one thread would give.
//!
//! Limiters are written over `Word`. Here a word waits for its turn before each step, and a
//! director gives the turns: all orders there are, one after the other; of three threads at work
//! on several numbers, all orders with a few interruptions. A step is one access to one number,
//! which is as fine as the machine can cut it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use ringgate::policy::limit::{Bucket, Rate, Rejected, Terms, WarmUp, Warming, Window, Word};

/// More than any scenario here has: a scenario that grows beyond is a mistake.
const ORDERS_MAX: usize = 20_000;

/// No thread is spared an interruption.
const ALL: usize = usize::MAX;
/// A thread that could go on has to wait for others that often. Races need one or two (Musuvathi
/// and Qadeer, "Iterative context bounding", 2007).
const FEW: usize = 2;

thread_local! {
    /// The stage and the number of a thread that is directed.
    static ROLE: RefCell<Option<(Arc<Stage>, usize)>> = const { RefCell::new(None) };
}

/// Where the threads of one run wait for their turns.
struct Stage {
    state: Mutex<Vec<Actor>>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
enum Actor {
    Thinks,
    Waits,
    MayStep,
    Done,
}

impl Stage {
    fn new(actors: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(vec![Actor::Thinks; actors]), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Actor>> {
        self.state.lock().expect("nobody panics under the lock")
    }

    /// Sleeps while it `is_so`.
    fn wait_while(&self, is_so: impl Fn(&[Actor]) -> bool) -> MutexGuard<'_, Vec<Actor>> {
        let woken = self.changed.wait_while(self.lock(), |actors| is_so(actors));
        woken.expect("nobody panics under the lock")
    }

    fn set(&self, actor: usize, to: Actor) {
        self.lock()[actor] = to;
        self.changed.notify_all();
    }

    /// An actor is about to make a step.
    fn await_turn(&self, actor: usize) {
        self.set(actor, Actor::Waits);
        let mut actors = self.wait_while(|actors| actors[actor] != Actor::MayStep);
        actors[actor] = Actor::Thinks;
    }

    /// Those who wait for a turn, once nobody is thinking; empty at the end.
    fn await_all(&self) -> Vec<usize> {
        let is_busy = |actor: &Actor| matches!(actor, Actor::Thinks | Actor::MayStep);
        let actors = self.wait_while(|actors| actors.iter().any(is_busy));
        (0..actors.len()).filter(|actor| actors[*actor] == Actor::Waits).collect()
    }
}

/// A number whose every access is a step.
#[derive(Debug, Default)]
struct Stepped(AtomicU64);

impl Stepped {
    fn step(&self) -> &AtomicU64 {
        // Who is not directed, such as the one who looks at the end, need not wait.
        let role = ROLE.with_borrow(Clone::clone);
        if let Some((stage, actor)) = role {
            stage.await_turn(actor);
        }
        &self.0
    }
}

impl Word for Stepped {
    fn load(&self) -> u64 {
        self.step().load(Ordering::SeqCst)
    }

    fn replace(&self, seen: u64, new: u64) -> Result<(), u64> {
        let order = Ordering::SeqCst;
        self.step().compare_exchange(seen, new, order, order).map(drop)
    }

    fn lower(&self, by: u64) {
        self.step().fetch_sub(by, Ordering::SeqCst);
    }
}

/// One of several that may go next: which was chosen, and out of how many.
type Choice = (usize, usize);

/// Runs the actors on what `set_up` makes, in the order that `choices` begin with; from there on
/// the first one always goes. Returns what each said, and all choices there were.
fn play<S: Sync, R: Send>(
    subject: &S,
    actors: &[&(dyn Fn(&S) -> R + Sync)],
    choices: &[Choice],
    mut interruptions: usize,
) -> (Vec<R>, Vec<Choice>) {
    let stage = Stage::new(actors.len());
    let mut made = Vec::new();
    let said = thread::scope(|scope| {
        let act = |number: usize| {
            let stage = Arc::clone(&stage);
            let actor = actors[number];
            scope.spawn(move || {
                ROLE.set(Some((Arc::clone(&stage), number)));
                let said = actor(subject);
                stage.set(number, Actor::Done);
                said
            })
        };
        let threads: Vec<_> = (0..actors.len()).map(act).collect();
        let mut last = None;
        loop {
            let mut waiting = stage.await_all();
            if waiting.is_empty() {
                break;
            }
            let goes_on = last.filter(|last| waiting.contains(last));
            if let (Some(last), 0) = (goes_on, interruptions) {
                waiting = vec![last];
            }
            let chosen = choices.get(made.len()).map_or(0, |choice| choice.0);
            made.push((chosen, waiting.len()));
            let next = waiting[chosen];
            if goes_on.is_some_and(|last| last != next) {
                interruptions -= 1;
            }
            last = Some(next);
            stage.set(next, Actor::MayStep);
        }
        threads.into_iter().map(|thread| thread.join().expect("actors do not panic")).collect()
    });
    (said, made)
}

/// Plays every order there is with so many interruptions, and has `check` look at each outcome. Returns how many there were.
fn in_every_order<S: Sync, R: Send>(
    set_up: impl Fn() -> S,
    actors: &[&(dyn Fn(&S) -> R + Sync)],
    interruptions: usize,
    check: impl Fn(&S, &[R]),
) -> usize {
    let mut choices: Vec<Choice> = Vec::new();
    for order in 1..=ORDERS_MAX {
        let subject = set_up();
        let (said, made) = play(&subject, actors, &choices, interruptions);
        check(&subject, &said);
        // The last choice that has an alternative takes it.
        choices = made;
        while choices.pop_if(|(chosen, of)| *chosen + 1 == *of).is_some() {}
        match choices.last_mut() {
            Some(last) => last.0 += 1,
            None => return order,
        }
    }
    panic!("there are more than {ORDERS_MAX} orders");
}

type Said = Result<(), Rejected>;

const SECOND: u64 = 1_000_000_000;

fn rate(credits: u64) -> Rate {
    Rate { credits, period: Duration::from_secs(1) }
}

fn admitted(said: &[Said]) -> usize {
    said.iter().filter(|said| said.is_ok()).count()
}

#[test]
fn a_bucket_admits_exactly_its_burst() {
    let set_up = || Bucket::<Stepped>::new(Terms::new(rate(1), 2));
    let take = |bucket: &Bucket<Stepped>| bucket.take(1, SECOND);
    let orders = in_every_order(set_up, &[&take, &take, &take], ALL, |_, said: &[Said]| {
        assert_eq!(admitted(said), 2);
    });
    assert!(orders > 90, "{orders} orders");
}

#[test]
fn a_bucket_admits_by_the_clock_of_each_who_asks() {
    // One is a second ahead: for that one a credit more has come.
    let set_up = || Bucket::<Stepped>::new(Terms::new(rate(1), 1));
    let early = |bucket: &Bucket<Stepped>| bucket.take(1, SECOND);
    let late = |bucket: &Bucket<Stepped>| bucket.take(1, 2 * SECOND);
    in_every_order(set_up, &[&early, &late, &late], ALL, |_, said: &[Said]| {
        assert!((1..=2).contains(&admitted(said)));
        assert!(!(said[1].is_ok() && said[2].is_ok()), "one credit for two");
    });
}

#[test]
fn what_is_given_back_to_a_bucket_is_neither_lost_nor_doubled() {
    let set_up = || Bucket::<Stepped>::new(Terms::new(rate(1), 2));
    let take_back = |bucket: &Bucket<Stepped>| {
        let taken = bucket.take(1, SECOND);
        if taken.is_ok() {
            bucket.give_back(1);
        }
        Err(Rejected::NEVER)
    };
    let take = |bucket: &Bucket<Stepped>| bucket.take(1, SECOND);
    in_every_order(set_up, &[&take_back, &take, &take], FEW, |bucket, said: &[Said]| {
        let left = bucket.level(SECOND).remaining;
        assert_eq!(left as usize + admitted(said), 2);
    });
}

#[test]
fn a_window_admits_exactly_its_limit() {
    let set_up = || Window::<Stepped>::new(rate(2));
    let take = |window: &Window<Stepped>| window.take(1, SECOND);
    let orders = in_every_order(set_up, &[&take, &take, &take], FEW, |window, said: &[Said]| {
        assert_eq!(admitted(said), 2);
        assert_eq!(window.level(SECOND).remaining, 0);
    });
    assert!(orders > 500, "{orders} orders");
    in_every_order(
        || Window::<Stepped>::new(rate(1)),
        &[&take, &take],
        ALL,
        |_, said: &[Said]| {
            assert_eq!(admitted(said), 1);
        },
    );
}

#[test]
fn a_place_of_a_window_serves_once_in_its_length_whatever_the_clocks_say() {
    let set_up = || Window::<Stepped>::new(rate(1));
    let at = |now: u64| move |window: &Window<Stepped>| window.take(1, now).map(|()| now);
    let (first, second, third) = (at(SECOND), at(2 * SECOND), at(3 * SECOND));
    let check = |_: &Window<Stepped>, said: &[Result<u64, Rejected>]| {
        let mut times: Vec<u64> = said.iter().filter_map(|said| said.ok()).collect();
        times.sort_unstable();
        assert!(!times.is_empty());
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "{times:?}");
    };
    in_every_order(set_up, &[&first, &second], ALL, check);
    in_every_order(set_up, &[&first, &second, &third], FEW, check);
}

#[test]
fn a_window_is_whole_again_after_a_race_over_its_last_lap() {
    let set_up = || {
        let window = Window::<Stepped>::new(rate(2));
        window.take(2, SECOND).unwrap();
        window
    };
    let take = |window: &Window<Stepped>| window.take(1, 2 * SECOND);
    in_every_order(set_up, &[&take, &take], ALL, |window, said: &[Said]| {
        assert_eq!(admitted(said), 2);
        assert!(window.take(1, 2 * SECOND).is_err());
        assert!(window.take(2, 3 * SECOND).is_ok(), "no place is lost");
    });
}

#[test]
fn a_cold_warm_up_admits_no_more_than_a_cold_bucket() {
    let warming = Warming { time: Duration::from_secs(10), cold: 0.1 };
    let set_up = || {
        let warm_up = WarmUp::<Stepped>::new(Terms::new(rate(10), 10), warming);
        // Warm once, and cold by rest.
        warm_up.take(1, SECOND).unwrap();
        warm_up
    };
    let take = |warm_up: &WarmUp<Stepped>| warm_up.take(1, 30 * SECOND);
    in_every_order(set_up, &[&take, &take, &take], FEW, |warm_up, said: &[Said]| {
        assert_eq!(admitted(said), 1);
        assert!(warm_up.take(1, 30 * SECOND + SECOND / 2).is_err());
    });
}
