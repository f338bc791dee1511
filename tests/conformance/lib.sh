# What the conformance scripts share: a gateway of their own, with ports from the kernel, that ends
# with them. To be sourced.

set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
RINGGATE=${RINGGATE:-$ROOT/target/release/ringgate}
WORK=$(mktemp -d)
PROCESSES=""

cleanup() {
    for process in $PROCESSES; do kill "$process" 2>/dev/null || true; done
    rm -rf "$WORK"
}
trap cleanup EXIT

# need COMMAND WHERE_TO_GET_IT
need() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "$(basename "$0"): $1 is missing: $2" >&2
    exit 69
}

# background LOG COMMAND...: runs it until this script ends.
background() {
    log=$1
    shift
    "$@" >"$log" 2>&1 &
    PROCESSES="$PROCESSES $!"
}

# start_gateway: serves $WORK/ringgate.toml and waits until it is ready.
start_gateway() {
    [ -x "$RINGGATE" ] || { echo "build it first: cargo build --release" >&2; exit 69; }
    background "$WORK/gateway.log" "$RINGGATE" serve -c "$WORK/ringgate.toml"
    for _ in $(seq 100); do
        grep -q '^ready ' "$WORK/gateway.log" && return
        sleep 0.05
    done
    cat "$WORK/gateway.log" >&2
    exit 1
}

# await_port PORT: waits until somebody listens there.
await_port() {
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.05
    done
    echo "nobody listens on port $1" >&2
    exit 1
}

# port_of NAME: the port of a listener of the gateway.
port_of() {
    sed -n "s/^ready .*\b$1=[^ ]*:\([0-9]*\).*/\1/p" "$WORK/gateway.log"
}

# A certificate for localhost.
make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 300 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
}
