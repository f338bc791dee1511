//! What the workers' runtime promises to its tasks, under both drivers.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests, which clippy cannot see

mod sends;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringgate::net::listener::{self, Listener};
use ringgate::net::socket::{Leave, Socket};
use ringgate::runtime::buffers::{BUFFER_BYTES, Chunk};
use ringgate::runtime::core::Core;
use ringgate::runtime::io::{Deadline, Sleep, yield_now};
use ringgate::runtime::mailbox::Mailbox;
use ringgate::runtime::probe::{Chosen, Wanted, choose};
use ringgate::runtime::thread;
use ringgate::telemetry::event_loop::LoopStats;

/// Longer than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The best driver of this machine, and epoll.
fn drivers() -> [Chosen; 2] {
    [Wanted::Any, Wanted::Epoll].map(|wanted| choose(wanted).unwrap().chosen)
}

/// Runs one task to its end on a loop of its own.
fn block_on<T, F>(chosen: Chosen, task: impl FnOnce(Rc<Core>) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    block_on_counted(chosen, &Arc::default(), task)
}

/// The same, with the loop's own counters.
fn block_on_counted<T, F>(
    chosen: Chosen,
    stats: &Arc<LoopStats>,
    task: impl FnOnce(Rc<Core>) -> F + Send + 'static,
) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let prepare = move |core: &Rc<Core>| {
        let (task, core_again) = (task(Rc::clone(core)), Rc::clone(core));
        core.spawn(async move {
            let value = task.await;
            core_again.stop();
            sender.send(value).unwrap();
        });
    };
    let thread = thread::start(0, None, chosen, Arc::clone(stats), prepare).unwrap();
    let value = receiver.recv_timeout(PATIENCE).expect("the task panicked, or waits for ever");
    thread.join().unwrap().unwrap();
    value
}

async fn receive(socket: &Socket) -> io::Result<Option<Chunk>> {
    poll_fn(|cx| socket.poll_recv(cx)).await
}

/// By way of the ring's buffers, where there is a ring.
async fn receive_later(socket: &Socket) -> io::Result<Option<Chunk>> {
    poll_fn(|cx| socket.poll_recv_later(cx)).await
}

async fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    let deadline = Deadline::new(socket.core());
    socket.send_all(&mut [IoSlice::new(bytes)], Leave::AtOnce, &deadline).await
}

/// Sends back what comes until the peer has had enough.
async fn echo(socket: Socket) {
    while let Ok(Some(chunk)) = receive(&socket).await {
        if send(&socket, &chunk).await.is_err() {
            return;
        }
    }
}

/// Lets the loop turn until `is_done`.
async fn turn_until(core: &Rc<Core>, is_done: impl Fn() -> bool) {
    let limit = core.now() + PATIENCE;
    while !is_done() {
        assert!(core.now() < limit, "it never came to it");
        Sleep::for_time(core, Duration::from_millis(1)).await;
    }
}

#[test]
fn many_sockets_are_echoed_at_the_same_time() {
    for chosen in drivers() {
        let (near, far): (Vec<_>, Vec<_>) = (0..300).map(|_| UnixStream::pair().unwrap()).unzip();
        let clients = std::thread::spawn(move || talk(near));
        block_on(chosen, move |core| async move {
            for stream in far {
                stream.set_nonblocking(true).unwrap();
                core.spawn(echo(Socket::accepted(&core, stream.into()).unwrap()));
            }
            // This task and the one that answers other threads are left.
            turn_until(&core, || core.tasks() == 2).await;
            assert_eq!(core.buffers_in_use(), 0);
        });
        clients.join().unwrap();
    }
}

/// Three rounds over all of them before any closes.
fn talk(mut streams: Vec<UnixStream>) {
    for round in 0..3 {
        for (index, stream) in streams.iter_mut().enumerate() {
            write!(stream, "{round} {index:03}").unwrap();
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *format!("{round} {index:03}").as_bytes());
        }
    }
}

#[test]
fn a_receive_that_was_given_up_loses_nothing() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            for round in 0..100 {
                let nothing = poll_fn(|cx| Poll::Ready(near.poll_recv(cx).is_pending())).await;
                assert!(nothing);
                let text = format!("round {round}");
                send(&far, text.as_bytes()).await.unwrap();
                // Whether the bytes come before or after somebody asks again.
                for _ in 0..round % 3 {
                    yield_now().await;
                }
                assert_eq!(&receive(&near).await.unwrap().unwrap()[..], text.as_bytes());
            }
            assert_eq!(core.buffers_in_use(), 0);
        });
    }
}

