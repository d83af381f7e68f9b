#!/usr/bin/env bash
# The long loops: crashes, faults, load and fuzzing, bounded in time. Set
# FUZZTIME and FUZZJOBS as for fuzz.sh, and LOCKFAST_SOAK (default 1).
set -euo pipefail
cd "$(dirname "$0")/.."
export LOCKFAST_SOAK=${LOCKFAST_SOAK:-1}

echo "soak: crash, fault and model tests"
# One package after the other, and four tests at once: the index of a hundred million chunks takes some gigabytes while it is made.
GOGC=${GOGC:-100} GOMEMLIMIT=${GOMEMLIMIT:-12GiB} go test -count=1 -timeout 3h -p 1 -parallel 4 -run 'Crash|Cut|Model|Kill|Fault|Soak|Million' ./...

bash scripts/fuzz.sh
