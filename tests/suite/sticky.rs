//! A cookie keeps a client with its endpoint, as users of HAProxy know it
//! (`cookie SRV insert indirect nocache`).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::support::client::{Client, Reply};
use crate::support::dns::dns;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, cluster_of, gateway, listener};
use crate::support::http2::client::Http2Client;
use crate::support::origin::{Origin, origin};
use crate::support::{eventually, free_port};

const STICKY: &str = "sticky = { cookie = \"SRV\" }\n";

/// Origins that answer with their place, from 1.
fn origins(count: usize) -> Vec<Origin> {
    (1..=count).map(|n| origin().reply(&n.to_string()).start()).collect()
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

fn config(endpoints: &[SocketAddr], cluster: &str) -> String {
    format!("{}[[route]]\ncluster = \"c\"\n{}", listener(""), cluster_of("c", endpoints, cluster))
}

fn sticky(origins: &[Origin]) -> Gateway {
    gateway().config(config(&addresses(origins), STICKY)).start()
}

/// `NAME=VALUE` of the only cookie that a reply sets.
fn cookie(reply: &Reply) -> String {
    let field = reply.get("set-cookie").expect("a cookie is set");
    field.split(';').next().expect("a pair comes first").to_owned()
}

fn ask(client: &mut Client, cookie: &str) -> Reply {
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")).read()
}

/// A new client: who serves it, and its cookie.
fn arrive(gateway: &Gateway) -> (String, String) {
    let reply = gateway.get("/");
    (reply.text().to_owned(), cookie(&reply))
}

/// A new client that is served by this one.
fn arrive_at(gateway: &Gateway, who: &str) -> String {
    let arrivals = (0..20).map(|_| arrive(gateway));
    arrivals.filter(|(by, _)| by == who).map(|(_, cookie)| cookie).next().expect("everybody's turn")
}

#[test]
fn a_client_stays_with_the_endpoint_that_served_it_first() {
    let origins = origins(4);
    let gateway = sticky(&origins);

    let first = gateway.get("/");
    let cookie = cookie(&first);

    assert_eq!(first.get("cache-control"), Some("private"));
    let set = first.get("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly"), "{set}");
    let mut client = gateway.client();
    for _ in 0..8 {
        let reply = ask(&mut client, &format!("other=1; {cookie}"));
        assert_eq!(reply.text(), first.text());
        assert_eq!((reply.get("set-cookie"), reply.get("cache-control")), (None, None));
    }
    // Everybody else is balanced, and so is who has a cookie that nobody has set.
    let others: BTreeSet<_> = (0..4).map(|_| ask(&mut client, "SRV=1").text().to_owned()).collect();
    assert_eq!(others.len(), 4);
}

#[test]
fn the_cookie_stays_between_the_client_and_the_gateway() {
    let origin = origin()
        .reply_raw(
            "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=mine; Path=/\r\nSet-Cookie: sid=7\r\n\
             Content-Length: 0\r\n\r\n",
        )
        .start();
    let origins = [origin];
    let gateway = sticky(&origins);
    let first = gateway.get("/");
    let set = first.head.all("set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    assert_eq!(set[0], "sid=7");
    let cookie = set[1].split(';').next().unwrap().to_owned();
    // What it says of the endpoint is nothing.
    assert!(!cookie.contains("127") && !cookie.contains(&origins[0].address.port().to_string()));

    let mut client = gateway.client();
    ask(&mut client, &format!("a=1; {cookie}; b=2"));
    ask(&mut client, &cookie);

    let seen: Vec<_> =
        origins[0].requests().iter().map(|r| r.get("cookie").map(str::to_owned)).collect();
    assert_eq!(seen, [None, Some("a=1; b=2".to_owned()), None]);

    let direct = "sticky = { cookie = \"SRV\", indirect = false }\n";
    assert_eq!(gateway.reload(&config(&addresses(&origins), direct)), Reload::InForce);
    ask(&mut client, &cookie);
    assert_eq!(origins[0].requests()[3].get("cookie"), Some(&*cookie));
}

#[test]
fn an_endpoint_that_is_drained_serves_those_it_has() {
    let origins = origins(2);
    let gateway = sticky(&origins);
    let cookie = arrive_at(&gateway, "1");

    let drained = config(&addresses(&origins), STICKY);
    let at = format!("address = \"{}\"\n", origins[0].address);
    let drained = drained.replace(&at, &format!("{at}weight = 0\n"));
    assert_eq!(gateway.reload(&drained), Reload::InForce);

    let mut client = gateway.client();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, &cookie).text(), "1");
        assert_eq!(arrive(&gateway).0, "2");
    }
}

