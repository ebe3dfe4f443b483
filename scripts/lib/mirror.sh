# shellcheck shell=bash
# Which Debian mirror to use: LREP_MIRROR and LREP_SECURITY_MIRROR, or else what the host's own
# apt uses for its Debian release (whichever format its sources are in), or else deb.debian.org.

debian_mirror() {
	local found=${LREP_MIRROR:-$(host_archive "$(host_codename)" /debian)}
	printf '%s\n' "${found:-http://deb.debian.org/debian}"
}

debian_security_mirror() {
	local found=${LREP_SECURITY_MIRROR:-$(host_archive "$(host_codename)-security" /debian-security)}
	printf '%s\n' "${found:-http://deb.debian.org/debian-security}"
}

host_codename() {
	# shellcheck source=/dev/null
	(. "${LREP_OS_RELEASE:-/etc/os-release}" && printf '%s\n' "${VERSION_CODENAME:-}")
}

# host_targets: the host's archives: address, suite and component, one a line.
host_targets() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null
}

# host_archive SUITE TAIL: the first http(s) archive of SUITE in the host's sources whose path
# ends in TAIL: third-party archives use Debian's suite names, but not its directory.
host_archive() {
	printf '%s\n' "${targets-$(host_targets)}" |
		awk -v suite="$1" -v tail="$2" '
			{ sub("/$", "", $1) }
			!found && $2 == suite && $3 == "main" && $1 ~ "^https?://" && $1 ~ (tail "$") { print $1; found = 1 }'
}

# debian_sources: the build root's archives, in sources.list format.
debian_sources() {
	# apt takes its time, so it is asked once
	local mirror targets
	targets=$(host_targets)
	mirror=$(debian_mirror)
	printf 'deb %s trixie main\n' "$mirror"
	printf 'deb %s trixie-backports main\n' "$mirror"
	printf 'deb %s trixie-security main\n' "$(debian_security_mirror)"
}

# apt_transport: the host's apt settings that say how an archive is reached (proxies, timeouts,
# clock tolerance), in apt.conf format.
apt_transport() {
	apt-config dump | grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)\b.* "[^"]+";' || true
	printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";'
}
