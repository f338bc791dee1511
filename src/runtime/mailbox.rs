//! Messages to a worker from other threads: bounded, and received by a task of its loop.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use crossbeam_queue::ArrayQueue;

/// A bounded queue with many senders and one receiving task.
pub struct Mailbox<M> {
    queue: ArrayQueue<M>,
    receiver: Mutex<Option<Waker>>,
}

impl<M> Mailbox<M> {
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity), receiver: Mutex::new(None) }
    }

    /// Gives the message back if the mailbox is full.
    pub fn send(&self, message: M) -> Result<(), M> {
        self.queue.push(message)?;
        let waker = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next message. Whoever receives after a worker was replaced gets what was waiting.
    pub async fn receive(&self) -> M {
        poll_fn(|cx| {
            if let Some(message) = self.queue.pop() {
                return Poll::Ready(message);
            }
            *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(cx.waker().clone());
            // Between the first look and now a sender may have found no waker to wake.
            self.queue.pop().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
