//! The log thread: takes batches of access log lines from the workers and writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::telemetry::log_queue::{Batch, LogSource, Next, QUEUED_BATCHES_MAX, log_queue};
use crate::telemetry::{LogSink, SharedCounter, WorkerMetrics};

/// A full disk fails every write: saying so more often helps nobody.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Lines name clients and what they asked for: not for every user of the machine.
const FILE_MODE: u32 = 0o640;

/// The handle of the log thread. Dropping it ends the thread, in its own time.
pub struct LogWriter {
    commands: Sender<Command>,
    thread: Thread,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    unwritten: Arc<SharedCounter>,
}

enum Command {
    Serve(LogSource),
    Open(Target),
    Stop,
}

/// `None` is standard output.
type Target = Option<PathBuf>;

impl LogWriter {
    /// Starts the thread; it appends to the file at `target`, or writes to standard output.
    pub fn start(target: Option<PathBuf>) -> io::Result<Self> {
        let output = Lines::new(open(target.as_deref())?);
        let (commands, received) = mpsc::channel();
        let (alive, ended) = mpsc::channel::<()>();
        let unwritten = Arc::<SharedCounter>::default();
        let scribe = Scribe {
            commands: received,
            sources: Vec::new(),
            output,
            target,
            unwritten: Arc::clone(&unwritten),
            complained_at: None,
        };
        let joiner = thread::Builder::new().name("log-writer".into()).spawn(move || {
            scribe.run();
            drop(alive);
        })?;
        Ok(Self { commands, thread: joiner.thread().clone(), ended, unwritten })
    }

    /// The end of a new queue, for one worker.
    pub fn sink(&self, metrics: Arc<WorkerMetrics>) -> LogSink {
        let (sink, source) = log_queue(metrics, Waker::from(Arc::new(Unpark(self.thread.clone()))));
        self.command(Command::Serve(source));
        sink
    }

    /// Opens `target` anew: after a rotation the same path, after a reload perhaps another one.
    /// If that fails, lines go on to where they went, and the program's log says so.
    pub fn open(&self, target: Option<PathBuf>) {
        self.command(Command::Open(target));
    }

    /// Lines that were handed over and could not be written.
    pub fn unwritten(&self) -> u64 {
        self.unwritten.get()
    }

    /// Writes all that was handed over so far and ends the thread. False if that took longer than
    /// `patience`: standard output may be a pipe that nobody reads.
    pub fn stop(self, patience: Duration) -> bool {
        self.command(Command::Stop);
        self.ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
    }

    fn command(&self, command: Command) {
        // Fails only when the thread is gone: then sinks count what they cannot hand over.
        let _ = self.commands.send(command);
        self.thread.unpark();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.command(Command::Stop);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// What runs on the log thread.
struct Scribe {
    commands: Receiver<Command>,
    sources: Vec<LogSource>,
    output: Lines<File>,
    target: Target,
    unwritten: Arc<SharedCounter>,
    complained_at: Option<Instant>,
}

impl Scribe {
    fn run(mut self) {
        while self.obey() {
            if !self.write_round() {
                // Whoever hands something over unparks after that, so nothing is overlooked.
                thread::park();
            }
        }
        self.drain();
    }

    /// Carries out what was commanded. False at the end.
    fn obey(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Serve(source)) => self.sources.push(source),
                Ok(Command::Open(target)) => self.open(target),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn open(&mut self, target: Target) {
        // What was handed over before belongs to the old file.
        self.drain();
        match open(target.as_deref()) {
            Ok(file) => {
                self.output = Lines::new(file);
                self.target = target;
            }
            Err(error) => tracing::warn!(
                "access log: cannot open {}, so lines still go to {}: {error}",
                shown(&target),
                shown(&self.target),
            ),
        }
    }

    /// Writes all that was waiting; not what comes in meanwhile, which may be more than the disk
    /// can take.
    fn drain(&mut self) {
        for _ in 0..QUEUED_BATCHES_MAX {
            if !self.write_round() {
                break;
            }
        }
    }

    /// Writes one batch of each worker, so that a busy one does not hold up the others. False if
    /// there was none.
    fn write_round(&mut self) -> bool {
        let mut sources = std::mem::take(&mut self.sources);
        let mut found = false;
        sources.retain(|source| match source.next() {
            Next::Batch(batch) => {
                self.write(&batch);
                source.recycle(batch.bytes);
                found = true;
                true
            }
            Next::Empty => true,
            Next::Ended => false,
        });
        self.sources = sources;
        found
    }

    fn write(&mut self, batch: &Batch) {
        if let Err(lost) = self.output.write(batch) {
            self.unwritten.add(lost.lines);
            self.complain(&lost);
        }
    }

    fn complain(&mut self, lost: &Lost) {
        if self.complained_at.is_some_and(|at| at.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        self.complained_at = Some(Instant::now());
        tracing::error!(
            "access log: cannot write to {}: {} ({} lines lost since the start)",
            shown(&self.target),
            lost.cause,
            self.unwritten.get(),
        );
    }
}

/// Opens the log to append to. A FIFO that nobody reads is an error, where a plain open would
/// wait for a reader.
pub(super) fn open(target: Option<&Path>) -> io::Result<File> {
    match target {
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NONBLOCK)
            .open(path),
        // A handle of its own: std's buffers by line, which would make each line a write.
        None => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
    }
}

fn shown(target: &Target) -> String {
    target.as_ref().map_or_else(|| "standard output".into(), |path| path.display().to_string())
}

/// Writes whole lines. When a write breaks off inside a line, the next one begins a new line.
struct Lines<W> {
    inner: W,
    torn: bool,
}

struct Lost {
    lines: u64,
    cause: io::Error,
}

impl<W: Write> Lines<W> {
    fn new(inner: W) -> Self {
        Self { inner, torn: false }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        if self.torn {
            self.write_up_to(b"\n").map_err(|(_, cause)| Lost { lines: batch.lines, cause })?;
            self.torn = false;
        }
        self.write_up_to(&batch.bytes).map_err(|(written, cause)| {
            let whole = memchr::memchr_iter(b'\n', &batch.bytes[..written]).count() as u64;
            self.torn = written > 0 && batch.bytes[written - 1] != b'\n';
            Lost { lines: batch.lines.saturating_sub(whole), cause }
        })
    }

    /// `write_all` that tells, on failure, how many bytes it had written.
    fn write_up_to(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.inner.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fs;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn metrics() -> Arc<WorkerMetrics> {
        Arc::new(WorkerMetrics::new(0, &[], &[]))
    }

    fn log(sink: &mut LogSink, line: &str) {
        sink.line().extend_from_slice(line.as_bytes());
        sink.commit();
    }

    #[test]
    fn stopping_writes_everything_that_was_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "from before\n").unwrap();
        let writer = LogWriter::start(Some(path.clone())).unwrap();
        let mut sink = writer.sink(metrics());
        log(&mut sink, "one");
        sink.flush();
        log(&mut sink, "two");
        drop(sink);
        assert!(writer.stop(PATIENCE));
        assert_eq!(fs::read_to_string(path).unwrap(), "from before\none\ntwo\n");
    }

    #[test]
    fn lines_of_several_workers_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let writer = LogWriter::start(Some(path.clone())).unwrap();
        let workers = [metrics(), metrics(), metrics()];
        thread::scope(|scope| {
            for (worker, metrics) in workers.iter().enumerate() {
                let mut sink = writer.sink(Arc::clone(metrics));
                scope.spawn(move || {
                    (0..5_000).for_each(|n| log(&mut sink, &format!("worker {worker} line {n}")));
                });
            }
        });
        assert!(writer.stop(PATIENCE));
        let text = fs::read_to_string(path).unwrap();
        let dropped: u64 = workers.iter().map(|worker| worker.access_log_dropped.get()).sum();
        let written: HashSet<_> = text.lines().collect();
        assert_eq!(written.len() as u64 + dropped, 15_000);
        let expected: HashSet<_> = (0..3)
            .flat_map(|worker| (0..5_000).map(move |n| format!("worker {worker} line {n}")))
            .collect();
        assert!(written.iter().all(|line| expected.contains(*line)));
    }

