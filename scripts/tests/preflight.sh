# shellcheck shell=bash
# What set-up says when the machine is not fit for it.

test_without_root_it_says_so() {
	fake_program id 'echo 1000'
	PATH=$scratch/bin:$PATH expect_error "this needs root" "$scripts/setup"
	PATH=$scratch/bin:$PATH expect_error "this needs root" "$scripts/in-buildroot" true
	PATH=$scratch/bin:$PATH expect_error "this needs root" "$scripts/module" load
}

test_another_architecture_is_named() {
	fake_program uname 'echo aarch64'
	PATH=$scratch/bin:$PATH expect_error "this machine is aarch64, but lreproxy is built and tested for x86_64 only" "$scripts/setup"
}

test_another_distribution_is_named() {
	printf 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n' >"$scratch/os-release"
	LREP_OS_RELEASE=$scratch/os-release expect_error "this system is Ubuntu 24.04 LTS, but set-up needs Debian 12 or 13" "$scripts/setup"
}

test_another_debian_release_is_named() {
	printf 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n' >"$scratch/os-release"
	LREP_OS_RELEASE=$scratch/os-release expect_error "Debian GNU/Linux 11 (bullseye), but set-up needs Debian 12 or 13" "$scripts/setup"
}

test_debian_12_and_13_are_accepted() {
	local version
	for version in 12 13; do
		printf 'ID=debian\nVERSION_ID="%s"\n' "$version" >"$scratch/os-release"
		(. "$scripts/lib/preflight.sh" && LREP_OS_RELEASE=$scratch/os-release check_distribution)
	done
}

test_too_small_a_disk_is_named_with_need_and_cure() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	expect_error "MB for $scratch/small/cache, but its disk has only 20 MB free" \
		unshare --mount bash -c 'mkdir "$1/small" && mount -t tmpfs -o size=20M tmpfs "$1/small" && LREP_CACHE=$1/small/cache "$2"' \
		sh "$scratch" "$scripts/setup"
}

test_an_unreachable_archive_is_named() {
	LREP_CACHE=$scratch/cache LREP_MIRROR=http://127.0.0.1:9/debian \
		expect_error "the Debian archive at http://127.0.0.1:9/debian cannot be reached" "$scripts/setup"
}

test_an_unreachable_archive_keeps_the_kernel_of_the_last_set_up() {
	mkdir -p "$scratch/root/etc/apt/apt.conf.d" "$scratch/kernel"
	printf '%s\n' "7.0.0+deb13-amd64 7.0.0-1" >"$scratch/kernel/current"
	# shellcheck disable=SC2016,SC2034 # expanded by the inner shell; read by the step
	LREP_CACHE=$scratch bash -euo pipefail -c '
		. "$1/scripts/lib/common.sh"; . "$1/scripts/lib/mirror.sh"; STAMPS=$LREP_CACHE/stamps BUILDROOT=$LREP_CACHE/root
		in_root() { return 100; }
		. "$1/scripts/setup.d/30-kernel-version"
		build' sh "$TREE" 2>"$scratch/messages"
	grep -q 'the kernel of the last set-up is kept' "$scratch/messages"
	expect_equal "7.0.0+deb13-amd64 7.0.0-1" "$(cat "$scratch/kernel/current")"
}

test_the_hosts_own_mirror_is_used() {
	fake_program apt-get 'printf "%s\n" "https://apt.example.org/tools/ bookworm main" "http://mirror.example.org/debian/ bookworm main" "http://mirror.example.org/debian-security/ bookworm-security main"'
	printf 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n' >"$scratch/os-release"
	export LREP_OS_RELEASE=$scratch/os-release PATH=$scratch/bin:$PATH
	. "$scripts/lib/mirror.sh"
	expect_equal http://mirror.example.org/debian "$(debian_mirror)"
	expect_equal http://mirror.example.org/debian-security "$(debian_security_mirror)"
}

test_without_a_debian_mirror_on_the_host_the_public_one_is_used() {
	fake_program apt-get 'echo "mirror+file:/etc/apt/mirrors/debian.list bookworm main"'
	export PATH=$scratch/bin:$PATH
	. "$scripts/lib/mirror.sh"
	expect_equal http://deb.debian.org/debian "$(debian_mirror)"
}
