"""The candidates, each configured as somebody who knows it well would do it.

All use one worker, keep connections to the upstream, add X-Forwarded-For and -Proto, and have
their limits on requests per connection lifted, since the load never ends a connection itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenarios import Scenario

UPSTREAM_PORT = 18900

# Room for 8,000 idle connections. HAProxy wants twice as many descriptors at its start.
CONNECTIONS = 9000

# Room for a reply of 16 KiB with its head, which both would otherwise relay in pieces: a quarter
# less CPU time for nginx, a third for HAProxy. Not given in scenarios with default buffers.
BUFFER_KIB = 32

# A certificate and its key, beside the logs.
CERTIFICATE = "bench.pem"

# The header edits of the governed scenario; `check` looks for them.
REQUEST_FIELD = ("x-bench", "1")
RESPONSE_FIELD = ("x-served-by", "bench")
REMOVED_FIELD = "x-internal"

# Requests a second that each client may send: every request is counted and none is rejected.
CLIENT_RATE = 1_000_000


@dataclass(frozen=True)
class Peer:
    """How to run one candidate."""

    name: str
    port: int
    http2_port: int
    """For clients of HTTP/2; the other port may know only HTTP/1."""
    metrics_port: int
    metrics_path: str
    configuration: Callable[[Scenario, Path], str]
    """Text of the configuration file, given the scenario and the access log's file."""
    command: Callable[[str, Path], list[str]]
    """Command line, given the program and the configuration file."""
    program: str
    logs_to_stdout: bool = False

    def port_of(self, scenario: Scenario) -> int:
        """Where the scenario's clients connect."""
        return self.http2_port if scenario.http2 else self.port


def nginx_configuration(scenario: Scenario, log: Path) -> str:
    """Upstream keep-alive with HTTP/1.1, reuseport, a buffered log.

    Event streams are not buffered.
    """
    duties = scenario.duties
    buffers = "" if scenario.default_buffers else f"""\
        proxy_buffer_size {BUFFER_KIB}k;
        proxy_buffers 8 {BUFFER_KIB}k;"""
    access_log = f"{log} combined buffer=64k flush=1s" if duties.access_log else "off"
    edits = f"""\
        proxy_set_header {REQUEST_FIELD[0]} {REQUEST_FIELD[1]};
        add_header {RESPONSE_FIELD[0]} {RESPONSE_FIELD[1]} always;
        proxy_hide_header {REMOVED_FIELD};""" if duties.header_edits else ""
    zone = (
        f"limit_req_zone $binary_remote_addr zone=clients:10m rate={CLIENT_RATE}r/s;"
        if duties.client_limit else ""
    )
    limit = (
        f"limit_req zone=clients burst={CLIENT_RATE} nodelay;" if duties.client_limit else ""
    )
    certificate = log.parent / CERTIFICATE
    tls = f"""\
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:sessions:10m;""" if duties.tls else ""
    # Without TLS, a port of nginx 1.22 speaks one version only.
    http2 = (
        f"        listen 127.0.0.1:{NGINX_HTTP2_PORT} http2 reuseport backlog=4096;"
        if scenario.http2 else ""
    )
    metrics = f"""\
    server {{
        listen 127.0.0.1:{NGINX_METRICS_PORT};
        access_log off;
        location = /stub_status {{ stub_status; }}
    }}""" if duties.metrics else ""
    return f"""\
user root;
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{
    worker_connections {2 * CONNECTIONS};
}}
http {{
    access_log {access_log};
    {zone}
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    upstream origin {{
        server 127.0.0.1:{UPSTREAM_PORT};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_time 1d;
    }}
    server {{
        listen 127.0.0.1:{NGINX_PORT} {"ssl" if duties.tls else ""} reuseport backlog=4096;
{http2}
{tls}
        proxy_http_version 1.1;
{buffers}
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
{edits}
        {limit}
        location / {{ proxy_pass http://origin; }}
        location = /events {{
            proxy_pass http://origin;
            proxy_buffering off;
            proxy_buffer_size 4k;
        }}
    }}
{metrics}
}}
"""


