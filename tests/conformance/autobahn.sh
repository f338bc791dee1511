#!/bin/bash
# The WebSocket cases of Autobahn, once straight to its echo server and once through Ringgate: every
# case must behave the same.
. "$(dirname "$0")/lib.sh"
need "${WSTEST:=wstest}" "https://github.com/crossbario/autobahn-testsuite (Python 2)"
ECHO_PORT=${ECHO_PORT:-19001}
cat >"$WORK/ringgate.toml" <<TOML
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "public"
bind = "127.0.0.1:0"
[[route]]
cluster = "echo"
# The echo server insists on its own port in Host.
request_headers = { set = { host = "127.0.0.1:$ECHO_PORT" } }
[cluster.echo]
[[cluster.echo.endpoint]]
address = "127.0.0.1:$ECHO_PORT"
TOML
background "$WORK/echo.log" "$WSTEST" -m testeeserver -w "ws://127.0.0.1:$ECHO_PORT"
await_port "$ECHO_PORT"
start_gateway
cat >"$WORK/cases.json" <<JSON
{"outdir": "$WORK/reports",
 "servers": [{"agent": "direct", "url": "ws://127.0.0.1:$ECHO_PORT"},
             {"agent": "ringgate", "url": "ws://127.0.0.1:$(port_of public)"}],
 "cases": ["*"], "exclude-cases": ["9.1.[2-6]", "9.2.[2-6]", "9.[3-8].*", "12.*", "13.*"],
 "exclude-agent-cases": {}}
JSON
"$WSTEST" -m fuzzingclient -s "$WORK/cases.json" >"$WORK/wstest.log" 2>&1
python3 - "$WORK/reports/index.json" <<'PY'
import json, sys

reports = json.load(open(sys.argv[1]))
direct, ringgate = reports["direct"], reports["ringgate"]
verdict = lambda case: (case["behavior"], case["behaviorClose"])
others = [name for name in direct if verdict(direct[name]) != verdict(ringgate[name])]
for name in others:
    print(f"{name}: direct {verdict(direct[name])}, through Ringgate {verdict(ringgate[name])}")
print(f"{len(direct)} cases, {len(others)} of them behave differently through Ringgate")
sys.exit(1 if others else 0)
PY
