# Verbs only: what each does is in scripts/ (see scripts/README.md). `make` lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
BUILDROOT_RUN := scripts/in-buildroot
.PHONY: help setup setup-refresh modules userspace generate install load unload test demo bench lint deny ci guest-shell clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make the build root, the kernel and the test guest (once; later runs only check)
	@scripts/setup

setup-refresh: ## the same, looking for a newer kernel now and not once a day
	@LREP_REFRESH=1 scripts/setup

modules: ## build lreproxy.ko into build/module (KDIR=DIR: against the kernel headers in DIR)
	@KDIR='$(KDIR)' scripts/build-module host

userspace: ## build lrep-cl and the guest tests into build/target/release
	@$(BUILDROOT_RUN) cargo build --locked --release --workspace

generate: ## make the netlink constants anew from genl-proto/lreproxy.yaml
	@$(BUILDROOT_RUN) cargo run --locked --quiet -p genl-gen
