//! Sends that leave with the turn.

use super::*;

/// Small enough to be gathered.
const MESSAGE: usize = 1000;

async fn send_with_turn(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    let deadline = Deadline::new(socket.core());
    socket.send_all(&mut [IoSlice::new(bytes)], Leave::WithTurn, &deadline).await
}

/// Keeps a task ready at all times, so that sends of others have company to leave with.
struct Company(Rc<Cell<bool>>);

impl Company {
    fn of(core: &Rc<Core>) -> Self {
        let over = Rc::new(Cell::new(false));
        let again = Rc::clone(&over);
        core.spawn(async move {
            while !again.get() {
                yield_now().await;
            }
        });
        Self(over)
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// The message with this number, which no other has.
fn message(number: usize) -> Vec<u8> {
    (number * MESSAGE..).map(nth_byte).take(MESSAGE).collect()
}

/// Receives to the end and expects nothing but so many messages, in order.
async fn expect_messages(socket: &Socket, count: usize) {
    let mut received = 0;
    while let Some(chunk) = receive(socket).await.unwrap() {
        assert!(chunk.iter().copied().eq((received..).map(nth_byte).take(chunk.len())));
        received += chunk.len();
    }
    assert_eq!(received, count * MESSAGE);
}

#[test]
fn what_leaves_with_the_turn_is_not_overtaken_by_what_leaves_at_once() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            let (near, far) = Socket::pair(&core).unwrap();
            for number in 0..30 {
                match number % 3 {
                    0 => send(&far, &message(number)).await.unwrap(),
                    _ => send_with_turn(&far, &message(number)).await.unwrap(),
                }
            }
            drop(far);
            expect_messages(&near, 30).await;
        });
    }
}

#[test]
fn what_a_full_socket_did_not_take_goes_on_in_order_when_there_is_room() {
    const MESSAGES: usize = 4000;
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            let (near, far) = Socket::pair(&core).unwrap();
            let sent = Rc::new(Cell::new(0));
            let count = Rc::clone(&sent);
            core.spawn(async move {
                for number in 0..MESSAGES {
                    send_with_turn(&far, &message(number)).await.unwrap();
                    count.set(number + 1);
                    // Most of them find the one before on its way, some do not.
                    if number % 7 == 0 {
                        yield_now().await;
                    }
                }
                // The last one must have been taken whole before its socket goes.
                send(&far, &message(MESSAGES)).await.unwrap();
            });
            for _ in 0..MESSAGES {
                yield_now().await;
            }
            assert!(sent.get() < MESSAGES, "no socket takes {MESSAGES} messages at once");
            expect_messages(&near, MESSAGES + 1).await;
        });
    }
}

#[test]
fn a_socket_that_is_dropped_right_behind_a_message_delivers_it() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            for _ in 0..100 {
                let (near, far) = Socket::pair(&core).unwrap();
                send_with_turn(&far, &message(0)).await.unwrap();
                drop(far);
                expect_messages(&near, 1).await;
            }
        });
    }
}

#[test]
fn what_leaves_with_the_turn_comes_before_the_end_of_the_stream() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            let (near, far) = Socket::pair(&core).unwrap();
            send_with_turn(&far, &message(0)).await.unwrap();
            far.finish_sending();
            expect_messages(&near, 1).await;
        });
    }
}

#[test]
fn a_thousand_sockets_send_in_one_turn() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            let pairs: Vec<_> = (0..1000).map(|_| Socket::pair(&core).unwrap()).collect();
            for (number, (_, far)) in pairs.iter().enumerate() {
                send_with_turn(far, &message(number)).await.unwrap();
            }
            for (number, (near, _)) in pairs.iter().enumerate() {
                assert_eq!(*receive(near).await.unwrap().unwrap(), *message(number));
            }
        });
    }
}

#[test]
fn sends_that_leave_with_the_turn_are_no_system_calls_where_there_is_a_ring() {
    let chosen = choose(Wanted::Any).unwrap().chosen;
    if chosen == choose(Wanted::Epoll).unwrap().chosen {
        return;
    }
    let stats: Arc<LoopStats> = Arc::default();
    block_on_counted(chosen, &stats, |core| async move {
        let _company = Company::of(&core);
        let pairs: Vec<_> = (0..8).map(|_| Socket::pair(&core).unwrap()).collect();
        for _ in 0..1000 {
            for (_, far) in &pairs {
                send_with_turn(far, &message(0)).await.unwrap();
            }
            for (near, _) in &pairs {
                receive_later(near).await.unwrap().unwrap();
            }
        }
    });
    let calls = stats.syscalls.get();
    assert!(calls < 8 * 10, "{calls} calls for 8000 messages");
}

#[test]
fn a_message_to_a_peer_that_is_gone_is_noticed_by_the_next_operation() {
    for chosen in drivers() {
        block_on(chosen, |core| async move {
            let _company = Company::of(&core);
            let (near, far) = Socket::pair(&core).unwrap();
            drop(far);
            // The end of the peer is seen by the ring at the end of the turn.
            yield_now().await;
            yield_now().await;
            let _ = send_with_turn(&near, &message(0)).await;
            let kind = send(&near, &message(1)).await.unwrap_err().kind();
            assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
            assert!(!matches!(receive(&near).await, Ok(Some(_))));
        });
    }
}