#[test]
fn a_client_whose_endpoint_has_failed_gets_another_and_its_cookie() {
    let mut origins = origins(3);
    let gateway = sticky(&origins);
    let old = arrive_at(&gateway, "1");
    let mut client = gateway.client();
    drop(origins.remove(0));

    let moved = ask(&mut client, &old);

    assert_eq!(moved.status, 200);
    let new = cookie(&moved);
    assert_ne!(new, old);
    for _ in 0..4 {
        let again = ask(&mut client, &new);
        assert_eq!((again.text(), again.get("set-cookie")), (moved.text(), None));
    }
}

#[test]
fn values_are_the_same_after_a_reload_a_hand_over_and_on_another_machine() {
    let origins = origins(3);
    let keyed = "sticky = { cookie = \"SRV\", key = \"0123456789abcdef\" }\n";
    let mut gateway = gateway().config(config(&addresses(&origins), keyed)).start();
    let cookie = arrive_at(&gateway, "2");
    let serves = |gateway: &Gateway| {
        let reply = ask(&mut gateway.client(), &cookie);
        (reply.text().to_owned(), reply.get("set-cookie").is_some())
    };
    let same = ("2".to_owned(), false);

    // In another order, with one more.
    let mut others = addresses(&origins);
    others.reverse();
    others.push(([127, 0, 0, 1], free_port()).into());
    assert_eq!(gateway.reload(&config(&others, keyed)), Reload::InForce);
    assert_eq!(serves(&gateway), same);
    gateway.hand_over();
    assert_eq!(serves(&gateway), same);
    let machine = crate::support::gateway::gateway();
    let machine = machine.config(config(&addresses(&origins), keyed)).start();
    assert_eq!(serves(&machine), same);

    // Whoever has another key has other values.
    let other = keyed.replace("0123", "3210");
    assert_eq!(machine.reload(&config(&addresses(&origins), &other)), Reload::InForce);
    assert!(serves(&machine).1);
}

#[test]
fn it_is_so_over_http2_and_for_websockets() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let socket = |n: usize| {
        origin().on(move |request, connection| match request.get("upgrade") {
            Some(_) => {
                connection.send(format!("{switch}{n}"));
                connection.wait_for_close();
            }
            None => connection.reply(&n.to_string()),
        })
    };
    let origins: Vec<_> = (1..=3).map(|n| socket(n).start()).collect();
    let builder = gateway().listener("http2 = true");
    let gateway = builder.route_with("/", &addresses(&origins), "", STICKY).start();

    let mut multiplexed = Http2Client::connect(gateway.address());
    let first = multiplexed.get("/");
    let set = first.get("set-cookie").expect("a cookie is set").to_owned();
    let cookie = set.split(';').next().unwrap();
    for _ in 0..4 {
        let again = multiplexed.request("GET", "/", &[("cookie", cookie)]).end().read();
        assert_eq!((again.text(), again.get("set-cookie")), (first.text(), None));
    }

    let upgrade = |cookie: &str| {
        let mut client = gateway.client();
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Cookie: {cookie}\r\n\r\n"
        ));
        let head = client.read_head().expect("the head of a switch");
        let who = client.wire().read_exactly(1).expect("what follows the switch");
        (String::from_utf8_lossy(&who).into_owned(), head)
    };
    let (who, head) = upgrade(cookie);
    assert_eq!((&*who, head.get("set-cookie")), (first.text(), None));
    let (who, head) = upgrade("a=1");
    let set = head.get("set-cookie").expect("a switch sets it as well").to_owned();
    assert_eq!(upgrade(set.split(';').next().unwrap()).0, who);
}

