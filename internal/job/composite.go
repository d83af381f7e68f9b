package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// Composite is what a backup job of a group, or of a member of one, has in addition. The job of a group is the parent; it
// captures nothing, but has a child job for every member, which is a backup job as any other. When the last child has
// ended the parent ends. No worker waits for that and none has a lease: the parent is looked at whenever a child ends.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html.
type Composite struct {
	IsParent    bool
	ParentID    string // of the parent; empty for a job that is nobody's child
	ParentPoint string // ARN of the recovery point of the parent
	Member      string // name of the resource in the group
}

// groupType is the resource type of groups.
const groupType = "CloudFormation"

// RunComposite is the work of a parent job: to begin, or to end if the children have.
type RunComposite struct {
	JobID string `json:"job_id"`
}

// Kind names the work.
func (RunComposite) Kind() string { return "job_run_composite" }

// enqueue enqueues the work of a backup job.
func enqueue(ctx context.Context, tx *meta.Tx, id string, parent bool) error {
	if parent {
		return tx.Enqueue(ctx, RunComposite{id}, nil)
	}
	return tx.Enqueue(ctx, RunBackup{id}, nil)
}

// OpenTx lets a parent job that waits begin; it is RUNNING then. The verdicts are Claimed, Busy, Taken and TooLate. A caller
// that also locks the vault's row does so first. An error that wraps [ErrNotFound] says that the job does not exist.
func (s *Service) OpenTx(ctx context.Context, tx *meta.Tx, id string) (Backup, Verdict, error) {
	b, err := backupTx(ctx, tx, id, tx.ForUpdate())
	switch {
	case err != nil:
		return b, 0, err
	case b.State != Created:
		return b, Taken, nil
	case !s.now().Before(b.StartBy):
		return b, TooLate, s.expireBackup(ctx, tx, b)
	case !b.NotBefore.IsZero():
		return b, Busy, nil
	}
	if busy, err := resourceBusy(ctx, tx, b.Account, b.ResourceARN); err != nil || busy {
		return b, Busy, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return b, 0, err
	}
	b.State, b.StartedAt, b.Attempts = Running, s.now(), 1
	err = exec1(ctx, tx, "UPDATE backup_job SET state = ?, started_at = ?, attempts = ?, lease_until = ? WHERE id = ?",
		b.State, micros(b.StartedAt), b.Attempts, micros(now.Add(restartAfter)), id)
	if s.DB.IsDuplicate(err) {
		err = fmt.Errorf("open backup job %s: %w", id, ErrBusy)
	}
	if err == nil {
		err = s.takeTurn(ctx, tx, b.Account, b.ResourceARN, id)
	}
	if err == nil {
		err = startWindow(ctx, tx, &b)
	}
	return b, Claimed, err
}

// Member is a resource that a parent job is to have backed up.
type Member struct {
	Name        string // in the group
	ResourceARN string
}

// AddChildrenTx inserts the child jobs of a parent job that was opened in this transaction. They have the vault, role,
// lifecycle and tags of the parent, and start windows of the same length.
func (s *Service) AddChildrenTx(ctx context.Context, tx *meta.Tx, parent Backup, members []Member) error {
	for i, m := range members {
		now := s.now().Add(time.Duration(i) * time.Microsecond) // they keep their order
		b := Backup{
			ID: uuid.NewString(), Account: parent.Account, Region: parent.Region, VaultUUID: parent.VaultUUID,
			VaultName: parent.VaultName, ResourceARN: m.ResourceARN, RoleARN: parent.RoleARN, Tags: parent.Tags,
			PointARN: newPointARN(parent.Account, parent.Region), DeleteAfterDays: parent.DeleteAfterDays,
			ColdAfterDays: parent.ColdAfterDays,
			Composite:     Composite{ParentID: parent.ID, ParentPoint: parent.PointARN, Member: m.Name},
			Planned:       Planned{CreatedBy: parent.CreatedBy},
		}
		b.ResourceType, _ = s.Resources.TypeOf(m.ResourceARN)
		b.IsParent = b.ResourceType == groupType
		r, _, err := s.Resources.LookupTx(ctx, tx, b.Account, b.Region, m.ResourceARN)
		if err != nil {
			return err
		}
		b.ResourceName = r.Name
		b.State, b.CreatedAt, b.ExpireBy = Created, now, parent.ExpireBy
		b.StartBy = now.Add(parent.StartBy.Sub(parent.CreatedAt))
		if b.StartBy.After(b.ExpireBy) {
			b.StartBy = b.ExpireBy
		}
		if err := insertBackup(ctx, tx, b); err != nil {
			return err
		}
	}
	return nil
}

