# shellcheck shell=bash
# What a whole run of the tests says at its end.

# A runner whose second test fails.
partly() {
	printf '%s\n' 'one ... ok (0.1 s)' 'two ... FAILED (0.2 s)' '    the reason' 'three ... ok (0.1 s)' '' \
		'2 passed, 1 failed'
	return 1
}

# A runner that ends before it has counted.
crashed() {
	printf 'one ... ok (0.1 s)\n'
	return 101
}

# end_of RUNNER...: the exit code of the whole, and what is printed after the runners' own output.
end_of() {
	local status=0 runner
	. "$scripts/lib/totals.sh"
	for runner; do
		run_tests "$runner" "$scratch/log" "$runner" >"$scratch/output" 2>&1
	done
	print_totals || status=$?
	printf 'exit code %d\n' "$status"
}

test_a_run_names_its_failed_tests_beside_the_totals() {
	expect_equal '
two ... FAILED (0.2 s)
    the reason

partly:  2 passed, 1 failed
2 passed, 1 failed
exit code 1' "$(end_of partly)"
}

test_a_runner_that_ends_early_counts_as_a_failure() {
	expect_equal '
error: the crashed tests did not run to their end (exit code 101)

crashed: 0 passed, 1 failed
0 passed, 1 failed
exit code 1' "$(end_of crashed)"
}