#[test]
fn a_busy_endpoint_is_waited_for_by_those_it_has() {
    let gate = Gate::default();
    let wait = gate.clone();
    let busy = origin().on(move |request, connection| {
        if request.target() == "/slow" {
            wait.pass();
        }
        connection.reply("busy");
    });
    let origins = [busy.start(), origin().reply("idle").start()];
    let limited = "sticky = { cookie = \"SRV\" }\n";
    let text = config(&addresses(&origins), limited).replace(
        &format!("address = \"{}\"\n", origins[0].address),
        &format!("address = \"{}\"\nmax_in_flight = 1\n", origins[0].address),
    );
    let gateway = gateway().config(text).start();
    let cookie = arrive_at(&gateway, "busy");
    let mut slow = gateway.client();
    slow.send(format!("GET /slow HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
    eventually("the slow request", || {
        let seen = origins[0].requests();
        seen.iter().any(|request| request.target() == "/slow").then_some(())
    });

    let mut waiting = gateway.client();
    waiting.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
    gateway.wait_for_count("ringgate_queue_length", 1);
    // Others go where there is room, and do not wait behind it.
    let mut others = gateway.client();
    assert_eq!(others.get("/").text(), "idle");
    gate.open();

    assert_eq!(slow.read().text(), "busy");
    assert_eq!(waiting.read().text(), "busy");
}

#[test]
fn room_at_an_endpoint_is_for_those_who_wait_for_it() {
    let gates = [Gate::default(), Gate::default()];
    let busy = |n: usize| {
        let gate = gates[n].clone();
        origin().on(move |request, connection| {
            if request.target() == "/slow" {
                gate.pass();
            }
            connection.reply(&n.to_string());
        })
    };
    let origins = [busy(0).start(), busy(1).start(), origin().reply("idle").start()];
    let endpoints = addresses(&origins);
    // No limit at the third: there is always room for somebody.
    let limited = cluster_of("c", &endpoints[..2], STICKY)
        .replace("\"\n[[", "\"\nmax_in_flight = 1\n[[")
        + "max_in_flight = 1\n"
        + &format!("[[cluster.c.endpoint]]\naddress = \"{}\"\n", endpoints[2]);
    let text = format!("{}[[route]]\ncluster = \"c\"\n{limited}", listener(""));
    let gateway = gateway().config(text).start();
    let cookies = [arrive_at(&gateway, "0"), arrive_at(&gateway, "1")];
    let ask_for = |target: &str, n: usize| {
        let mut client = gateway.client();
        let cookie = &cookies[n];
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
        client
    };
    let mut slow = [ask_for("/slow", 0), ask_for("/slow", 1)];
    eventually("two slow requests", || {
        let is_slow = |origin: &Origin| origin.requests().iter().any(|r| r.target() == "/slow");
        origins[..2].iter().all(is_slow).then_some(())
    });
    // Two wait for the first endpoint before one does for the second.
    let mut waiting = [ask_for("/", 0), ask_for("/", 0), ask_for("/", 1)];
    gateway.wait_for_count("ringgate_queue_length", 3);

    gates[1].open();
    assert_eq!(slow[1].read().text(), "1");
    assert_eq!(waiting[2].read().text(), "1");
    gateway.wait_for_count("ringgate_queue_length", 2);

    gates[0].open();
    assert_eq!(slow[0].read().text(), "0");
    waiting[..2].iter_mut().for_each(|client| assert_eq!(client.read().text(), "0"));
}

#[test]
fn backups_and_error_pages_go_together_with_it() {
    let primary = origin().reply("primary").start();
    let backup = origin().reply("backup").start();
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("503.html");
    std::fs::write(&page, "<p>back soon</p>").expect("the file is writable");
    let text = format!(
        "{}[[route]]\ncluster = \"c\"\nerrors = {{ 502 = {page:?}, 503 = {page:?} }}\n{}backup = true\n",
        listener(""),
        cluster_of("c", &[primary.address, backup.address], STICKY)
    );
    let gateway = gateway().config(text).start();
    let (who, at_primary) = arrive(&gateway);
    assert_eq!(who, "primary");

    // The backup stands in, and its clients stay with it when the primary is back.
    let address = primary.address;
    drop(primary);
    let moved = ask(&mut gateway.client(), &at_primary);
    assert_eq!(moved.text(), "backup");
    let at_backup = cookie(&moved);
    let primary = origin().reply("primary").start_at(address);
    assert_eq!(ask(&mut gateway.client(), &at_backup).text(), "backup");
    assert_eq!(ask(&mut gateway.client(), &at_primary).text(), "primary");
    assert_eq!(arrive(&gateway).0, "primary");

    // With nobody left, the page of the operator is the answer, and sets no cookie.
    drop((primary, backup));
    let nobody = ask(&mut gateway.client(), &at_backup);
    assert_eq!((nobody.status, nobody.text()), (502, "<p>back soon</p>"));
    assert_eq!(nobody.get("set-cookie"), None);
}

#[test]
fn clients_stay_with_an_address_of_a_name_while_others_come_and_go() {
    let ip = |last| IpAddr::from([127, 0, 8, last]);
    let first = origin().reply("1").start_at(SocketAddr::new(ip(1), 0));
    let port = first.address.port();
    let other = |n: u8| origin().reply(&n.to_string()).start_at(SocketAddr::new(ip(n), port));
    let _others = [other(2), other(3)];
    let dns = dns();
    dns.addresses("web.test", &[ip(1), ip(2)]);
    let text = format!(
        "{}{}[[route]]\ncluster = \"c\"\n[cluster.c]\n{STICKY}[[cluster.c.endpoint]]\n\
         address = \"web.test:{port}\"\n",
        dns.resolver("min_ttl = \"100ms\""),
        listener("")
    );
    let gateway = gateway().config(text).start();
    let cookie = arrive_at(&gateway, "2");

    dns.addresses("web.test", &[ip(2), ip(3)]);
    eventually("the third address", || (gateway.get("/").text() == "3").then_some(()));
    assert_eq!(ask(&mut gateway.client(), &cookie).text(), "2");

    dns.addresses("web.test", &[ip(1), ip(3)]);
    let moved = eventually("another address", || {
        Some(ask(&mut gateway.client(), &cookie)).filter(|reply| reply.text() != "2")
    });
    assert!(moved.get("set-cookie").is_some());
}

#[test]
fn calls_of_a_model_are_sticky_too() {
    let origins = origins(3);
    let endpoint = |origin: &Origin| {
        format!(
            "[[model.m.endpoint]]\nprovider = \"vllm\"\nurl = \"http://{}/v1\"\n",
            origin.address
        )
    };
    let endpoints: String = origins.iter().map(endpoint).collect();
    let text = format!("{}[[route]]\nai = true\n[model.m]\n{STICKY}{endpoints}", listener(""));
    let gateway = gateway().config(text).start();
    let call = |cookie: &str| {
        let body = "{\"model\": \"m\", \"messages\": []}";
        let fields = format!("Content-Type: application/json\r\nCookie: {cookie}\r\n");
        gateway.client().post("/v1/chat/completions", &fields, body)
    };

    let first = call("a=1");
    let cookie = cookie(&first);

    for _ in 0..6 {
        assert_eq!(call(&cookie).text(), first.text());
    }
}

#[test]
fn a_limit_of_an_endpoint_holds_for_the_clients_that_stay_with_it() {
    let origin = origin().reply("1").start();
    let limited = format!(
        "[cluster.c]\n{STICKY}[[cluster.c.endpoint]]\naddress = \"{}\"\n\
         limit = {{ rate = \"1/h\", burst = 2 }}\n",
        origin.address
    );
    let config = format!("{}[[route]]\ncluster = \"c\"\n{limited}", listener(""));
    let gateway = gateway().config(config).start();
    let (_, cookie) = arrive(&gateway);
    let mut client = gateway.client();
    assert_eq!(ask(&mut client, &cookie).status, 200);
    assert_eq!(ask(&mut client, &cookie).status, 429);
}
