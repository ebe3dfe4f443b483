# shellcheck shell=bash
# Running several test runners to their ends and adding up what they report.

totals=()
failures=0
failed_tests=()

# count_cargo LOG, count_lines LOG: "PASSED FAILED", as the runner itself counted.
count_cargo() {
	awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$1"
}
count_lines() {
	awk '/^[0-9]+ passed, [0-9]+ failed$/ { passed = $1; failed = $3 } END { print passed + 0, failed + 0 }' "$1"
}

# list_failed LOG: the failed tests, each with what its runner said of it on indented lines.
list_failed() {
	awk '/ \.\.\. FAILED|^FAILED  / { print; said = 1; next } said && /^    / { print; next } { said = 0 }' "$1"
}

# run_tests KIND LOG CMD...: a runner that fails without naming a failed test (it did not
# build, it crashed), or that ran none, counts as one failure.
run_tests() {
	local kind=$1 log=$2 passed failed status=0
	shift 2
	printf '\n== %s tests\n' "$kind"
	"$@" 2>&1 | tee "$log" || status=$?
	if [ "$kind" = unit ]; then
		read -r passed failed < <(count_cargo "$log")
	else
		read -r passed failed < <(count_lines "$log")
	fi
	if [ "$failed" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; }; then
		failed_tests+=("error: the $kind tests did not run to their end (exit code $status)")
		failed=1
	elif [ "$failed" -gt 0 ]; then
		failed_tests+=("$(list_failed "$log")")
	fi
	failures=$((failures + failed))
	totals+=("$(printf '%-8s %d passed, %d failed' "$kind:" "$passed" "$failed")")
}

# What failed is told again beside the totals: the output of a whole run is long.
print_totals() {
	printf '\n'
	[ "${#failed_tests[@]}" -eq 0 ] || printf '%s\n' "${failed_tests[@]}" ''
	printf '%s\n' "${totals[@]}"
	printf '%s\n' "${totals[@]}" |
		awk '{ passed += $2; failed += $4 } END { printf "%d passed, %d failed\n", passed, failed }'
	[ "$failures" -eq 0 ]
}
