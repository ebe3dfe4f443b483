# shellcheck shell=bash
# Entering a root file system in a mount namespace of its own: nothing mounted here is seen
# outside, and all of it is gone when the command ends.

# enter_root ROOT CMD...: replaces the calling shell by CMD inside ROOT, so that its exit code
# and the signals sent to it need no forwarding. Paths in ENTER_BIND (one a line) are visible
# inside at their own place; ENTER_CWD is the directory CMD starts in.
enter_root() {
	local root=$1
	shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	exec unshare --mount --propagation private bash -c '
		set -e
		root=$1
		shift
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		while IFS= read -r path; do
			[ -n "$path" ] || continue
			mkdir -p "$root$path"
			mount --bind "$path" "$root$path"
		done <<<"$ENTER_BIND"
		# the resolver, host names and trusted certificates are those of the host
		for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
			[ -f "$file" ] && [ -d "$root${file%/*}" ] || continue
			[ -e "$root$file" ] || : >"$root$file"
			mount --bind "$(readlink -f "$file")" "$root$file"
		done
		cwd=${ENTER_CWD:-/}
		unset ENTER_BIND ENTER_CWD
		# chroot(8) starts its command in /, so the directory is entered by the last shell
		exec chroot "$root" /bin/sh -c '\''cd "$1" && shift && exec "$@"'\'' sh "$cwd" "$@"
	' enter_root "$root" "$@"
}
