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

require_root() {
	[ "$(id -u)" -eq 0 ] ||
		die "this needs root (chroots, mounts, packages): run it again as root, or with sudo."
}
