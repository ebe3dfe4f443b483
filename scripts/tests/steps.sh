# shellcheck shell=bash
# Which steps of the set-up are done again, and when.

# stale CACHE TREE: the steps that would be made anew, in one line.
stale() {
	local file names=()
	for file in "$2"/scripts/setup.d/*; do
		LREP_CACHE=$1 "$2/scripts/lib/step.sh" "$file" is_valid || names+=("$(basename "$file")")
	done
	printf '%s\n' "${names[*]}"
}

test_a_second_run_makes_nothing_anew() {
	local before
	before=$(stat --format '%n %Y' "$LREP_CACHE"/stamps/*)
	"$scripts/setup" >"$scratch/output"
	grep -q 'nothing to do' "$scratch/output"
	expect_equal "$before" "$(stat --format '%n %Y' "$LREP_CACHE"/stamps/*)"
}

test_a_changed_guest_package_list_makes_the_guest_anew() {
	copy_tree "$scratch/tree"
	borrow_cache "$scratch/cache"
	printf 'socat\n' >>"$scratch/tree/scripts/packages/guest"
	expect_equal "60-guest-root" "$(stale "$scratch/cache" "$scratch/tree")"
	# once it has been made, the image that holds it follows
	printf 'made anew\n' >>"$scratch/cache/stamps/60-guest-root"
	expect_equal "60-guest-root 70-guest-image" "$(stale "$scratch/cache" "$scratch/tree")"
}

test_a_changed_build_root_list_makes_the_build_root_anew() {
	copy_tree "$scratch/tree"
	borrow_cache "$scratch/cache"
	printf 'socat\n' >>"$scratch/tree/scripts/packages/buildroot"
	expect_equal "20-build-root" "$(stale "$scratch/cache" "$scratch/tree")"
	# once it has been made, the kernel is installed in it; the guest and the metadata stay
	printf 'made anew\n' >>"$scratch/cache/stamps/20-build-root"
	expect_equal "20-build-root 30-kernel-version 40-kernel" "$(stale "$scratch/cache" "$scratch/tree")"
}

test_a_newer_kernel_makes_what_depends_on_it_anew() {
	borrow_cache "$scratch/cache"
	printf '%s\n' "99.0.1+deb13-amd64 99.0.1-1~bpo13+1" >"$scratch/cache/kernel/current"
	expect_equal "40-kernel 50-rust-metadata 70-guest-image 80-initramfs" "$(stale "$scratch/cache" "$TREE")"
}

test_the_kernel_is_asked_for_once_a_day_or_on_request() {
	borrow_cache "$scratch/cache"
	expect_equal "" "$(stale "$scratch/cache" "$TREE")"
	expect_equal "30-kernel-version" "$(LREP_REFRESH=1 stale "$scratch/cache" "$TREE")"
	touch --date '25 hours ago' "$scratch/cache/stamps/30-kernel-version"
	expect_equal "30-kernel-version" "$(stale "$scratch/cache" "$TREE")"
}

test_a_missing_product_is_made_anew() {
	borrow_cache "$scratch/cache"
	rm "$scratch/cache/guest"
	expect_equal "60-guest-root 70-guest-image 80-initramfs" "$(stale "$scratch/cache" "$TREE")"
}

test_a_lock_file_that_does_not_fit_is_told_from_an_unreachable_registry() {
	copy_tree "$scratch/tree"
	sed -i 's/^anyhow = "1"/anyhow = "=1.0.1"/' "$scratch/tree/Cargo.toml"
	borrow_cache "$scratch/cache"
	expect_error "Cargo.lock does not fit the Cargo.toml files" \
		env LREP_CACHE="$scratch/cache" "$scratch/tree/scripts/lib/step.sh" "$scratch/tree/scripts/setup.d/90-crates" make_it
}