def haproxy_configuration(scenario: Scenario, log: Path) -> str:
    """One thread, `http-reuse always`, `option http-no-delay`.

    The log goes to standard output, which is a file here: one write(2) per request and no
    syslog server, which is the cheapest way HAProxy has.
    """
    duties = scenario.duties
    buffers = "" if scenario.default_buffers else f"    tune.bufsize {1024 * BUFFER_KIB}"
    log_target = "    log stdout format raw local0 info" if duties.access_log else ""
    log_option = "    log global\n    option httplog" if duties.access_log else ""
    edits = f"""\
    http-request set-header {REQUEST_FIELD[0]} {REQUEST_FIELD[1]}
    http-response set-header {RESPONSE_FIELD[0]} {RESPONSE_FIELD[1]}
    http-response del-header {REMOVED_FIELD}""" if duties.header_edits else ""
    limit = f"""\
    stick-table type ip size 100k expire 30s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {CLIENT_RATE} }}\
""" if duties.client_limit else ""
    tls = f" ssl crt {log.parent / CERTIFICATE} alpn http/1.1" if duties.tls else ""
    metrics = f"""
frontend metrics
    bind 127.0.0.1:{HAPROXY_METRICS_PORT}
    http-request use-service prometheus-exporter if {{ path /metrics }}""" if duties.metrics else ""
    return f"""\
global
    nbthread 1
{buffers}
    maxconn {CONNECTIONS}
{log_target}
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 75s
    http-reuse always
    option http-no-delay
    option forwardfor
{log_option}
frontend public
    bind 127.0.0.1:{HAPROXY_PORT} backlog 4096{tls}
    http-request set-header X-Forwarded-Proto {"https" if duties.tls else "http"}
{limit}
{edits}
    default_backend origin
backend origin
    server origin 127.0.0.1:{UPSTREAM_PORT}
{metrics}
"""


def ringgate_configuration(scenario: Scenario, log: Path) -> str:
    """One worker, the driver of its own choice, and its defaults in all else."""
    duties = scenario.duties
    access_log = f'[access_log]\nfile = "{log}"' if duties.access_log else ""
    certificate = log.parent / CERTIFICATE
    tls = f'tls = [{{ cert = "{certificate}", key = "{certificate}" }}]' if duties.tls else ""
    http2 = "http2 = true" if scenario.http2 else ""
    edits = f"""\
request_headers = {{ set = {{ {REQUEST_FIELD[0]} = "{REQUEST_FIELD[1]}" }} }}
response_headers = {{ set = {{ {RESPONSE_FIELD[0]} = "{RESPONSE_FIELD[1]}" }}, \
remove = ["{REMOVED_FIELD}"] }}""" if duties.header_edits else ""
    limits = f"""\
[limits]
client_ip = {{ rate = "{CLIENT_RATE}/s" }}""" if duties.client_limit else ""
    return f"""\
[server]
workers = 1
io = "auto"
[admin]
bind = "127.0.0.1:{RINGGATE_METRICS_PORT}"
{access_log}
[[listener]]
name = "public"
bind = "127.0.0.1:{RINGGATE_PORT}"
{tls}
{http2}
{RINGGATE_AI if duties.ai else ""}
[[route]]
path = "/"
cluster = "origin"
{edits}
{limits}
[cluster.origin]
[[cluster.origin.endpoint]]
address = "127.0.0.1:{UPSTREAM_PORT}"
"""


RINGGATE_AI = f"""\
[[route]]
path = "/v1"
ai = true
[model.bench-model]
[[model.bench-model.endpoint]]
provider = "openai"
url = "http://127.0.0.1:{UPSTREAM_PORT}/v1"
"""

RINGGATE_PORT, RINGGATE_METRICS_PORT = 18080, 19901
NGINX_PORT, NGINX_HTTP2_PORT, NGINX_METRICS_PORT = 18081, 18083, 19911
HAPROXY_PORT, HAPROXY_METRICS_PORT = 18082, 19912

PEERS = {
    peer.name: peer
    for peer in [
        Peer(
            name="nginx",
            port=NGINX_PORT,
            http2_port=NGINX_HTTP2_PORT,
            metrics_port=NGINX_METRICS_PORT,
            metrics_path="/stub_status",
            configuration=nginx_configuration,
            # The prefix makes relative paths end in the bench's own directory.
            command=lambda program, file: [program, "-p", str(file.parent), "-c", str(file)],
            program="nginx",
        ),
        Peer(
            name="haproxy",
            port=HAPROXY_PORT,
            http2_port=HAPROXY_PORT,
            metrics_port=HAPROXY_METRICS_PORT,
            metrics_path="/metrics",
            configuration=haproxy_configuration,
            command=lambda program, file: [program, "-db", "-f", str(file)],
            program="haproxy",
            logs_to_stdout=True,
        ),
        Peer(
            name="ringgate",
            port=RINGGATE_PORT,
            http2_port=RINGGATE_PORT,
            metrics_port=RINGGATE_METRICS_PORT,
            metrics_path="/metrics",
            configuration=ringgate_configuration,
            command=lambda program, file: [program, "serve", "-c", str(file)],
            program="ringgate",
        ),
    ]
}
