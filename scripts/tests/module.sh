# shellcheck shell=bash disable=SC2016 # commands are expanded elsewhere
# make modules on a Debian 13 host, and make install, load and unload.

test_a_debian_13_host_builds_for_its_running_kernel_without_a_build_root() {
	# The build root is a Debian 13 with headers of the kernel and no build root of its own; only
	# the running kernel is another one.
	fake_program uname "[ \"\$1\" = -r ] && echo $release || exec /usr/bin/uname \"\$@\""
	copy_tree "$scratch/tree"
	mkdir "$scratch/cache"
	ln -s "$LREP_CACHE/headers" "$scratch/cache/headers"
	"$scripts/in-buildroot" env LREP_CACHE="$scratch/cache" PATH="$scratch/bin:/usr/sbin:/usr/bin" \
		make -C "$scratch/tree" modules
	expect_equal "$release" "$("$scripts/in-buildroot" modinfo --field vermagic "$scratch/tree/build/module/lreproxy.ko" | cut -d' ' -f1)"
	[ -z "$(find "$scratch/tree/kmod" "$scratch/tree/Kbuild" -newer "$scratch/bin/uname" -name '*.o')" ]
}

test_a_module_is_built_for_a_kernel_that_is_not_running_yet() {
	fake_program uname '[ "$1" = -r ] && echo 1.2.3-other || exec /usr/bin/uname "$@"'
	copy_tree "$scratch/tree"
	mkdir "$scratch/cache"
	ln -s "$LREP_CACHE/headers" "$scratch/cache/headers"
	"$scripts/in-buildroot" env LREP_CACHE="$scratch/cache" PATH="$scratch/bin:/usr/sbin:/usr/bin" \
		make -C "$scratch/tree" modules KDIR="/usr/src/linux-headers-$release"
	expect_equal "$release" "$("$scripts/in-buildroot" modinfo --field vermagic "$scratch/tree/build/module/lreproxy.ko" | cut -d' ' -f1)"
	expect_error "there are no headers in /usr/src/linux-headers-9.9.9" \
		env KDIR=/usr/src/linux-headers-9.9.9 "$scripts/build-module" host
}

test_without_the_kernels_source_it_says_what_to_install() {
	fake_program uname "[ \"\$1\" = -r ] && echo $release || exec /usr/bin/uname \"\$@\""
	expect_error "run 'apt-get install linux-source-" \
		"$scripts/in-buildroot" env LREP_CACHE="$scratch" PATH="$scratch/bin:/usr/sbin:/usr/bin" "$scripts/build-module" host
}

test_a_host_without_the_compilers_is_told_their_packages() {
	local needed
	needed=$(sed -n 's/[[:space:]]*# host$//p' "$scripts/packages/buildroot" | sort | paste -sd' ')
	fake_program dpkg-query 'echo "un "'
	copy_tree "$scratch/tree"
	PATH=$scratch/bin:$PATH LREP_CACHE=$scratch/cache expect_error "run 'apt-get install $needed'" "$scratch/tree/scripts/build-userspace"
	# the README names the same
	grep -q "^    apt install $needed\$" "$TREE/README.md"
}

test_a_module_that_was_not_built_is_not_loaded() {
	copy_tree "$scratch/tree"
	expect_error "has not been built yet: run make modules first" "$scratch/tree/scripts/module" load
	expect_error "has not been built yet: run make modules first" "$scratch/tree/scripts/module" install
}

test_a_module_of_another_kernel_is_not_loaded() {
	fake_program uname 'echo 1.2.3-other'
	expect_error "the module was built for kernel $release, but this machine runs 1.2.3-other" \
		"$scripts/in-buildroot" env PATH="$scratch/bin:/usr/sbin:/usr/bin" "$scripts/module" load
}

test_a_module_of_a_kernel_that_is_not_there_is_not_installed() {
	fake_program modinfo 'echo 1.2.3-other SMP'
	expect_error "the module was built for kernel 1.2.3-other, which is not installed here" \
		"$scripts/in-buildroot" env PATH="$scratch/bin:/usr/sbin:/usr/bin" "$scripts/module" install
}

test_unloading_what_is_not_loaded_is_an_error() {
	expect_error "lreproxy is not loaded" "$scripts/module" unload
}

test_install_load_and_unload_do_what_they_say() {
	run_in_guest guest-module-verbs
}