#[test]
fn a_receive_that_timed_out_finds_what_came_later() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            let deadline = Deadline::new(&core);
            deadline.set(Some(Duration::from_millis(2)));
            let late = deadline.limit(|cx| near.poll_recv(cx)).await;
            assert_eq!(late.err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
            send(&far, b"late").await.unwrap();
            assert_eq!(&receive(&near).await.unwrap().unwrap()[..], b"late");
        });
    }
}

#[test]
fn the_end_of_a_stream_comes_after_its_bytes_and_stays() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            send(&far, b"last words").await.unwrap();
            far.finish_sending();
            assert_eq!(&receive(&near).await.unwrap().unwrap()[..], b"last words");
            for _ in 0..3 {
                assert!(receive(&near).await.unwrap().is_none());
            }
            // The other direction is still open.
            send(&near, b"heard").await.unwrap();
            assert_eq!(&receive(&far).await.unwrap().unwrap()[..], b"heard");
        });
    }
}

#[test]
fn an_idle_connection_is_quiet_until_something_comes() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            assert!(near.is_quiet());
            yield_now().await;
            assert!(near.is_quiet());
            drop(far);
            turn_until(&core, || !near.is_quiet()).await;
        });
    }
}

#[test]
fn a_deadline_passes_within_two_ticks_and_never_early() {
    let time = Duration::from_millis(5);
    for chosen in drivers() {
        let lateness = block_on(chosen, move |core| async move {
            let mut least = u64::MAX;
            for _ in 0..20 {
                // The machine may be busy for a moment, but not each time.
                let due = core.now() + time;
                Sleep::until(&core, due).await;
                assert!(core.precise_now() >= due);
                least = least.min(core.precise_now().nanos_since(due));
            }
            least
        });
        assert!(lateness <= 2_000_000, "{lateness} ns late under {}", chosen.name());
    }
}

#[test]
fn a_deadline_that_was_moved_passes_at_its_new_time_only() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let deadline = Deadline::new(&core);
            deadline.set(Some(Duration::from_millis(1)));
            deadline.set(Some(Duration::from_millis(20)));
            let due = deadline.due().unwrap();
            poll_fn(|cx| deadline.poll_passed(cx)).await;
            assert!(core.now() >= due);
            deadline.set(None);
            let is_off = poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx).is_pending())).await;
            assert!(is_off);
        });
    }
}

#[test]
fn a_panic_ends_its_task_alone_and_is_counted() {
    for chosen in drivers() {
        let stats = Arc::new(LoopStats::default());
        let (sender, receiver) = mpsc::channel();
        let prepare = move |core: &Rc<Core>| {
            let (near, far) = Socket::pair(core).unwrap();
            core.spawn(echo(far));
            core.spawn(async { panic!("one of the panics that this test wants") });
            core.spawn(async {
                let _bomb = PanicsOnDrop;
                yield_now().await;
            });
            let again = Rc::clone(core);
            core.spawn(async move {
                turn_until(&again, || again.stats().panics.get() == 2).await;
                send(&near, b"alive").await.unwrap();
                let answer = receive(&near).await.unwrap().unwrap();
                // This task, the echo, and the one that answers other threads.
                sender.send((answer.to_vec(), again.tasks())).unwrap();
                again.stop();
            });
        };
        let thread = thread::start(0, None, chosen, Arc::clone(&stats), prepare).unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), (b"alive".to_vec(), 3));
        thread.join().unwrap().unwrap();
        assert_eq!(stats.panics.get(), 2);
    }
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("the other panic that this test wants");
    }
}

#[test]
fn a_task_is_woken_by_other_threads() {
    for chosen in drivers() {
        let mailbox = Arc::new(Mailbox::new(4));
        let senders: Vec<_> = (0..4).map(|number| send_all(&mailbox, number)).collect();
        let mut numbers = block_on(chosen, move |_| async move {
            let mut numbers = Vec::new();
            while numbers.len() < 4000 {
                numbers.push(mailbox.receive().await);
            }
            numbers
        });
        for sender in senders {
            sender.join().unwrap();
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..4000));
    }
}

/// Sends a quarter of the numbers below 4000 from a thread of its own.
fn send_all(mailbox: &Arc<Mailbox<u32>>, first: u32) -> std::thread::JoinHandle<()> {
    let mailbox = Arc::clone(mailbox);
    std::thread::spawn(move || {
        for number in (first..4000).step_by(4) {
            while mailbox.send(number).is_err() {
                std::thread::yield_now();
            }
        }
    })
}

