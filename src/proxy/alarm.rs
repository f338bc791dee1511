//! Calls the control thread: from any thread, without a runtime of its own.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// A bell with one listener. Rings that nobody has heard yet are one.
#[derive(Debug, Default)]
pub struct Alarm {
    has_rung: AtomicBool,
    listener: Mutex<Option<Waker>>,
}

impl Alarm {
    pub fn ring(&self) {
        self.has_rung.store(true, Ordering::SeqCst);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Waits for a ring that has not been heard.
    pub async fn heard(&self) {
        poll_fn(|cx| {
            *self.listener.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(cx.waker().clone());
            match self.has_rung.swap(false, Ordering::SeqCst) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_ring_is_heard_once_whether_it_comes_before_or_after_the_listener() {
        let (alarm, woken) = (Alarm::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        alarm.ring();
        alarm.ring();
        assert!(pin!(alarm.heard()).poll(&mut cx).is_ready());
        let mut second = pin!(alarm.heard());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        alarm.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }
}
