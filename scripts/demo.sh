#!/usr/bin/env bash
# The main job on real input: a real directory is backed up through the API,
# changed, backed up again, both are restored and proved identical, one recovery
# point is deleted and its space comes back. Leaves nothing running or behind.
set -euo pipefail
cd "$(dirname "$0")/.."
lockfast=$PWD/bin/lockfast
work=$(mktemp -d)
server=""
finish() {
	if [ -n "$server" ] && kill "$server" 2>/dev/null; then
		wait "$server" 2>/dev/null || true
	fi
	chmod -R u+w "$work" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

step() { printf '\n== %s\n' "$*"; }
run() {
	printf '$ lockfast %s\n' "${*//$work/DEMO}"
	"$lockfast" "$@"
}
same() { # same DIR DIR: every name, mode, owner, time, link and byte is equal
	diff <(listing "$1") <(listing "$2")
	diff -r --no-dereference "$1" "$2"
}
listing() { (cd "$1" && find . -printf '%P %y %m %U:%G %s %l %T@\n' | sed -E 's/^( d [0-7]+ [0-9:]+) [0-9]+/\1/' | awk '$2 == "d" {$5 = "-"} {print}' | LC_ALL=C sort); }
stored() { du -s --block-size=1 "$work/data/store" | cut -f1; }
megabytes() { awk -v b="$1" 'BEGIN {printf "%.1f MiB", b / 1048576}'; }

export LOCKFAST_DATA="$work/data"

step "A real directory: the Go standard library of this machine"
cp -a "$(go env GOROOT)/src" "$work/home"
printf '%s entries, %s\n' "$(find "$work/home" | wc -l)" "$(du -sh "$work/home" | cut -f1)"

step "Start the server"
"$lockfast" serve --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
server=$!
for _ in $(seq 100); do
	grep -q serving "$work/out" && break
	kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
	sleep 0.1
done
cat "$work/out"

step "First backup"
first=$(run backup "$work/home" | tee /dev/stderr | grep -o 'arn:aws:backup:[^ ]*' | tail -1)
cp -a "$work/home" "$work/version1"
one=$(stored)
echo "the store holds $(megabytes "$one")"

step "Change it: a file is edited, one added, a directory renamed, one removed"
echo "// edited by the demo" >>"$work/home/fmt/print.go"
head -c 20000000 /dev/urandom >"$work/home/new.bin"
mv "$work/home/net" "$work/home/network"
rm -r "$work/home/image"

step "Second backup: only what changed is stored"
second=$(run backup "$work/home" | tee /dev/stderr | grep -o 'arn:aws:backup:[^ ]*' | tail -1)
two=$(stored)
echo "the store grew by $(megabytes $((two - one)))"

step "Both recovery points"
run list

step "Restore both and prove them identical"
run restore "$first" --to "$work/restored1"
run restore "$second" --to "$work/restored2"
same "$work/version1" "$work/restored1"
same "$work/home" "$work/restored2"
echo "identical: names, modes, owners, times, links and bytes"

step "Delete the second recovery point, and reclaim its space"
before=$(stored)
run delete "$second"
run vault reclaim Default
after=$(stored)
echo "the store shrank by $(megabytes $((before - after)))"
[ "$after" -lt $((before - 19000000)) ] || { echo "demo: the space did not come back" >&2; exit 1; }

step "The first still restores"
run restore "$first" --to "$work/again"
same "$work/version1" "$work/again"
run vault verify Default
echo "identical"

step "Done: nothing is left running"
