# The bench's targets; included by the Makefile of the repository.

CARGO ?= cargo

.PHONY: bench bench-instructions bench-instructions-bless bench-test

# The comparison with nginx and HAProxy: some eleven minutes on an idle machine with two CPUs.
# `make bench ARGS="--scenario plain-128 --rounds 3"` runs part of it.
bench:
	CARGO="$(CARGO)" python3 bench/compare.py $(ARGS)

# Instructions of the pure parts against the committed baseline: of the shipped build, or with
# `PROFILE=quick` of the one that `make test` has.
bench-instructions: PROFILE = release
bench-instructions:
	CARGO="$(CARGO)" python3 bench/instructions/count.py --profile $(PROFILE)

# After a change that is meant to cost what it costs: both baselines.
bench-instructions-bless:
	CARGO="$(CARGO)" python3 bench/instructions/count.py --profile release --bless
	CARGO="$(CARGO)" python3 bench/instructions/count.py --profile quick --bless

# The tests of the bench's Python; those of its Rust run with the workspace.
bench-test:
	python3 -m unittest discover -s bench/tests -t bench
