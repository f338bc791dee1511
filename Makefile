# The one door: what CI runs is what a developer runs.
#
#   make demo          a gateway with mock models behind it, on 127.0.0.1:8080
#   make test          everything that must pass, with what it needs installed
#   make slow          slowhttptest against a gateway with short deadlines
#   make floods        frames of HTTP/2 that cost more than they are worth, by the 100,000
#   make browser       a page in Chromium: HTTP/2, event streams and WebSockets in TLS
#   make bench         the comparison with nginx and HAProxy
#   make lint          format, clippy, licences and advisories

CARGO   ?= cargo
PROFILE ?= quick
VENV    ?= target/sdk-venv

.PHONY: demo conformance test lint bench unit suite sdk deps tools docs-check slow floods browser bench-instructions clean

demo:
	$(CARGO) run --release --bin ringgate -- demo

# The whole suite, once with each I/O driver. `deps` installs what it needs.
test: deps
	$(CARGO) build --profile $(PROFILE) --workspace --all-targets
	$(MAKE) unit
	$(MAKE) suite DRIVER=io_uring
	$(MAKE) suite DRIVER=epoll
	$(MAKE) sdk
	$(MAKE) bench-test
	$(MAKE) bench-instructions PROFILE=$(PROFILE)

unit:
	$(CARGO) test --profile $(PROFILE) --workspace --lib --bins
	$(CARGO) test --profile $(PROFILE) --test layers --test config --test metrics_text \
		--test docs --test runtime

# DRIVER is io_uring or epoll.
suite:
	RINGGATE_TEST_IO=$(DRIVER) $(CARGO) test --profile $(PROFILE) --test suite

# The official OpenAI and Anthropic SDKs against `ringgate demo`; a WebSocket library through it.
sdk: $(VENV)/installed
	RINGGATE_TEST_SDK=$(abspath $(VENV))/bin/python $(CARGO) test --profile $(PROFILE) --test sdk
	RINGGATE_TEST_SDK=$(abspath $(VENV))/bin/python $(CARGO) test --profile $(PROFILE) \
		--test suite websocket_library
	RINGGATE_TEST_SDK=$(abspath $(VENV))/bin/python $(CARGO) test --profile $(PROFILE) \
		--test suite grpc

$(VENV)/installed: tests/sdk/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --requirement tests/sdk/requirements.txt
	touch $@

# Hundreds of slow clients; wants slowhttptest, which Debian has.
slow:
	$(CARGO) build --profile $(PROFILE) --bin ringgate
	python3 tests/slow.py target/$(PROFILE)/ringgate

floods:
	$(CARGO) build --profile $(PROFILE) --bin ringgate
	python3 tests/floods.py target/$(PROFILE)/ringgate

# Wants chromium and openssl, which Debian has.
browser: $(VENV)/installed
	$(CARGO) build --profile $(PROFILE) --bin ringgate
	$(VENV)/bin/python tests/browser.py target/$(PROFILE)/ringgate

# What others have written to find faults in servers; each script names the tool that it needs.
conformance:
	$(CARGO) build --release --bin ringgate
	for script in h2spec autobahn testssl; do \
		tests/conformance/$$script.sh || [ $$? = 69 ] || exit 1; \
	done

# promtool reads the metrics page; Debian has it in `prometheus`. valgrind counts instructions.
deps:
	./tests/install-tools.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --profile $(PROFILE) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib
	$(CARGO) deny check

include bench/bench.mk