#[test]
fn a_wake_after_the_end_of_its_loop_or_task_does_nothing() {
    for chosen in drivers() {
        let waker = block_on(chosen, |core| async move {
            let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
            let slot = Rc::clone(&waker);
            core.spawn(poll_fn(move |cx: &mut Context<'_>| {
                *slot.borrow_mut() = Some(cx.waker().clone());
                Poll::Ready(())
            }));
            turn_until(&core, || waker.borrow().is_some()).await;
            let waker = waker.take().unwrap();
            // The next task gets the slot of the one that has ended.
            let polls = Rc::new(Cell::new(0));
            let count = Rc::clone(&polls);
            core.spawn(poll_fn(move |_| {
                count.set(count.get() + 1);
                Poll::Pending
            }));
            turn_until(&core, || polls.get() == 1).await;
            waker.wake_by_ref();
            yield_now().await;
            yield_now().await;
            assert_eq!(polls.get(), 1);
            waker
        });
        waker.wake();
    }
}

#[test]
fn every_buffer_comes_back_after_ten_thousand_short_connections() {
    for chosen in drivers() {
        let mut sockets = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let socket = sockets.pop().unwrap();
        let address = listener::local_address(&socket).unwrap();
        let clients = std::thread::spawn(move || (0..10_000).for_each(|n| visit(address, n)));
        block_on(chosen, move |core| async move {
            let accepted = Rc::new(Cell::new(0));
            core.spawn(accept_and_echo(Rc::clone(&core), socket, Rc::clone(&accepted)));
            turn_until(&core, || accepted.get() == 10_000 && core.tasks() == 3).await;
            assert_eq!(core.buffers_in_use(), 0);
        });
        clients.join().unwrap();
    }
}

async fn accept_and_echo(core: Rc<Core>, socket: OwnedFd, accepted: Rc<Cell<u32>>) {
    let listener = Listener::new(&core, socket).unwrap();
    let serve = |fd, _| {
        accepted.set(accepted.get() + 1);
        core.spawn(echo(Socket::accepted(&core, fd).unwrap()));
    };
    listener.accept_each(|| true, serve).await.unwrap();
}

/// A client that waits for its answer, or goes away before it, or never says anything. It leaves
/// with a reset, so that the ports of this machine are not used up.
fn visit(address: SocketAddr, number: u32) {
    let mut stream = TcpStream::connect(address).unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    if !number.is_multiple_of(3) {
        stream.write_all(b"hello").unwrap();
    }
    if number % 3 == 2 {
        stream.read_exact(&mut [0; 5]).unwrap();
    }
}

#[test]
fn receives_go_on_when_all_ring_buffers_are_held() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let pairs: Vec<_> = (0..200).map(|_| Socket::pair(&core).unwrap()).collect();
            for round in 0..3u8 {
                let mut held = Vec::new();
                for (near, far) in &pairs {
                    send(far, &[round; 100]).await.unwrap();
                    held.push(receive_later(near).await.unwrap().unwrap());
                }
                assert_eq!(core.buffers_in_use(), 200);
                assert!(held.iter().all(|chunk| chunk[..] == [round; 100]));
            }
            assert_eq!(core.buffers_in_use(), 0);
            let has_ring = core.driver_name() != "epoll";
            assert_eq!(core.stats().buffers_exhausted.get() > 0, has_ring);
        });
    }
}

#[test]
fn a_send_to_a_full_socket_waits_until_there_is_room() {
    const BYTES: usize = 8 << 20;
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            let is_sent = Rc::new(Cell::new(false));
            let done = Rc::clone(&is_sent);
            core.spawn(async move {
                let bytes: Vec<u8> = (0..BYTES).map(nth_byte).collect();
                send(&far, &bytes).await.unwrap();
                done.set(true);
            });
            for _ in 0..100 {
                yield_now().await;
            }
            assert!(!is_sent.get(), "no socket takes {BYTES} bytes at once");
            let mut count = 0;
            while let Some(chunk) = receive(&near).await.unwrap() {
                assert!(chunk.len() <= BUFFER_BYTES);
                assert!(chunk.iter().copied().eq((count..).map(nth_byte).take(chunk.len())));
                count += chunk.len();
            }
            assert_eq!((count, is_sent.get()), (BYTES, true));
        });
    }
}

/// Of a text whose period divides no buffer.
fn nth_byte(index: usize) -> u8 {
    (index % 251) as u8
}

#[test]
fn a_send_to_a_peer_that_is_gone_fails_instead_of_waiting() {
    for chosen in drivers() {
        let kind = block_on(chosen, |core| async move {
            let (near, far) = Socket::pair(&core).unwrap();
            let again = Rc::clone(&core);
            core.spawn(async move {
                Sleep::for_time(&again, Duration::from_millis(5)).await;
                drop(far);
            });
            send(&near, &vec![0; 8 << 20]).await.unwrap_err().kind()
        });
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    }
}