    #[test]
    fn after_a_rotation_lines_go_to_the_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("access.log"), folder.path().join("access.1"));
        let writer = LogWriter::start(Some(path.clone())).unwrap();
        let mut sink = writer.sink(metrics());
        log(&mut sink, "old");
        sink.flush();
        fs::rename(&path, &rotated).unwrap();
        writer.open(Some(path.clone()));
        assert!(writer.stop(PATIENCE));
        assert_eq!(fs::read_to_string(rotated).unwrap(), "old\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "");
    }

    #[test]
    fn a_target_that_cannot_be_opened_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let writer = LogWriter::start(Some(path.clone())).unwrap();
        writer.open(Some(folder.path().join("missing/access.log")));
        let mut sink = writer.sink(metrics());
        log(&mut sink, "still here");
        drop(sink);
        assert!(writer.stop(PATIENCE));
        assert_eq!(fs::read_to_string(path).unwrap(), "still here\n");
        assert!(LogWriter::start(Some(folder.path().join("missing/access.log"))).is_err());
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted() {
        let writer = LogWriter::start(Some("/dev/full".into())).unwrap();
        let unwritten = Arc::clone(&writer.unwritten);
        let mut sink = writer.sink(metrics());
        (0..3).for_each(|_| log(&mut sink, "lost"));
        drop(sink);
        assert!(writer.stop(PATIENCE));
        assert_eq!(unwritten.get(), 3);
    }

    #[test]
    fn a_sink_that_outlives_the_thread_counts_its_lines_as_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let writer = LogWriter::start(Some(folder.path().join("access.log"))).unwrap();
        let metrics = metrics();
        let mut sink = writer.sink(Arc::clone(&metrics));
        assert!(writer.stop(PATIENCE));
        log(&mut sink, "too late");
        sink.flush();
        assert_eq!(metrics.access_log_dropped.get(), 1);
    }

    /// Takes as many bytes as there is room for, then fails until there is more.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.bytes.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_swallow_the_next() {
        let mut lines = Lines::new(Disk { bytes: Vec::new(), room: 6 });
        let batch = Batch { bytes: b"one\ntwo\nthree\n".to_vec(), lines: 3 };
        let lost = lines.write(&batch).err().unwrap();
        assert_eq!((lost.lines, lost.cause.kind()), (2, io::ErrorKind::StorageFull));
        assert_eq!(lines.write(&batch).err().unwrap().lines, 3);
        lines.inner.room = 100;
        assert!(lines.write(&batch).is_ok());
        assert_eq!(lines.inner.bytes, b"one\ntw\none\ntwo\nthree\n");
    }
}
