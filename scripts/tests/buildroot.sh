# shellcheck shell=bash disable=SC2016 # commands are expanded in the build root
# scripts/in-buildroot.

in_root() { "$scripts/in-buildroot" "$@"; }

test_the_exit_code_is_the_commands() {
	local status=0
	in_root sh -c 'exit 37' || status=$?
	expect_equal 37 "$status"
}

test_a_signal_reaches_the_command() {
	local pid status=0
	"$scripts/in-buildroot" sh -c 'trap "exit 42" TERM; : >"$1"; for i in $(seq 600); do sleep 0.1; done' sh "$scratch/started" &
	pid=$!
	until [ -e "$scratch/started" ]; do sleep 0.1; done
	kill -TERM "$pid"
	wait "$pid" || status=$?
	expect_equal 42 "$status"
}

test_arguments_arrive_unchanged() {
	expect_equal "<a b><><*>" "$(in_root sh -c 'printf "<%s>" "$@"' sh 'a b' '' '*')"
}

test_it_starts_in_the_current_directory() {
	cd "$TREE/scripts"
	expect_equal "$TREE/scripts" "$(in_root pwd)"
	cd /usr
	expect_equal "$TREE" "$(in_root pwd)"
}

test_the_compiler_is_that_of_debian_13_whatever_the_host_has() {
	local found
	found=$(RUSTUP_TOOLCHAIN=nightly RUSTC=/no/such/rustc in_root cargo --version)
	[[ $found == "cargo 1.85."* ]]
}

test_nothing_stays_mounted() {
	in_root true
	expect_equal "" "$(awk -v root="$BUILDROOT" 'index($2, root) == 1' /proc/mounts)"
}

test_several_run_at_once() {
	local i pids=()
	for i in 1 2 3 4 5; do
		in_root sh -c 'sleep 0.2; test -r /proc/self/mounts && test -d "$1"' sh "$TREE/scripts" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do wait "$i"; done
}

test_without_a_build_root_it_says_what_to_run() {
	LREP_CACHE=$scratch expect_error "there is no build root in $scratch yet: run make setup first" "$scripts/in-buildroot" true
	LREP_CACHE=$scratch expect_error "there is no build root in $scratch yet: run make setup first" "$scripts/build-module" guest
	LREP_CACHE=$scratch expect_error "there is no guest image in $scratch yet: run make setup first" "$scripts/guest-shell"
}

test_the_hosts_registry_settings_are_taken_over_and_its_linkers_are_not() {
	printf '%s\n' '[build]' 'rustc-wrapper = "sccache"' '[source.crates-io]' 'replace-with = "near"' \
		'[source.near]' 'registry = "sparse+https://crates.example.org/"' \
		'[target.x86_64-unknown-linux-gnu]' 'linker = "clang"' '[http]' 'timeout = 60' >"$scratch/config.toml"
	. "$scripts/lib/cargo-config.sh"
	HOST_CARGO_HOME=$scratch write_cargo_config "$scratch/inside"
	expect_equal "$(printf '%s\n' '[source.crates-io]' 'replace-with = "near"' '[source.near]' \
		'registry = "sparse+https://crates.example.org/"' '[http]' 'timeout = 60')" "$(cat "$scratch/inside/config.toml")"
}
