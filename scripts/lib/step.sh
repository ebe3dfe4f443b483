#!/bin/bash
# lib/step.sh FILE VERB: runs one function of a set-up step in a shell of its own.
#
# A step file defines
#   title        what it makes, in a few words
#   needs_mb     disk space it takes while it runs
#   key          prints everything its product depends on
#   products     prints the paths it makes, one a line
#   build        makes them
# and may set changes_buildroot=yes (commands running in the build root are waited for) or
# define still_valid (more conditions than the key for leaving it alone).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$TREE/scripts/lib/chroot.sh"
. "$TREE/scripts/lib/mirror.sh"

STAMPS=$LREP_CACHE/stamps
changes_buildroot=no
still_valid() { :; }

# fingerprint PATH...: a digest of the content of files.
fingerprint() {
	cat -- "$@" | sha256sum | cut -d' ' -f1
}

# in_root ROOT CMD...: as enter_root, but comes back.
in_root() {
	(
		ENTER_BIND=$TREE$'\n'$LREP_CACHE
		ENTER_CWD=/
		export ENTER_BIND ENTER_CWD DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
		export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		enter_root "$@"
	)
}

# installed_versions PACKAGE...: their versions in the build root.
installed_versions() {
	dpkg-query --admindir="$BUILDROOT/var/lib/dpkg" --show "$@"
}

kernel_release() { cut -d' ' -f1 "$LREP_CACHE/kernel/current"; }

name=$(basename "$1")
title='' needs_mb=0
# shellcheck source=/dev/null
. "$1"

# is_valid: made with the same key, nothing missing.
is_valid() {
	local stamp=$STAMPS/$name path
	[ -e "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(key | sha256sum)" ] || return 1
	while IFS= read -r path; do
		[ -e "$path" ] || return 1
	done < <(products)
	still_valid
}

# make_it: builds, then records the key and when it was made (later steps depend on both).
make_it() {
	mkdir -p "$STAMPS"
	rm -f "$STAMPS/$name"
	local key
	key=$(key | sha256sum)
	build
	printf '%s\n' "$key" "$(date --iso-8601=ns)" >"$STAMPS/.$name.new"
	mv "$STAMPS/.$name.new" "$STAMPS/$name"
}

describe() {
	printf '%s\n' "$title"
}

# disk_need changed|later: what the step takes now, or would take in this run.
disk_need() {
	if [ "$1" = later ] && [ -e "$STAMPS/$name" ]; then
		needs_mb=0
	fi
	printf '%s\n' "$needs_mb"
}

alters_buildroot() {
	[ "$changes_buildroot" = yes ]
}

"${@:2}"
