//! A worker that hangs is replaced (ARCHITECTURE.md, D10).

use std::fs;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{gateway, listener};

/// A thread of another process, held still: to its program it looks as if a call never returned.
struct Held(i32);

impl Held {
    fn thread(pid: i32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process is alive");
        let mut numbers = tasks.map(|task| task.expect("a task").file_name().into_string());
        let is_it = |number: &String| {
            let comm = fs::read_to_string(format!("/proc/{pid}/task/{number}/comm"));
            comm.is_ok_and(|comm| comm.trim() == name)
        };
        let thread = numbers.find_map(|number| number.ok().filter(is_it)).expect("such a thread");
        let thread = thread.parse().expect("tasks are numbers");
        trace(libc::PTRACE_SEIZE, thread);
        trace(libc::PTRACE_INTERRUPT, thread);
        let mut status = 0;
        // SAFETY: the pointer is to an integer that is writable for the call.
        let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert_eq!(stopped, thread, "the thread stops");
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        trace(libc::PTRACE_DETACH, self.0);
    }
}

fn trace(request: libc::c_uint, thread: i32) {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests used here takes an address.
    let outcome = unsafe { libc::ptrace(request, thread, null, null) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_worker_that_hangs_is_replaced_and_nobody_in_its_queue_is_lost() {
    let route = "[[route]]\nrespond = { status = 200, body = \"hello\" }\n";
    let mut gateway = gateway().config(listener("") + route).start();
    let held = Held::thread(gateway.pid(), "worker-0");

    // The kernel gives about half of them to the socket of the worker that hangs.
    let mut clients: Vec<Client> = (0..32).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read().text(), "hello");
    }
    let said = gateway.stderr();
    assert!(
        said.contains("replaced a worker") && said.contains("has not turned for 10 s"),
        "{said}"
    );
    eventually("two workers alive", || (gateway.admin("/ready").status == 200).then_some(()));

    // It comes to life again, and leaves its place to the one that has it now.
    drop(held);
    for _ in 0..32 {
        assert_eq!(gateway.get("/").text(), "hello");
    }
    drop(clients);
    assert!(gateway.terminate().success());
}
