package job

import (
	"strings"

	"github.com/lockfast/lockfast/internal/lockfastapi"

	"github.com/riverqueue/river"
)

// State of a job. Backup jobs and copy jobs wait as CREATED, restore jobs as PENDING.
type State string

// The states that occur.
const (
	Created   State = "CREATED"
	Pending   State = "PENDING"
	Running   State = "RUNNING"
	Aborting  State = "ABORTING"
	Aborted   State = "ABORTED"
	Completed State = "COMPLETED"
	Failed    State = "FAILED"
	Expired   State = "EXPIRED"
	Partial   State = "PARTIAL" // of a parent job: some of its children have not completed
)

// Over reports whether a job in this state has ended.
func (s State) Over() bool {
	switch s {
	case Aborted, Completed, Failed, Expired, Partial:
		return true
	}
	return false
}

// Messages of jobs that end early, as AWS words them.
const (
	stoppedMessage = "Backup job was stopped by user."
	expiredMessage = "Backup job expired before completion."
	// concurrentMessage is of a job that expired because it waited for another one.
	concurrentMessage = "Backup job failed because there was a running job for the same resource."
)

// Kind tells backup jobs, copy jobs and restore jobs apart.
type Kind = lockfastapi.JobKind

// The kinds.
const (
	Backups  = lockfastapi.JobKindBackup
	Copies   = lockfastapi.JobKindCopy
	Restores = lockfastapi.JobKindRestore
)

// Queues of the work, for the number of jobs that run at the same time.
const (
	BackupQueue  = "backup"
	CopyQueue    = "copy"
	RestoreQueue = "restore"
)

// RunBackup is the work of a backup job.
type RunBackup struct {
	JobID string `json:"job_id"`
}

// Kind names the work.
func (RunBackup) Kind() string { return "job_run_backup" }

// InsertOpts names the queue.
func (RunBackup) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: BackupQueue} }

// RunCopy is the work of a copy job.
type RunCopy struct {
	JobID string `json:"job_id"`
}

// Kind names the work.
func (RunCopy) Kind() string { return "job_run_copy" }

// InsertOpts names the queue.
func (RunCopy) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: CopyQueue} }

// RunRestore is the work of a restore job.
type RunRestore struct {
	JobID string `json:"job_id"`
}

// Kind names the work.
func (RunRestore) Kind() string { return "job_run_restore" }

// InsertOpts names the queue.
func (RunRestore) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: RestoreQueue} }

// table is the table of a kind of jobs. The columns that this package changes while a job runs are the same in all.
func table(k Kind) string {
	switch k {
	case Backups:
		return "backup_job"
	case Copies:
		return "copy_job"
	}
	return "restore_job"
}

// Categories of messages.
const (
	success       = "SUCCESS"
	miscellaneous = "MISCELLANEOUS"
)

// categories maps what messages say, in lower case, to their category. The first match counts.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/backup-dashboards.html.
func categories() [][2]string {
	return [][2]string{
		{"expired before completion", "JOB_EXPIRED"},
		{"running job for the same resource", "CONCURRENT_JOB"},
		{"access denied", "ACCESS_DENIED"},
		{"not authorized to", "ACCESS_DENIED"},
		{"cannot be assumed by aws backup", "ACCESS_DENIED"},
		{"does not have permission", "ACCESS_DENIED"},
		{"missing permission", "ACCESS_DENIED"},
		{"insufficient privileges", "ACCESS_DENIED"},
		{"no permission", "ACCESS_DENIED"},
		{"more than 50 tags specified", "LIMIT_EXCEEDED"},
		{"can have at most", "LIMIT_EXCEEDED"},
		{"is not enabled for the organization", "FEATURE_NOT_ENABLED"},
		{"unsupported resource type", "RESOURCE_NOT_SUPPORTED"},
		{"kms key", "KMS_KEY_ERROR"},
		{"does not exist", "RESOURCE_NOT_FOUND"},
		{"could not find resource", "RESOURCE_NOT_FOUND"},
		{"cannot find recovery point", "RESOURCE_NOT_FOUND"},
		{"not found", "RESOURCE_NOT_FOUND"},
		{"no longer available", "RESOURCE_NOT_FOUND"},
		{"internal error", "FATAL_ERROR"},
	}
}

// Category is the MessageCategory of a job that ended with a message.
func Category(s State, message string) string {
	if s == Completed && message == "" {
		return success
	}
	lower := strings.ToLower(message)
	for _, c := range categories() {
		if strings.Contains(lower, c[0]) {
			return c[1]
		}
	}
	return miscellaneous
}

// sameCategory is a category as filters compare it: without regard to case and underscores.
func sameCategory(category string) string {
	plain := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "_", "")) }
	for _, known := range append(categories(), [2]string{"", success}, [2]string{"", miscellaneous}) {
		if plain(known[1]) == plain(category) {
			return known[1]
		}
	}
	return category
}
