#!/usr/bin/env python3
"""A page in Chromium through the gateway: HTTP/2 in TLS, an event stream, a WebSocket.

`make browser` runs it. The page fetches many resources at once, uploads, listens to an event
stream, has a conversation over a WebSocket, and reports what came of it. The upstreams are a server
of HTTP/1.1 in here, and the library `websockets`. Ports come from the kernel; the certificate is
made for the run.
"""

from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from websockets.sync.server import Server, ServerConnection, serve

from slow import address, started

BROWSER_SECONDS = 60
RESOURCES = 50
UPLOAD_BYTES = 300_000
EVENTS = 20

# Each cluster stands behind a route of its own; a WebSocket's origin knows nothing else.
CONFIGURATION = """
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "public"
bind = "127.0.0.1:0"
tls = [{{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}]
[[route]]
path = "/socket"
cluster = "sockets"
[[route]]
cluster = "pages"
[cluster.sockets]
[[cluster.sockets.endpoint]]
address = "127.0.0.1:{sockets}"
[cluster.pages]
[[cluster.pages.endpoint]]
address = "127.0.0.1:{pages}"
"""

PAGE = """<!doctype html><title>Ringgate</title><script type="module">
const seen = {};
const numbers = [...Array(%(resources)d).keys()];
const fetched = await Promise.all(numbers.map(n => fetch(`/resource/${n}`).then(r => r.text())));
seen.resources = fetched.filter((text, n) => text === `resource ${n}`).length;
const entries = performance.getEntriesByType("resource");
seen.protocols = [...new Set(entries.map(entry => entry.nextHopProtocol))];
const upload = { method: "POST", body: "x".repeat(%(upload)d) };
seen.uploaded = Number(await (await fetch("/length", upload)).text());
seen.events = await new Promise((done, failed) => {
  const events = [];
  const source = new EventSource("/events");
  source.onerror = failed;
  source.onmessage = event => {
    if (events.push(event.data) === %(events)d) { source.close(); done(events); }
  };
});
const messages = ["hello", "\\u00e9\\u20ac", "x".repeat(70000)];
seen.echoes = await new Promise((done, failed) => {
  let echoes = 0;
  const socket = new WebSocket(`wss://${location.host}/socket`);
  socket.onerror = failed;
  socket.onopen = () => socket.send(messages[0]);
  socket.onmessage = event => {
    if (event.data !== messages[echoes]) failed(event.data);
    else if (++echoes < messages.length) socket.send(messages[echoes]);
    else { socket.onclose = event => done([echoes, event.code]); socket.close(1000); }
  };
});
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });
</script>""" % {"resources": RESOURCES, "upload": UPLOAD_BYTES, "events": EVENTS}

EXPECTED = {
    "resources": RESOURCES,
    "protocols": ["h2"],
    "uploaded": UPLOAD_BYTES,
    "events": [str(number) for number in range(EVENTS)],
    "echoes": [3, 1000],
}

class Pages(ThreadingHTTPServer):
    """Serves the page and what it asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        self.reports: queue.Queue[dict] = queue.Queue()
        super().__init__(("127.0.0.1", 0), Page)


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Pages

    def do_GET(self) -> None:
        if self.path == "/":
            self.answer("text/html", PAGE.encode())
        elif self.path == "/events":
            self.stream()
        elif self.path.startswith("/resource/"):
            self.answer("text/plain", f"resource {self.path.rpartition('/')[2]}".encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/report":
            self.server.reports.put(json.loads(body))
        self.answer("text/plain", str(len(body)).encode())

    def answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        """Each event as a chunk of its own; the end is left to the page."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(EVENTS):
            event = f"data: {number}\n\n"
            self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
        self.rfile.read(1)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextmanager
def origins() -> Iterator[tuple[Pages, Server]]:
    with Pages() as pages, serve(echo, "127.0.0.1", 0) as sockets:
        for server in (pages, sockets):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield pages, sockets
        finally:
            pages.shutdown()
            sockets.shutdown()


@contextmanager
def browser(folder: str, url: str) -> Iterator[None]:
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
        "--ignore-certificate-errors", "--disable-background-networking",
        "--disable-component-update", f"--user-data-dir={folder}/profile",
        "--remote-debugging-port=0", url,
    ]
    log = Path(folder, "chromium.log")
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def report_of(folder: str, pages: Pages, url: str) -> dict:
    """What the page has seen."""
    with browser(folder, url):
        try:
            return pages.reports.get(timeout=BROWSER_SECONDS)
        except queue.Empty:
            said = Path(folder, "chromium.log").read_text()[-2000:]
            sys.exit(f"no report from the page; Chromium says:\n{said}")


def certify(folder: str) -> None:
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run([*words.split(), *names, *files], check=True, capture_output=True)


def counted(admin: str, name: str) -> int:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=5) as reply:
        page = reply.read().decode()
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return int(sum(map(float, values)))


def main() -> int:
    program, = sys.argv[1:] or ["target/quick/ringgate"]
    if not shutil.which("chromium"):
        sys.exit("browser.py needs chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        certify(folder)
        with origins() as (pages, sockets):
            ports = {
                "pages": pages.server_address[1],
                "sockets": sockets.socket.getsockname()[1],
            }
            file = Path(folder, "ringgate.toml")
            file.write_text(CONFIGURATION.format(folder=folder, **ports))
            with started([program, "serve", "-c", str(file)]) as (_, ready):
                public = address(ready, r"public=(\S+)")
                admin = address(ready, r"admin=(\S+)")
                seen = report_of(folder, pages, f"https://{public}/")
                counts = {
                    name: counted(admin, f"ringgate_{name}_total")
                    for name in ("http2_connections", "http2_requests", "upgrades", "refused")
                }
    print(json.dumps(seen))
    print(json.dumps(counts))
    findings = [
        f"{name}: {seen.get(name)!r}, not {expected!r}"
        for name, expected in EXPECTED.items() if seen.get(name) != expected
    ]
    if counts["upgrades"] != 1:
        findings.append("the WebSocket did not come through the gateway")
    print("\n".join(findings) or "held")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
