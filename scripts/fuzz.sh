#!/usr/bin/env bash
# Usage: fuzz.sh [PATTERN]. Runs the fuzz targets that match the regular expression, such as "^./repo/pack ", for
# FUZZTIME (default 10m) each, FUZZJOBS of them beside each other (default: one per core), each with one worker.
# Where one finds something, Go has written the input to testdata/fuzz.
set -uo pipefail
cd "$(dirname "$0")/.."
export FUZZTIME=${FUZZTIME:-10m}
jobs=${FUZZJOBS:-$(nproc)}
pattern=${1:-.}

# fuzz PACKAGE TARGET [TAG]
fuzz() {
	local log status
	log=$(mktemp)
	CGO_ENABLED=$([ -n "${3:-}" ] && echo 1 || echo 0) go test -tags "${3:-}" -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 1x \
		-parallel 1 "$1" >"$log" 2>&1 </dev/null
	status=$?
	if [ $status = 0 ] && grep -q 'execs: ' "$log"; then
		echo "ok    $* $(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
	else
		status=1
		echo "FAIL  $*"
		tail -40 "$log"
	fi
	rm "$log"
	return $status
}
export -f fuzz

# targets lists packages and targets; those of repo/pack once more with libzstd, if it can be built.
targets() {
	local file cc
	cc=$(go env CC)
	grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
		if ! grep -q '^//go:build libzstd' "$file"; then
			grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed "s|^func |$(dirname "$file") |"
		fi
		case $file in ./repo/pack/*) if command -v "${cc%% *}" >/dev/null; then
			grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed "s|^func \(.*\)|./repo/pack \1 libzstd|"
		fi ;; esac
	done | grep -E "$pattern"
}

echo "fuzz: $(targets | wc -l) targets for $FUZZTIME each, $jobs at a time"
targets | xargs -P "$jobs" -L 1 bash -c 'fuzz "$@"' fuzz
