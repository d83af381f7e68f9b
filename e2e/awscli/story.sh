#!/usr/bin/env bash
# The main job through the aws command line. Run by the Go tests of this folder
# with AWS_ENDPOINT_URL, credentials, DATA (a directory to protect) and
# RESOURCE_ARN (its ARN) in the environment.
set -euo pipefail
aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
step() { echo "aws cli: $*"; }
fail() { echo "aws cli: $*" >&2; exit 1; }

# wait_for WANT COMMAND...: the command prints WANT within a minute.
wait_for() {
	local want=$1 got="" i
	shift
	for ((i = 0; i < 60; i++)); do
		got=$("$@" 2>&1 || true)
		[[ "$got" == *"$want"* ]] && return 0
		[[ "$got" == FAILED ]] && break
		sleep 0.2
	done
	fail "$*: want $want, got $got"
}

account=$(aws sts get-caller-identity --query Account)
role="arn:aws:iam::$account:role/service-role/AWSBackupDefaultServiceRole"
vault="cli-$$"

step "create a vault"
aws backup create-backup-vault --backup-vault-name "$vault" >/dev/null
[[ $(aws backup describe-backup-vault --backup-vault-name "$vault" --query NumberOfRecoveryPoints) == 0 ]]

step "back up"
echo one >"$DATA/cli.txt"
job=$(aws backup start-backup-job --backup-vault-name "$vault" --resource-arn "$RESOURCE_ARN" \
	--iam-role-arn "$role" --query BackupJobId)
wait_for COMPLETED aws backup describe-backup-job --backup-job-id "$job" --query State
point=$(aws backup describe-backup-job --backup-job-id "$job" --query RecoveryPointArn)

step "restore"
echo two >"$DATA/cli.txt"
restore=$(aws backup start-restore-job --recovery-point-arn "$point" --iam-role-arn "$role" \
	--metadata "file-system-id=${RESOURCE_ARN##*/},newFileSystem=false,ItemsToRestore='[\"cli.txt\"]'" \
	--query RestoreJobId 2>/dev/null ||
	aws backup start-restore-job --recovery-point-arn "$point" --iam-role-arn "$role" \
		--metadata "{\"file-system-id\":\"${RESOURCE_ARN##*/}\",\"newFileSystem\":\"false\",\"ItemsToRestore\":\"[\\\"cli.txt\\\"]\"}" \
		--query RestoreJobId)
wait_for COMPLETED aws backup describe-restore-job --restore-job-id "$restore" --query Status
[[ $(cat "$DATA"/aws-backup-restore_*/cli.txt) == one ]] || fail "the restored file differs"

step "delete"
aws backup delete-recovery-point --backup-vault-name "$vault" --recovery-point-arn "$point"
wait_for ResourceNotFoundException aws backup describe-recovery-point --backup-vault-name "$vault" \
	--recovery-point-arn "$point" --query Status
aws backup delete-backup-vault --backup-vault-name "$vault"
wait_for ResourceNotFoundException aws backup describe-backup-vault --backup-vault-name "$vault"
step "done"
