#!/usr/bin/env bash
# Installs what a target needs and the machine lacks, from the distribution's
# packages, or into .cache/bin. Usage: scripts/setup.sh demo|test|bench
set -euo pipefail

packages=()
need() { # need COMMAND PACKAGE: the package provides the command
	command -v "$1" >/dev/null 2>&1 || packages+=("$2")
}

install_packages() {
	[ ${#packages[@]} -gt 0 ] || return 0
	local sudo=""
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null 2>&1 || {
			echo "setup: missing packages: ${packages[*]}; install them as root, then run this again" >&2
			exit 1
		}
		sudo="sudo"
	fi
	echo "setup: installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	$sudo apt-get update -qq
	$sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

command -v go >/dev/null 2>&1 || {
	echo "setup: Go 1.26 or later is needed: see https://go.dev/doc/install" >&2
	exit 1
}

case "${1:-}" in
demo) ;;
test)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
	python3 -c 'import boto3' >/dev/null 2>&1 || /usr/bin/python3 -c 'import boto3' >/dev/null 2>&1 ||
		packages+=(python3-boto3)
	/usr/bin/python3 -c 'import cryptography, zstandard' >/dev/null 2>&1 ||
		packages+=(python3-cryptography python3-zstandard)
	need aws awscli
	need node nodejs
	need npm npm
	;;
bench)
	need restic restic
	need borg borgbackup
	need mkfs.ext4 e2fsprogs
	need xz xz-utils
	[ -e /usr/src/linux-source-6.1.tar.xz ] || packages+=(linux-source-6.1)
	[ -e /usr/src/linux-source-6.12.tar.xz ] || packages+=(linux-source-6.12)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
	;;
*)
	echo "usage: $0 demo|test|bench" >&2
	exit 2
	;;
esac
install_packages

versitygw=1.8.0 # as in blob/s3/s3test
if [ "$1" = test ] && [ ! -x .cache/bin/versitygw-$versitygw ]; then
	echo "setup: building versitygw $versitygw, an S3 server for the tests, once; this takes some minutes"
	mkdir -p .cache/bin
	CGO_ENABLED=0 GOBIN="$PWD/.cache/bin" go install "github.com/versity/versitygw/cmd/versitygw@v$versitygw"
	mv .cache/bin/versitygw .cache/bin/versitygw-$versitygw
fi
if [ "$1" = test ] && [ ! -d e2e/js/node_modules/@aws-sdk/client-backup ]; then
	(cd e2e/js && npm ci --silent --no-audit --no-fund)
fi
