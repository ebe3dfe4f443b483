# Verbs only: what each does is in scripts/ (see scripts/README.md). `make` alone lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup setup-refresh modules userspace generate install load unload test demo \
	bench bench-check bench-control bench-setup lint deny ci guest-shell debug-kernel test-long test-debug fuzz coverage miri clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## set up, build, run every test (TEST=NAME: only the guest tests whose name contains it)
	@scripts/test '$(TEST)'

test-long: setup ## the guest tests that take too long for every run (TEST=NAME as for test)
	@scripts/guest-program run --long $(TEST)

test-debug: ## the guest tests, and those that need it, on the debug kernel (TEST=NAME as for test)
	@scripts/test-debug '$(TEST)'

demo: setup ## set up, build, and place a call through Kamailio and the relay
	@scripts/guest-program demo

bench: ## set up, build, and count the instructions a relayed packet costs
	@scripts/setup bench
	@scripts/guest-program bench

bench-check: setup ## set up, build, and compare the module's instructions with those recorded
	@scripts/guest-program bench-check

bench-control: ## set up, build, and compare what calls cost lrep-cl with rtpengine and with the goals
	@scripts/setup bench
	@scripts/guest-program bench-control

bench-setup: setup ## set up, build, and measure what sessions cost to set up, list, keep and watch
	@scripts/guest-program bench-setup

setup: ## make the build root, the kernel and the test guest (later runs only check)
	@scripts/setup

setup-refresh: ## the same, asking for a newer kernel now and not once a day
	@LREP_REFRESH=1 scripts/setup

fuzz: ## throw what nobody would send at the code that reads it (SECONDS=N for each target, 60)
	@scripts/fuzz $(SECONDS)

coverage: ## print what the unit tests reach
	@scripts/coverage

miri: ## the tests of the pure code under Miri (needs rustup's nightly toolchain)
	@scripts/miri

debug-kernel: ## build a kernel in which KASAN, lockdep, kmemleak and fault injection watch the module
	@scripts/setup debug

modules: ## build lreproxy.ko into build/module (KDIR=DIR: for the kernel headers in DIR)
	@KDIR='$(KDIR)' scripts/build-module host

userspace: ## build lrep-cl into build/target/release
	@scripts/build-userspace

install: ## install the module for the running kernel, lrep-cl, its configuration and unit
	@scripts/module install

load: ## load the module into the running kernel
	@scripts/module load

unload: ## remove the module from the running kernel
	@scripts/module unload

generate: ## make the netlink constants anew from genl-proto/lreproxy.yaml
	@scripts/in-buildroot cargo run --locked --quiet -p genl-gen

lint: ## check formatting, clippy (userspace and module) and the scripts
	@scripts/lint

deny: ## check the licences, sources and advisories of the crates
	@scripts/deny

ci: ## everything a change has to pass
	@.ci/run

guest-shell: setup ## boot the test guest to a shell on this terminal
	@scripts/guest-shell

clean: ## remove what was built in the tree (the cache directory stays)
	rm -rf build
