# shellcheck shell=bash
# Building for the kernel this machine runs, or for another one whose headers are in KDIR.

host_headers() {
	printf '%s\n' "${KDIR:-/lib/modules/$(uname -r)/build}"
}

# host_kernel_has_rust: the kernel can take the module, and its headers are here.
host_kernel_has_rust() {
	grep -qs '^CONFIG_RUST=y' "$(host_headers)/.config"
}

# prepare_host_kernel: sets kdir to headers of the kernel that hold its Rust metadata: the
# installed ones, or a completed copy of them in the cache.
prepare_host_kernel() {
	local headers source version
	headers=$(readlink -f "$(host_headers)") || true
	[ -d "$headers" ] ||
		die "there are no headers in $(host_headers): install the linux-headers package of that kernel, whose directory is /usr/src/linux-headers-RELEASE."
	kdir=$headers
	# of a kernel without Rust that is said first
	! host_kernel_has_rust || require_compilers
	"$TREE/scripts/check-kernel-abi" tools "$headers"
	[ ! -e "$headers/rust/libkernel.rmeta" ] || return 0
	kdir=$LREP_CACHE/headers/$(basename "$headers" | sed 's/^linux-headers-//')
	[ ! -e "$kdir/rust/libkernel.rmeta" ] || return 0

	require_root
	version=$(basename "$kdir" | cut -d. -f1,2)
	source=/usr/src/linux-source-$version.tar.xz
	[ -e "$source" ] ||
		die "the Rust metadata of this kernel has to be made from its source, and $source is missing: run 'apt-get install linux-source-$version' (from the archive the kernel came from) and start again."
	note "making the Rust metadata of $(basename "$kdir") once, in $kdir (a few minutes)"
	mkdir -p "$LREP_CACHE/headers"
	"$TREE/scripts/prepare-headers" "$headers" "$source" "$kdir" >"$kdir.log" 2>&1 ||
		{ why_failed "$kdir.log" >&2; die "the Rust metadata could not be made: its log is $kdir.log."; }
}
