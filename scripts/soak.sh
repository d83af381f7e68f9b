#!/usr/bin/env bash
# The long loops: crashes, faults, load and fuzzing, bounded in time. Set
# FUZZTIME and FUZZJOBS as for fuzz.sh, and LOCKFAST_SOAK (default 1).
set -euo pipefail
cd "$(dirname "$0")/.."
export LOCKFAST_SOAK=${LOCKFAST_SOAK:-1}

echo "soak: crash, fault and model tests"
# Most servers of the fault test wait most of the time; the model test does little but make garbage.
GOGC=${GOGC:-400} go test -count=1 -timeout 3h -parallel 8 -run 'Crash|Cut|Model|Kill|Fault|Soak|Million' ./...

bash scripts/fuzz.sh
