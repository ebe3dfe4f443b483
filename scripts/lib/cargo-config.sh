# shellcheck shell=bash
# The way to the crates' registry, taken over from the host.

# write_cargo_config CARGO_HOME: copies the tables of the host's cargo configuration that say how
# a registry is reached. The others (linkers, wrappers, flags) name programs of the host.
write_cargo_config() {
	local to=$1 from new
	for from in "${HOST_CARGO_HOME:-${HOME:-/root}/.cargo}"/config{.toml,}; do
		[ -f "$from" ] && break
	done
	mkdir -p "$to"
	new=$(mktemp "$to/.config.XXXXXX")
	if [ -f "$from" ]; then
		registry_tables <"$from" >"$new"
	fi
	if cmp -s "$new" "$to/config.toml"; then
		rm -f "$new"
	else
		mv -f "$new" "$to/config.toml"
	fi
}

# registry_tables: the [source], [registries], [registry], [http] and [net] tables of the input.
registry_tables() {
	awk '/^[[:space:]]*\[/ { keep = $0 ~ /^[[:space:]]*\[+(source|registries|registry|http|net)[].]/ } keep'
}
