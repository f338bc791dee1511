//! The way of access log lines from a worker to the thread that writes them.
//!
//! Lines travel in batches through a bounded queue with one producer and one consumer. A worker
//! never waits: when the queue is full, the batch's lines are dropped and counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::task::Waker;

use super::worker::WorkerMetrics;

/// A batch is handed over when it has this many bytes. One write of 32 KiB costs the log thread
/// about as much as copying it does.
const BATCH_BYTES: usize = 32 * 1024;
/// Room for the line that makes a batch full.
const BATCH_CAPACITY: usize = BATCH_BYTES + 4 * 1024;
/// Batches that may wait for the log thread: 2 MiB for each worker, some 7,000 lines.
pub const QUEUED_BATCHES_MAX: usize = 64;
/// Written batches whose memory is kept for later ones.
const SPARE_BATCHES_MAX: usize = 4;

/// Whole lines, each with its line feed.
#[derive(Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub lines: u64,
}

/// The worker's end.
pub struct LogSink {
    batch: Batch,
    /// Bytes of `batch` that belong to committed lines.
    committed: usize,
    queue: SyncSender<Batch>,
    spare: Receiver<Vec<u8>>,
    writer: Waker,
    metrics: Arc<WorkerMetrics>,
}

/// The log thread's end.
pub struct LogSource {
    queue: Receiver<Batch>,
    spare: SyncSender<Vec<u8>>,
}

/// A queue for one worker. `writer` wakes the log thread; waking must not block.
pub fn log_queue(metrics: Arc<WorkerMetrics>, writer: Waker) -> (LogSink, LogSource) {
    let (queue, queued) = sync_channel(QUEUED_BATCHES_MAX);
    let (give_back, spare) = sync_channel(SPARE_BATCHES_MAX);
    let sink = LogSink { batch: Batch::default(), committed: 0, queue, spare, writer, metrics };
    (sink, LogSource { queue: queued, spare: give_back })
}

impl LogSink {
    /// Where to append the next line, without its line feed. It counts once it is committed; a
    /// line that was begun and not committed is forgotten.
    pub fn line(&mut self) -> &mut Vec<u8> {
        self.batch.bytes.truncate(self.committed);
        &mut self.batch.bytes
    }

    /// Ends the line, and hands the batch over if it is full.
    pub fn commit(&mut self) {
        self.batch.bytes.push(b'\n');
        self.batch.lines += 1;
        self.committed = self.batch.bytes.len();
        if self.committed >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands over what there is. To be called from time to time, lest lines wait for others.
    pub fn flush(&mut self) {
        self.batch.bytes.truncate(self.committed);
        if self.batch.lines == 0 {
            return;
        }
        let bytes = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH_CAPACITY));
        let full = std::mem::replace(&mut self.batch, Batch { bytes, lines: 0 });
        self.committed = 0;
        let lines = full.lines;
        if self.queue.try_send(full).is_err() {
            self.metrics.access_log_dropped.add(lines);
        }
        self.writer.wake_by_ref();
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What [`LogSource::next`] finds.
#[derive(Debug)]
pub enum Next {
    Batch(Batch),
    /// Nothing at the moment.
    Empty,
    /// Nothing any more: the sink is gone.
    Ended,
}

impl LogSource {
    pub fn next(&self) -> Next {
        match self.queue.try_recv() {
            Ok(batch) => Next::Batch(batch),
            Err(TryRecvError::Empty) => Next::Empty,
            Err(TryRecvError::Disconnected) => Next::Ended,
        }
    }

    /// Gives a written batch's memory back, unless there is enough, or one long line made it big.
    pub fn recycle(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= 2 * BATCH_CAPACITY {
            bytes.clear();
            // Full or gone: the memory is not needed.
            let _ = self.spare.try_send(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> (LogSink, LogSource, Arc<WorkerMetrics>) {
        let metrics = Arc::new(WorkerMetrics::new(0, &[], &[]));
        let (sink, source) = log_queue(Arc::clone(&metrics), Waker::noop().clone());
        (sink, source, metrics)
    }

    fn write(sink: &mut LogSink, line: &[u8]) {
        sink.line().extend_from_slice(line);
        sink.commit();
    }

    fn batch(source: &LogSource) -> Batch {
        match source.next() {
            Next::Batch(batch) => batch,
            other => panic!("no batch but {other:?}"),
        }
    }

    #[test]
    fn lines_wait_for_a_flush_until_the_batch_is_full() {
        let (mut sink, source, _) = queue();
        write(&mut sink, b"one");
        write(&mut sink, b"two");
        assert!(matches!(source.next(), Next::Empty));
        sink.flush();
        let first = batch(&source);
        assert_eq!((first.bytes.as_slice(), first.lines), (&b"one\ntwo\n"[..], 2));

        write(&mut sink, &[b'x'; BATCH_BYTES]);
        assert_eq!(batch(&source).lines, 1);
    }

    #[test]
    fn a_flush_without_lines_hands_nothing_over() {
        let (mut sink, source, _) = queue();
        sink.flush();
        assert!(matches!(source.next(), Next::Empty));
    }

    #[test]
    fn a_line_that_was_never_committed_leaves_no_trace() {
        let (mut sink, source, _) = queue();
        write(&mut sink, b"whole");
        sink.line().extend_from_slice(b"hal");
        sink.flush();
        assert_eq!(batch(&source).bytes, b"whole\n");
        sink.line().extend_from_slice(b"hal");
        write(&mut sink, b"next");
        sink.flush();
        assert_eq!(batch(&source).bytes, b"next\n");
    }

    #[test]
    fn lines_beyond_a_full_queue_are_counted_not_waited_for() {
        let (mut sink, source, metrics) = queue();
        for _ in 0..QUEUED_BATCHES_MAX + 3 {
            write(&mut sink, b"a");
            write(&mut sink, b"b");
            sink.flush();
        }
        assert_eq!(metrics.access_log_dropped.get(), 6);
        let queued = std::iter::from_fn(|| match source.next() {
            Next::Batch(batch) => Some(batch.lines),
            _ => None,
        });
        assert_eq!(queued.sum::<u64>(), 2 * QUEUED_BATCHES_MAX as u64);
    }

    #[test]
    fn a_sink_that_goes_leaves_its_lines_behind() {
        let (mut sink, source, _) = queue();
        write(&mut sink, b"last words");
        drop(sink);
        assert_eq!(batch(&source).bytes, b"last words\n");
        assert!(matches!(source.next(), Next::Ended));
    }

    #[test]
    fn the_memory_of_written_batches_is_used_again_but_not_hoarded() {
        let (mut sink, source, _) = queue();
        write(&mut sink, b"one");
        sink.flush();
        let written = batch(&source).bytes;
        let place = written.as_ptr();
        source.recycle(written);
        source.recycle(Vec::with_capacity(1 << 20));
        write(&mut sink, b"two");
        sink.flush();
        write(&mut sink, b"three");
        assert_eq!(sink.batch.bytes.as_ptr(), place);
        sink.flush();
        assert!(sink.batch.bytes.capacity() < 1 << 20);
    }
}
