#!/usr/bin/env bash
# The main job through the aws command line. Run by story_test.go with
# AWS_ENDPOINT_URL, credentials and what a story consists of in the environment,
# and with the part to go through, "work" or "end". The test compares what is
# restored.
set -euo pipefail
aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" --output text "$@"; }
step() { echo "aws cli: $*"; }
fail() { echo "aws cli: $*" >&2; exit 1; }

# same WHAT GOT WANT
same() { [[ "$2" == "$3" ]] || fail "$1: $2, want $3"; }

# wait_for WANT COMMAND...: the command prints WANT within a minute. Leaves what it printed in $got.
wait_for() {
	local want=$1 i
	shift
	for ((i = 0; i < 60; i++)); do
		got=$("$@" 2>&1 || true)
		[[ "$got" == *"$want"* ]] && return 0
		[[ "$got" == FAILED* ]] && break
		sleep 0.2
	done
	fail "$*: want $want, got $got"
}

# back_up prints the ARN of the recovery point it makes.
back_up() {
	local job
	job=$(aws backup start-backup-job --backup-vault-name "$VAULT" --resource-arn "$RESOURCE_ARN" \
		--iam-role-arn "$role" --query BackupJobId)
	wait_for COMPLETED aws backup describe-backup-job --backup-job-id "$job" --query '[State,RecoveryPointArn]'
	cut -f2 <<<"$got"
}

# restore POINT NAME [ITEM]: moves the directory that the restore makes to NAME among what the test compares.
restore() {
	local items="" job
	[ -z "${3:-}" ] || items=",\"ItemsToRestore\":\"[\\\"$3\\\"]\""
	job=$(aws backup start-restore-job --recovery-point-arn "$1" --iam-role-arn "$role" \
		--metadata "{\"file-system-id\":\"${RESOURCE_ARN##*/}\",\"newFileSystem\":\"false\"$items}" --query RestoreJobId)
	wait_for COMPLETED aws backup describe-restore-job --restore-job-id "$job" --query Status
	mv "$DATA"/aws-backup-restore_* "$RESTORED/$2"
}

delete() {
	aws backup delete-recovery-point --backup-vault-name "$VAULT" --recovery-point-arn "$1"
	wait_for ResourceNotFoundException aws backup describe-recovery-point --backup-vault-name "$VAULT" \
		--recovery-point-arn "$1" --query Status
}

of_vault() {
	aws backup list-recovery-points-by-backup-vault --backup-vault-name "$VAULT" --query 'RecoveryPoints[].RecoveryPointArn'
}

work() {
	step "create a vault"
	aws backup create-backup-vault --backup-vault-name "$VAULT" >/dev/null
	same "recovery points" "$(aws backup describe-backup-vault --backup-vault-name "$VAULT" --query NumberOfRecoveryPoints)" 0

	step "back up, change, back up again"
	local first second
	first=$(back_up)
	sh change.sh
	second=$(back_up)

	step "list"
	local both=$second$'\t'$first
	same "of the vault" "$(of_vault)" "$both"
	same "of the resource" "$(aws backup list-recovery-points-by-resource --resource-arn "$RESOURCE_ARN" \
		--query 'RecoveryPoints[].RecoveryPointArn')" "$both"
	same "jobs" "$(aws backup list-backup-jobs --by-backup-vault-name "$VAULT" --by-state COMPLETED \
		--query 'BackupJobs[].RecoveryPointArn')" "$both"
	same "protected resources" "$(aws backup list-protected-resources --query 'Results[].ResourceArn')" "$RESOURCE_ARN"

	step "tags and lifecycle"
	aws backup tag-resource --resource-arn "$first" --tags kind=first
	same "tags" "$(aws backup list-tags --resource-arn "$first" --query 'to_string(Tags)')" '{"kind":"first"}'
	aws backup update-recovery-point-lifecycle --backup-vault-name "$VAULT" --recovery-point-arn "$second" \
		--lifecycle DeleteAfterDays=30 >/dev/null
	same "second" "$(aws backup describe-recovery-point --backup-vault-name "$VAULT" --recovery-point-arn "$second" \
		--query '[Status,ResourceArn,Lifecycle.DeleteAfterDays]')" "COMPLETED"$'\t'"$RESOURCE_ARN"$'\t'"30"

	step "restore"
	restore "$first" first
	restore "$second" second
	restore "$first" item "$ITEM"

	step "delete the first"
	delete "$first"
}

end() {
	step "restore and delete the second"
	local second
	second=$(of_vault)
	restore "$second" again
	delete "$second"
	aws backup delete-backup-vault --backup-vault-name "$VAULT"
	wait_for ResourceNotFoundException aws backup describe-backup-vault --backup-vault-name "$VAULT"
}

role="arn:aws:iam::$(cut -d: -f5 <<<"$RESOURCE_ARN"):role/service-role/AWSBackupDefaultServiceRole"
"$1"
step "done"
