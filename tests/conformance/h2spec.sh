#!/bin/bash
# h2spec in strict mode: every case, cleartext and TLS.
. "$(dirname "$0")/lib.sh"
need "${H2SPEC:=h2spec}" "https://github.com/summerwind/h2spec"
make_certificate
cat >"$WORK/ringgate.toml" <<TOML
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "plain"
bind = "127.0.0.1:0"
http2 = true
[[listener]]
name = "tls"
bind = "127.0.0.1:0"
http2 = true
tls = [{ cert = "$WORK/cert.pem", key = "$WORK/key.pem" }]
[[route]]
respond = { status = 200, body = "hello\n" }
TOML
start_gateway
"$H2SPEC" --strict --host 127.0.0.1 --port "$(port_of plain)"
"$H2SPEC" --strict --tls --insecure --host 127.0.0.1 --port "$(port_of tls)"
