# What people and CI run, by the same names. Each target does its own set-up.
#
#   make demo            the main job, on real 802.11 in a VM; leaves target/demo/report.{json,html}
#   make test            everything that must pass: lint, unit, property, interop and radio-lab tests
#   make lint            formatting, clippy, docs, dependency policy
#   make bench [ONLY=x]  figures beside their peers; appends to target/bench/results.jsonl
#   make fuzz [SECS=60]  each decoder under libFuzzer for that long
#   make gateway         the stripped gateway-only binary, with its size and idle memory

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/bin:$(PATH)
export CARGO_TERM_COLOR ?= auto

SECS ?= 60
ONLY ?=

.PHONY: demo test lint bench fuzz gateway setup setup-bench tools python node clean-lab

demo: setup
	$(CARGO) build --locked --package homeward --package homeward-cell --package homeward-radio --bins
	target/debug/homeward-radio demo --out target/demo

test: lint setup tools python node
	$(CARGO) build --locked --package homeward
	$(CARGO) nextest run --locked --workspace --exclude homeward-benches --all-targets --no-tests=pass -E 'not package(homeward-radio) and not kind(bench)'
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) nextest run --locked --package homeward-radio

lint: setup tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --package homeward --no-default-features --features gateway -- -D warnings
	$(CARGO) clippy --locked --package homeward --no-default-features --features core -- -D warnings
	$(CARGO) clippy --locked --package homeward --no-default-features --features device -- -D warnings
	$(CARGO) clippy --locked --package homeward --no-default-features --features security-module -- -D warnings
	$(CARGO) clippy --locked --package homeward --no-default-features --features guard -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	cargo-deny --log-level error check bans licenses sources

bench: setup setup-bench gateway
	$(CARGO) build --locked --release --package homeward --package homeward-benches --package homeward-radio
	$(CARGO) build --locked --release --package homeward-dataplane --example tunnel
	target/release/homeward-benches $(ONLY)

fuzz: tools-fuzz
	cd fuzz && for target in $$(cargo fuzz list); do \
	  echo "== $$target for $(SECS) s"; mkdir -p "target/found/$$target"; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$$target" "target/found/$$target" "corpus/$$target" -- -max_total_time=$(SECS) -print_final_stats=1 2>&1 \
	    | grep -E 'stat::number_of_executed_units|Done|SUMMARY|panicked|ERROR' ; \
	done

gateway:
	$(CARGO) build --locked --profile small --package homeward --no-default-features --features gateway
	@ls -l target/small/homeward | awk '{printf "target/small/homeward: %.2f MB\n", $$5/1e6}'

setup:
	@lab/setup.sh build lab manager $(TOOLS)

setup-bench:
	@lab/setup.sh bench peers $(TOOLS)

tools:
	@lab/setup.sh tools $(TOOLS)

python:
	@lab/setup.sh python $(TOOLS)

node:
	@lab/setup.sh node $(TOOLS)

.PHONY: tools-fuzz
tools-fuzz:
	@lab/setup.sh fuzz $(TOOLS)

clean-lab:
	rm -rf target/lab
