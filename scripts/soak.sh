#!/usr/bin/env bash
# The long loops: crashes, faults, load and fuzzing, bounded in time. Set
# FUZZTIME (default 10m) for each fuzz target and LOCKFAST_SOAK (default 1).
set -euo pipefail
cd "$(dirname "$0")/.."
fuzztime=${FUZZTIME:-10m}
export LOCKFAST_SOAK=${LOCKFAST_SOAK:-1}

echo "soak: crash, fault and model tests"
# Most servers of the fault test wait most of the time; the model test does little but make garbage.
GOGC=${GOGC:-400} go test -count=1 -timeout 3h -parallel 8 -run 'Crash|Cut|Model|Kill|Fault|Soak|Million' ./...

echo "soak: fuzz targets, $fuzztime each"
grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r package; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$package"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "fuzz $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" -fuzzminimizetime 1x "$package" </dev/null
	done
done
