# shellcheck shell=bash
# Paths and messages every script shares. Source it; it runs nothing.

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
LREP_CACHE=${LREP_CACHE:-/var/cache/lreproxy}
BUILDROOT=$LREP_CACHE/buildroot
export TREE LREP_CACHE BUILDROOT

# die WHAT CURE: ends the script with one sentence that says what is wrong and what to do.
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# note TEXT: something worth knowing that does not stop the work.
note() {
	printf 'note: %s\n' "$*" >&2
}

# package_list FILE: the package names of a list, one a line, without comments.
package_list() {
	sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$TREE/scripts/packages/$1"
}

# missing_packages PACKAGE...: those of them that are not installed.
missing_packages() {
	local package
	for package in "$@"; do
		dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
			printf '%s\n' "$package"
	done
}

# require_compilers: a Debian 13 host has what module and userspace are built with.
require_compilers() {
	local packages missing
	mapfile -t packages < <(sed -n 's/[[:space:]]*# host$//p' "$TREE/scripts/packages/buildroot" | sort)
	missing=$(missing_packages "${packages[@]}" | paste -sd' ')
	[ -z "$missing" ] ||
		die "programs that the build needs are missing here: run 'apt-get install $missing' on Debian 13 (elsewhere, make setup makes a build root that has them)."
}

# why_failed LOG: the one sentence a failed build left in its log, or else what stands before the
# first error of make (others build on for a while), or else the end.
why_failed() {
	grep '^error: ' "$1" | tail -n 1 | grep . || grep -m 1 -B 5 '^make.*\*\*\* ' "$1" || tail -n 15 "$1"
}

require_root() {
	[ "$(id -u)" -eq 0 ] ||
		die "this needs root (chroots, mounts, packages): run it again as root, or with sudo."
}