// newPointARN makes the ARN of a recovery point.
func newPointARN(account, region string) string {
	return "arn:aws:backup:" + region + ":" + account + ":recovery-point:" + uuid.NewString()
}

// ChildrenTx locks a parent job and reads its child jobs. The verdict is Claimed if all of them have ended and the parent
// has not, Busy while one has not, and Taken if the parent has ended or not begun.
func (s *Service) ChildrenTx(ctx context.Context, tx *meta.Tx, id string) (Backup, []Backup, Verdict, error) {
	parent, err := backupTx(ctx, tx, id, tx.ForUpdate())
	if err != nil {
		return parent, nil, 0, err
	}
	if parent.State != Running && parent.State != Aborting {
		return parent, nil, Taken, nil
	}
	children, err := selectBackups(ctx, tx, " WHERE parent_job = ? ORDER BY created_at, id", id)
	if err != nil {
		return parent, nil, 0, err
	}
	for _, c := range children {
		if !c.State.Over() {
			return parent, children, Busy, nil
		}
	}
	return parent, children, Claimed, nil
}

// Outcome is how a parent job ends whose children have ended: COMPLETED if all of them did, FAILED if none did, and
// PARTIAL otherwise; ABORTED if it was stopped. The message names the members that are missing.
func Outcome(parent Backup, children []Backup) (State, string) {
	if parent.State == Aborting {
		return Aborted, stoppedMessage
	}
	var all []ended
	for _, c := range children {
		all = append(all, ended{c.Member, c.State, c.Message})
	}
	return outcome(all, "backed up")
}

// ended is a child job that has ended.
type ended struct {
	member  string
	state   State
	message string
}

// outcome is how a parent ends; done is what its children were to be, "copied".
func outcome(children []ended, done string) (State, string) {
	var made int
	var missing []string
	for _, c := range children {
		switch c.state {
		case Completed:
			made++
		case Partial:
			made++
			missing = append(missing, sentence("Member "+c.member+" is incomplete", c.message))
		default:
			missing = append(missing, sentence("Member "+c.member+" was not "+done, c.message))
		}
	}
	message := strings.Join(missing[:min(len(missing), maxNamed)], " ")
	if more := len(missing) - maxNamed; more > 0 {
		message += fmt.Sprintf(" %d more members are missing or incomplete.", more)
	}
	switch {
	case len(missing) == 0:
		return Completed, ""
	case made == 0:
		return Failed, message
	}
	return Partial, message
}

const (
	// maxNamed is how many members the message of a parent job names.
	maxNamed = 10
	// maxCause is how much of the message of a child goes into that of its parent, in bytes.
	maxCause = 500
)

// sentence is a statement with its cause.
func sentence(what, cause string) string {
	if len(cause) > maxCause {
		cause = strings.ToValidUTF8(cause[:maxCause], "") + " ..."
	}
	if cause == "" {
		return what + "."
	}
	return what + ": " + strings.TrimRight(cause, ".") + "."
}

// EndParentTx ends a parent job that [Service.OpenTx] or [Service.ChildrenTx] has locked in this transaction. What its
// children have moved is its own.
func (s *Service) EndParentTx(ctx context.Context, tx *meta.Tx, parent Backup, to State, message string) error {
	all := []Backup{parent}
	if err := addUp(ctx, tx, all); err != nil {
		return err
	}
	p := all[0].Progress
	err := exec1(ctx, tx, "UPDATE backup_job SET items = ?, bytes_read = ?, bytes_stored = ?, total_bytes = ? WHERE id = ?",
		p.Items, p.BytesRead, p.BytesStored, p.TotalBytes, parent.ID)
	if err != nil {
		return err
	}
	if err := s.end(ctx, tx, Lease{Kind: Backups, JobID: parent.ID}, to, message); err != nil {
		return err
	}
	return wakeNext(ctx, tx, parent.Account, parent.ResourceARN)
}

