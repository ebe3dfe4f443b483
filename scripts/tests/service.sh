# shellcheck shell=bash
# The daemon as systemd starts it: the unit's sandbox, and what outlives a restart.

test_the_daemon_serves_under_systemd_and_a_restart_loses_no_request() {
	run_in_guest guest-service
}
