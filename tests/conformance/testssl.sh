#!/bin/bash
# testssl.sh against a listener with a certificate of its own. Findings of medium severity and above
# are listed; the self-signed certificate is one that has to be there.
. "$(dirname "$0")/lib.sh"
need testssl "Debian: testssl.sh"
make_certificate
cat >"$WORK/ringgate.toml" <<TOML
[server]
workers = 1
[admin]
bind = "127.0.0.1:0"
[[listener]]
name = "tls"
bind = "127.0.0.1:0"
tls = [{ cert = "$WORK/cert.pem", key = "$WORK/key.pem" }]
[[route]]
respond = { status = 200, body = "hello\n", headers = { strict-transport-security = "max-age=31536000" } }
TOML
start_gateway
testssl --quiet --color 0 --warnings off --ip one --severity MEDIUM \
    --jsonfile "$WORK/found.json" "https://127.0.0.1:$(port_of tls)" >"$WORK/testssl.log" 2>&1 || true
python3 - "$WORK/found.json" <<'PY'
import json, sys

# What a self-signed test certificate without revocation data and a bare answer cannot but show.
EXPECTED = {"cert_chain_of_trust", "cert_revocation", "DNS_CAArecord", "overall_grade", "grade_cap_reason_1",
            "cert_crlDistributionPoints", "cert_ocspURL", "OCSP_stapling", "cert_trust", "security_headers"}
found = [f for f in json.load(open(sys.argv[1])) if f["severity"] not in ("OK", "INFO", "DEBUG", "WARN")]
other = [f for f in found if f["id"].split(" ")[0] not in EXPECTED]
for finding in found:
    mark = "" if finding in other else " (expected)"
    print(f'{finding["severity"]:9}{finding["id"]}: {finding["finding"]}{mark}')
sys.exit(1 if other else 0)
PY
