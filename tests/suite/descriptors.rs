//! What becomes of everybody when descriptors run out.

use crate::support::eventually;
use crate::support::gateway::gateway;
use crate::support::origin::origin;

/// Of which an eighth, 20, is kept back.
const LIMIT: u64 = 160;

#[test]
fn a_crowd_that_takes_every_descriptor_leaves_the_operator_some() {
    let origin = origin().start();
    let gateway = gateway().descriptors(LIMIT).route("/", &origin).start();
    let mut crowd: Vec<_> = (0..300).map(|_| gateway.client()).collect();
    eventually("a crowd in every place", || {
        (gateway.open_descriptors() >= LIMIT as usize - 20).then_some(())
    });

    for _ in 0..20 {
        assert_eq!(gateway.admin("/metrics").status, 200);
        assert_eq!(gateway.admin("/actuator/health").status, 200);
    }
    assert_eq!((crowd[0].get("/").status, origin.requests_seen()), (503, 0));

    let mut last = crowd.pop().expect("a client");
    drop(crowd);
    assert_eq!(last.get("/").status, 200);
}
