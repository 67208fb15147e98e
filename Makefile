# One front for people and machines: `make` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# `kernel` uses what `setup` installs.
.NOTPARALLEL:

CACHE := $(or $(PODWITNESS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/podwitness)
TARGET := $(or $(CARGO_TARGET_DIR),target)
# DuckDB is in the cache; a cargo that was just installed is not on the path of an older shell, nor on that of sudo.
# One path for all: ebpf/object is built again when it changes.
export PATH := $(CACHE)/bin:$(PATH):$(HOME)/.cargo/bin

# Debian's cloud kernels on which the datapath is tested too, booted in an emulator: of Debian 12, for x86-64.
# `make test KERNELS=` leaves them out, and says so.
KERNELS := $(if $(filter x86_64,$(shell uname -m)),6.1 6.12)

# The kernel programs are no program of the host: ebpf/object compiles them.
EVERYTHING := --locked --workspace --exclude podwitness-ebpf

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup kernel ## The product at work on this machine, without a cluster (root; the first build takes minutes)
	cargo build --locked --release -p podwitness -p podwitness-agent -p podwitness-exporter
	$(TARGET)/release/podwitness demo

.PHONY: test
test: setup kernel ## Every test, those too that need root and the kernel (root)
	deploy/dev/test
	deploy/dev/setup --kernels $(KERNELS)
	deploy/dev/setup --cluster
	cargo build $(EVERYTHING) --bins
	cargo test $(EVERYTHING) --no-run
	@echo 'Running the tests in network and mount namespaces of their own: nothing outside is reached or touched.'
	unshare --net --mount --propagation private -- $(SHELL) -euo pipefail -c \
		'ip link set lo up; exec cargo test $(EVERYTHING) --offline --no-fail-fast'
	$(if $(KERNELS),tests/kernels/run quick $(KERNELS),@echo 'NOT TESTED: other kernels, because KERNELS is empty.')
	tests/cluster/test

.PHONY: kubernetes
kubernetes: setup kernel ## Of the tests, those of the chart on a real Kubernetes whose pods, programs and nodes are taken away (root)
	deploy/dev/setup --cluster
	cargo build $(EVERYTHING) --bins
	cargo test $(EVERYTHING) --test kubernetes --no-run
	unshare --net --mount --propagation private -- $(SHELL) -euo pipefail -c \
		'ip link set lo up; exec cargo test $(EVERYTHING) --offline --test kubernetes'

.PHONY: kernels
kernels: setup ## The datapath's tests on other kernels, all of them (minutes; KERNELS says which)
	deploy/dev/setup --kernels $(KERNELS)
	tests/kernels/run all $(KERNELS)

NODES ?= 2
.PHONY: cluster
cluster: setup ## A real Kubernetes of NODES nodes on this machine, in namespaces of its own (root; ten minutes the first time)
	deploy/dev/setup --cluster
	tests/cluster/up --nodes $(NODES)
	@echo 'Use it with tests/cluster/kubectl, and end it with tests/cluster/down.'

# Each cluster that it makes is named by its seed; PODWITNESS_TEST_SEED has a run begin with one.
SOAK_SECONDS ?= 3600
.PHONY: soak
soak: export PODWITNESS_SOAK_SECONDS := $(SOAK_SECONDS)
soak: setup kernel ## Random changes of everything under open connections, for SOAK_SECONDS (root)
	cargo build --locked -p podwitness-agent -p podwitness-exporter --bins
	cargo test --locked -p podwitness-tests --test chain --no-run
	unshare --net --mount --propagation private -- $(SHELL) -euo pipefail -c \
		'ip link set lo up; exec cargo test --locked --offline -p podwitness-tests --test chain -- --nocapture churn::'

# Room for the root is taken below TMPDIR, and given back.
BENCH_MB ?= 5000
.PHONY: bench-verify
bench-verify: export PODWITNESS_BENCH_MB := $(BENCH_MB)
bench-verify: ## podwitness verify beside sha256sum on a root of BENCH_MB (takes room for it, and minutes to make it)
	cargo bench --locked -p podwitness --bench verify

# Its version is that of which CONTRIBUTING.md speaks.
.PHONY: azurite
azurite: ## az:// on an emulator of Azure's store, which it gets (needs node)
	@command -v npm >/dev/null || { echo 'npm is missing: Azurite, which emulates the store of Azure, runs on node' >&2; exit 1; }
	npm install --no-audit --no-fund --prefix $(CACHE)/azurite azurite@3.35.0
	cargo build --locked -p podwitness
	cargo test --locked -p podwitness-store --test azure

# PODWITNESS_BENCH_PODS says for how many pods, with commas between the numbers.
.PHONY: bench-scale
bench-scale: setup kernel ## From a change of the cluster to its being in force, for 100 to 10,000 pods (root)
	cargo bench --locked -p podwitness-agent --features bench --bench scale

# PODWITNESS_BENCH_PODS, and others that tests/benches/kubernetes names, say how much is measured.
.PHONY: bench-kubernetes
bench-kubernetes: setup kernel ## The agent at a real API server of 100 to 10,000 pods: memory, processor, time to in force (root)
	$(if $(KUBEBUILDER_ASSETS),,deploy/dev/setup --cluster)
	cargo build --locked --release -p podwitness-agent -p podwitness-exporter
	cargo bench --locked -p podwitness-tests --bench kubernetes

SCRIPTS := .ci/run $(addprefix deploy/dev/,cluster.sh kernels.sh lib.sh machine.sh setup test toolchain.sh) \
	deploy/image/build deploy/image/pack \
	deploy/manifests/render tests/kernels/run \
	$(addprefix tests/cluster/,down enter helm image keys.sh kubectl lib.sh node nodes.sh program store test up) \
	$(wildcard tests/cluster/inside/*)
.PHONY: lint
lint: ## Formatting, clippy and shell syntax; a warning is an error
	cargo fmt --all --check
	cargo clippy $(EVERYTHING) --all-targets -- -D warnings
	cargo clippy --locked -p podwitness-agent --features bench --benches -- -D warnings
	for script in $(SCRIPTS); do bash -n "$$script"; done

# What is found new stays outside the kept corpus; CONTRIBUTING.md says how it gets in.
FUZZ_SECONDS ?= 600
FUZZ_FOUND := $(abspath ebpf/packet/fuzz/target/found)
.PHONY: fuzz
fuzz: export PATH := $(CACHE)/tools/bin:$(PATH)
fuzz: ## The packet parser against a second one, for FUZZ_SECONDS (needs cargo-fuzz)
	@command -v cargo-fuzz >/dev/null || { \
		echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz --root $(CACHE)/tools' >&2; exit 1; }
	mkdir -p $(FUZZ_FOUND)
	cd ebpf/packet && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none frame $(FUZZ_FOUND) fuzz/corpus/frame -- \
		-max_total_time=$(FUZZ_SECONDS) -max_len=512

.PHONY: setup
setup: ## What the build, the tests and the demo need and this machine lacks (root)
	@deploy/dev/setup

.PHONY: kernel
kernel: ## Whether this machine's kernel can run the tests and the demo (root)
	@deploy/dev/setup --check-kernel
