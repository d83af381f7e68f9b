package job

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// RunCompositeCopy is the work of a copy job of a composite recovery point: to begin, or to end if its children have. The
// parent moves nothing; the child jobs, one for each nested recovery point, are there from the start and held until it has
// begun.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html.
type RunCompositeCopy struct {
	JobID string `json:"job_id"`
}

// Kind names the work.
func (RunCompositeCopy) Kind() string { return "job_run_composite_copy" }

// OpenCopyTx lets a parent copy job that waits begin; it is RUNNING then. The verdicts are Claimed, Busy and Taken. A caller
// that also locks the vault's row does so first. An error that wraps [ErrNotFound] says that the job does not exist.
func (s *Service) OpenCopyTx(ctx context.Context, tx *meta.Tx, id string) (Copy, Verdict, error) {
	j, err := copyTx(ctx, tx, id, tx.ForUpdate())
	switch {
	case err != nil:
		return j, 0, err
	case j.State != Created:
		return j, Taken, nil
	}
	if busy, err := mustWait(ctx, tx, j); err != nil || busy {
		return j, Busy, err
	}
	now, err := tx.Now(ctx)
	if err != nil {
		return j, 0, err
	}
	j.State, j.StartedAt, j.Attempts = Running, s.now(), 1
	err = exec1(ctx, tx, "UPDATE copy_job SET state = ?, started_at = ?, attempts = ?, lease_until = ? WHERE id = ?",
		j.State, micros(j.StartedAt), j.Attempts, micros(now.Add(restartAfter)), id)
	if err == nil {
		err = s.takeTurn(ctx, tx, j.Account, j.ResourceARN, id)
	}
	if err == nil {
		err = s.announce(ctx, tx, j)
	}
	return j, Claimed, err
}

// ReleaseCopiesTx lets the children of a parent copy job go that was opened in this transaction, and returns how many.
func (s *Service) ReleaseCopiesTx(ctx context.Context, tx *meta.Tx, parent Copy) (int, error) {
	children, err := heldCopies(ctx, tx, parent)
	if err != nil {
		return 0, err
	}
	for _, c := range children {
		err := exec1(ctx, tx, "UPDATE copy_job SET held = FALSE, lease_until = ? WHERE id = ?", micros(time.Now().Add(firstRequeue)), c.ID)
		if err != nil {
			return 0, err
		}
		if err := enqueueCopy(ctx, tx, c); err != nil {
			return 0, err
		}
	}
	return len(children), nil
}

func heldCopies(ctx context.Context, tx *meta.Tx, parent Copy) ([]Copy, error) {
	return selectCopies(ctx, tx, " WHERE parent_job = ? AND state = 'CREATED' ORDER BY created_at, id"+tx.ForUpdate(), parent.ID)
}

// RefuseCopyTx ends a parent copy job that was opened in this transaction and cannot begin, and everything below it.
func (s *Service) RefuseCopyTx(ctx context.Context, tx *meta.Tx, parent Copy, message string) error {
	children, err := heldCopies(ctx, tx, parent)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.RefuseCopyTx(ctx, tx, c, message); err != nil {
			return err
		}
	}
	if err := s.end(ctx, tx, Lease{Kind: Copies, JobID: parent.ID}, Failed, message); err != nil {
		return err
	}
	return wakeNext(ctx, tx, parent.Account, parent.ResourceARN)
}

// CopiesTx locks a parent copy job and reads its children, as [Service.ChildrenTx] does for backup jobs.
func (s *Service) CopiesTx(ctx context.Context, tx *meta.Tx, id string) (Copy, []Copy, Verdict, error) {
	parent, err := copyTx(ctx, tx, id, tx.ForUpdate())
	if err != nil {
		return parent, nil, 0, err
	}
	if parent.State != Running {
		return parent, nil, Taken, nil
	}
	children, err := selectCopies(ctx, tx, " WHERE parent_job = ? ORDER BY created_at, id", id)
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

// CopyOutcome is how a parent copy job ends whose children have ended, see [Outcome].
func CopyOutcome(children []Copy) (State, string) {
	var all []ended
	for _, c := range children {
		all = append(all, ended{c.Member, c.State, c.Message})
	}
	return outcome(all, "copied")
}

// EndParentCopyTx ends a parent copy job that [Service.CopiesTx] has locked in this transaction. What its children have
// moved is its own.
func (s *Service) EndParentCopyTx(ctx context.Context, tx *meta.Tx, parent Copy, to State, message string) error {
	p, err := sumOfChildren(ctx, tx, Copies, parent.ID)
	if err != nil {
		return err
	}
	err = exec1(ctx, tx, "UPDATE copy_job SET items = ?, bytes_read = ?, bytes_stored = ?, total_bytes = ? WHERE id = ?",
		p.Items, p.BytesRead, p.BytesStored, p.TotalBytes, parent.ID)
	if err != nil {
		return err
	}
	if err := s.end(ctx, tx, Lease{Kind: Copies, JobID: parent.ID}, to, message); err != nil {
		return err
	}
	return wakeNext(ctx, tx, parent.Account, parent.ResourceARN)
}

// describeCopies is copy jobs as clients see them.
func describeCopies(ctx context.Context, tx *meta.Tx, jobs []Copy) ([]backupapi.CopyJob, error) {
	all := make([]backupapi.CopyJob, 0, len(jobs))
	for _, j := range jobs {
		d := describeCopy(j)
		if j.IsParent {
			states, total, err := childStates(ctx, tx, Copies, j.ID)
			if err != nil {
				return nil, fmt.Errorf("describe copy job %s: %w", j.ID, err)
			}
			d.ChildJobsInState, d.NumberOfChildJobs = states, &total
		}
		all = append(all, d)
	}
	return all, nil
}
