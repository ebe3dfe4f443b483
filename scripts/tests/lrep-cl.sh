# shellcheck shell=bash
# lrep-cl as a user of the README meets it, on the stock kernel.

test_lrep_cl_says_what_is_missing_and_does_what_its_verbs_say() {
	run_in_guest guest-lrep-cl
}
