# shellcheck shell=bash
# check-kernel-abi and prepare-headers stop before a module is built that would not load.

# doctored_headers DIR: the parts of the prepared headers the checks read.
doctored_headers() {
	local real=$LREP_CACHE/headers/$release
	mkdir -p "$1/rust"
	cp "$real/.config" "$real/Module.symvers" "$1/"
	cp "$real"/rust/exports_*_generated.h "$1/rust/"
}

check() {
	"$scripts/in-buildroot" "$scripts/check-kernel-abi" "$@"
}

test_the_metadata_fits_debians_kernel() {
	local found
	found=$(check symbols "$LREP_CACHE/headers/$release")
	[[ $found =~ ^([0-9]+)\ of\ ([0-9]+)\ exported\ Rust\ symbols\ agree ]]
	expect_equal "${BASH_REMATCH[2]}" "${BASH_REMATCH[1]}"
	[ "${BASH_REMATCH[1]}" -gt 1000 ]
}

test_a_symbol_with_another_hash_is_refused() {
	doctored_headers "$scratch/headers"
	sed -i '0,/6kernel/s/\(_RNv[^\t]*\)6kernel/\1x6kernel/' "$scratch/headers/Module.symvers"
	expect_error "1 are missing here and 1 are different" check symbols "$scratch/headers"
}

test_a_missing_symbol_is_refused() {
	doctored_headers "$scratch/headers"
	sed -i '1d' "$scratch/headers/rust/exports_kernel_generated.h"
	expect_error "1 are missing here and 0 are different" check symbols "$scratch/headers"
}

test_a_kernel_that_exports_no_rust_symbol_is_refused() {
	doctored_headers "$scratch/headers"
	sed -i -E '/\t(_R|rust_)/d' "$scratch/headers/Module.symvers"
	expect_error "this kernel has no Rust support" check symbols "$scratch/headers"
}

test_the_tools_are_those_the_kernel_was_built_with() {
	check tools "$LREP_CACHE/headers/$release"
}

test_another_compiler_is_named() {
	doctored_headers "$scratch/headers"
	sed -i 's/^CONFIG_RUSTC_VERSION_TEXT=.*/CONFIG_RUSTC_VERSION_TEXT="rustc 1.99.0 (other)"/' "$scratch/headers/.config"
	expect_error "the kernel was built with rustc 'rustc 1.99.0 (other)', but 'rustc 1." check tools "$scratch/headers"

	doctored_headers "$scratch/headers"
	sed -i 's/^CONFIG_BINDGEN_VERSION_TEXT=.*/CONFIG_BINDGEN_VERSION_TEXT="bindgen 0.99.0"/' "$scratch/headers/.config"
	expect_error "the kernel was built with bindgen 'bindgen 0.99.0', but 'bindgen 0." check tools "$scratch/headers"

	doctored_headers "$scratch/headers"
	sed -i 's/^CONFIG_CC_VERSION_TEXT=.*/CONFIG_CC_VERSION_TEXT="no-such-gcc (Debian) 99"/' "$scratch/headers/.config"
	expect_error "the kernel was built with C compiler 'no-such-gcc (Debian) 99', but 'none'" check tools "$scratch/headers"
}

test_a_kernel_without_rust_is_refused() {
	doctored_headers "$scratch/headers"
	sed -i '/^CONFIG_RUST=y/d' "$scratch/headers/.config"
	expect_error "was built without Rust support (CONFIG_RUST)" check tools "$scratch/headers"
	expect_error "was built without Rust support (CONFIG_RUST)" env KDIR="$scratch/headers" "$scripts/build-module" host
}

test_a_source_of_another_version_is_refused() {
	mkdir "$scratch/linux-source-7.0"
	printf 'kernelversion:\n\t@echo 7.0.99\n' >"$scratch/linux-source-7.0/Makefile"
	tar -C "$scratch" -cJf "$scratch/source.tar.xz" linux-source-7.0
	expect_error "is Linux 7.0.99, but the headers are linux-headers-$release" \
		"$scripts/in-buildroot" "$scripts/prepare-headers" "/usr/src/linux-headers-$release" "$scratch/source.tar.xz" "$scratch/out"
	[ ! -e "$scratch/out" ]
}
