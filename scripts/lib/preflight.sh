# shellcheck shell=bash
# What the host must be and have. Each check is silent when it holds, and otherwise ends the
# script with one sentence that says what is missing and what to do.

check_architecture() {
	local machine
	machine=$(uname -m)
	[ "$machine" = x86_64 ] ||
		die "this machine is $machine, but lreproxy is built and tested for x86_64 only: use an x86_64 (amd64) machine."
}

check_distribution() {
	local file=${LREP_OS_RELEASE:-/etc/os-release} id version name
	[ -r "$file" ] || die "$file is missing, so this system cannot be recognised: set-up needs Debian 12 or 13."
	# shellcheck source=/dev/null
	read -r id version name < <(. "$file" && printf '%s %s %s\n' "${ID:-unknown}" "${VERSION_ID:-unknown}" "${PRETTY_NAME:-}")
	case $id:$version in
	debian:12 | debian:13) ;;
	*) die "this system is ${name:-$id $version}, but set-up needs Debian 12 or 13: run it on a Debian 12 or 13 machine or virtual machine." ;;
	esac
}

# check_disk MEGABYTES: that much is free where the cache is (or will be).
check_disk() {
	local need=$1 dir=$LREP_CACHE free
	while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
	free=$(df --portability --block-size=1M "$dir" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$need" ] ||
		die "set-up needs $need MB for $LREP_CACHE, but its disk has only $free MB free: free some space there, or set LREP_CACHE to a directory on a larger disk."
}

# check_mirror: the distribution's archive answers. apt's own helper asks, so that its proxies count.
check_mirror() {
	local mirror scratch
	mirror=$(debian_mirror)
	scratch=$(mktemp -d)
	if ! "${APT_HELPER:-/usr/lib/apt/apt-helper}" -o Acquire::http::Timeout=20 -o Acquire::Retries=1 \
		download-file "$mirror/dists/trixie/InRelease" "$scratch/InRelease" >/dev/null 2>&1; then
		rm -rf "$scratch"
		die "the Debian archive at $mirror cannot be reached: check the network and apt's proxy settings, or set LREP_MIRROR to a mirror that can be."
	fi
	rm -rf "$scratch"
}