// addUp gives parent jobs that have not ended the progress of their children.
func addUp(ctx context.Context, tx *meta.Tx, jobs []Backup) error {
	for i := range jobs {
		b := &jobs[i]
		if !b.IsParent || b.State.Over() {
			continue
		}
		p, err := sumOfChildren(ctx, tx, Backups, b.ID)
		if err != nil {
			return err
		}
		b.Progress = p
	}
	return nil
}

// sumOfChildren adds up what the children of a parent job have done.
func sumOfChildren(ctx context.Context, tx *meta.Tx, k Kind, id string) (p Progress, err error) {
	err = tx.QueryRow(ctx, `SELECT CAST(COALESCE(SUM(items), 0) AS BIGINT), CAST(COALESCE(SUM(bytes_read), 0) AS BIGINT),
		CAST(COALESCE(SUM(bytes_stored), 0) AS BIGINT), CAST(COALESCE(SUM(total_bytes), 0) AS BIGINT)
		FROM `+table(k)+" WHERE parent_job = ?", id).Scan(&p.Items, &p.BytesRead, &p.BytesStored, &p.TotalBytes)
	if err != nil {
		return p, fmt.Errorf("add up the children of job %s: %w", id, err)
	}
	return p, nil
}

// childStates counts the children of a parent job by their states.
func childStates(ctx context.Context, tx *meta.Tx, k Kind, id string) (states map[string]int64, total int64, err error) {
	rows, err := tx.Query(ctx, "SELECT state, COUNT(*) FROM "+table(k)+" WHERE parent_job = ? GROUP BY state", id)
	if err != nil {
		return nil, 0, fmt.Errorf("count the children of job %s: %w", id, err)
	}
	defer rows.Close()
	states = map[string]int64{}
	for rows.Next() {
		var (
			state string
			n     int64
		)
		if err := rows.Scan(&state, &n); err != nil {
			return nil, 0, fmt.Errorf("count the children of job %s: %w", id, err)
		}
		states[state] = n
		total += n
	}
	return states, total, rows.Err()
}

// describeChildren adds what an answer says of the children of a parent job.
func describeChildren(ctx context.Context, tx *meta.Tx, b Backup, out *backupapi.DescribeBackupJobOutput) error {
	if !b.IsParent {
		return nil
	}
	states, total, err := childStates(ctx, tx, Backups, b.ID)
	out.ChildJobsInState, out.NumberOfChildJobs = states, &total
	return err
}

// wakeParent has the parent of a backup or copy job that has ended, if there is one, looked at.
func wakeParent(ctx context.Context, tx *meta.Tx, k Kind, id string) error {
	var parent string
	if err := tx.QueryRow(ctx, "SELECT parent_job FROM "+table(k)+" WHERE id = ?", id).Scan(&parent); err != nil {
		return fmt.Errorf("read parent of job %s: %w", id, err)
	}
	switch {
	case parent == "":
		return nil
	case k == Copies:
		return tx.Enqueue(ctx, RunCompositeCopy{parent}, nil)
	}
	return tx.Enqueue(ctx, RunComposite{parent}, nil)
}

// stopTx stops a job that waits, or asks the worker of a running one to, or the children of a parent. One that has ended
// is left alone.
func (s *Service) stopTx(ctx context.Context, tx *meta.Tx, b Backup) error {
	switch b.State {
	case Created:
		if err := s.end(ctx, tx, Lease{Kind: Backups, JobID: b.ID}, Aborted, stoppedMessage); err != nil {
			return err
		}
		return wakeNext(ctx, tx, b.Account, b.ResourceARN)
	case Running:
		if err := exec1(ctx, tx, "UPDATE backup_job SET state = 'ABORTING' WHERE id = ?", b.ID); err != nil || !b.IsParent {
			return err
		}
	default:
		return nil
	}
	children, err := selectBackups(ctx, tx, " WHERE parent_job = ? ORDER BY id"+tx.ForUpdate(), b.ID)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.stopTx(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// refusal is what to answer to a restore whose metadata is wrong: that the recovery point cannot be restored, if so, for
// which any metadata is wrong.
func (s *Service) refusal(ctx context.Context, point string, wrong error) error {
	c := caller.From(ctx)
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := s.Vaults.RestorableTx(ctx, tx, c.Account, c.Region, point)
		return err
	})
	if _, refused := errors.AsType[*backupapi.InvalidRequestException](err); refused {
		return err
	}
	return wrong
}
