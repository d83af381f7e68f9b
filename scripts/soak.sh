#!/usr/bin/env bash
# The long loops: crashes, faults, load and fuzzing, bounded in time. Set
# FUZZTIME and FUZZJOBS as for fuzz.sh, and LOCKFAST_SOAK (default 1).
set -euo pipefail
cd "$(dirname "$0")/.."
export LOCKFAST_SOAK=${LOCKFAST_SOAK:-1}

echo "soak: every test, with its long loops"
# One package after the other, and four tests at once: the index of a hundred million chunks takes some gigabytes while it is made.
GOGC=${GOGC:-100} GOMEMLIMIT=${GOMEMLIMIT:-12GiB} go test -count=1 -timeout 3h -p 1 -parallel 4 ./...

bash scripts/fuzz.sh
