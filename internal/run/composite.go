package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/vault"
)

// Composites carries out the parents among backup jobs, which capture nothing: one step begins a parent, with its recovery
// point and its child jobs, and one ends it when the children have. Each is a transaction, so that what a crash interrupts
// has not happened. It is the River worker of [job.RunComposite].
type Composites struct {
	river.WorkerDefaults[job.RunComposite]
	DB        *meta.DB
	Jobs      *job.Service
	Vaults    *vault.Service
	Resources *registry.Service
	// Authority reports why a role does not allow what a job needs; nil if it does.
	Authority func(ctx context.Context, account, roleARN string, rights []caller.Access) error
	Metrics   *Metrics
	Log       *slog.Logger
}

// Work implements [river.Worker]. It may run several times at once for a job.
func (w *Composites) Work(ctx context.Context, j *river.Job[job.RunComposite]) error {
	b, err := w.Jobs.Backup(ctx, j.Args.JobID)
	if err == nil && b.State == job.Created {
		err = w.begin(ctx, b)
	} else if err == nil {
		err = w.end(ctx, b)
	}
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrBusy) {
		return nil
	}
	return err
}

// begin makes the recovery point of a job that waits, and starts the jobs of the members.
func (w *Composites) begin(ctx context.Context, b job.Backup) error {
	var (
		verdict  job.Verdict
		children int
		refusal  string
	)
	rights := iam.BackupRights(iam.Use{Account: b.Account, ResourceType: b.ResourceType, ResourceARN: b.ResourceARN, PointARN: b.PointARN})
	denied := w.Authority(ctx, b.Account, b.RoleARN, rights) // the members ask for their own
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := w.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, gone := w.Vaults.LockTx(ctx, tx, b.VaultUUID)
		if gone != nil && !errors.Is(gone, vault.ErrNotFound) {
			return gone
		}
		parent, v, err := w.Jobs.OpenTx(ctx, tx, b.ID)
		if verdict = v; err != nil || v != job.Claimed {
			return err
		}
		switch {
		case gone != nil:
			refusal = fmt.Sprintf("Backup vault %s does not exist", b.VaultName)
		case denied != nil:
			refusal = denied.Error()
		default:
			children, refusal, err = w.beginTx(ctx, tx, parent)
		}
		if err != nil || refusal == "" {
			return err
		}
		return w.Jobs.EndParentTx(ctx, tx, parent, job.Failed, refusal)
	})
	if err != nil || verdict != job.Claimed {
		return err
	}
	log := w.Log.With("job_id", b.ID)
	if refusal != "" {
		w.count(errors.New(refusal))
		log.WarnContext(ctx, "backup job did not complete", "error", refusal)
		return nil
	}
	log.InfoContext(ctx, "backup job of a group started", "resource", b.ResourceARN, "vault", b.VaultName, "children", children)
	return nil
}

// beginTx is begin for an open job, and tells why one cannot begin.
func (w *Composites) beginTx(ctx context.Context, tx *meta.Tx, b job.Backup) (children int, refusal string, err error) {
	d, ok, err := w.Resources.FindTx(ctx, tx, b.Account, b.Region, b.ResourceARN)
	if err != nil {
		return 0, "", err
	}
	if !ok {
		return 0, fmt.Sprintf("resource %s does not exist", b.ResourceARN), nil
	}
	if refusal := tooManyTags(d.Tags, b.Tags); refusal != "" {
		return 0, refusal, nil
	}
	n := newPoint(b)
	n.IsParent = true
	if _, err := w.Vaults.CreatePointTx(ctx, tx, n); err != nil {
		return 0, "", err
	}
	var members []job.Member
	for _, m := range d.Members {
		members = append(members, job.Member{Name: m.Name, ResourceARN: m.ARN})
	}
	return len(members), "", w.Jobs.AddChildrenTx(ctx, tx, b, members)
}

// tooManyTags says that a recovery point cannot have all the tags, if so.
func tooManyTags(ofResource, ofJob map[string]string) string {
	if _, err := job.MergeTags(ofResource, ofJob); err != nil {
		return err.Error()
	}
	return ""
}

// newPoint is the recovery point of a backup job when its capture starts.
func newPoint(b job.Backup) vault.NewPoint {
	return vault.NewPoint{
		VaultUUID: b.VaultUUID, ARN: b.PointARN, ResourceARN: b.ResourceARN, ResourceType: b.ResourceType,
		ResourceName: b.ResourceName, RoleARN: b.RoleARN, JobID: b.ID, InitiatedAt: b.CreatedAt,
		DeleteAfterDays: b.DeleteAfterDays, ColdAfterDays: b.ColdAfterDays, CreatedBy: b.CreatedBy,
		Composite: vault.Composite{ParentARN: b.ParentPoint, MemberID: b.Member},
	}
}

// end ends a job that runs if its children have ended.
func (w *Composites) end(ctx context.Context, b job.Backup) error {
	var (
		verdict job.Verdict
		state   job.State
		message string
	)
	err := w.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := w.Vaults.LockTx(ctx, tx, b.VaultUUID); err != nil && !errors.Is(err, vault.ErrNotFound) {
			return err
		}
		parent, children, v, err := w.Jobs.ChildrenTx(ctx, tx, b.ID)
		if verdict = v; err != nil || v != job.Claimed {
			return err
		}
		state, message = job.Outcome(parent, children)
		if state != job.Completed && state != job.Partial {
			err = w.Vaults.DropParentTx(ctx, tx, b.VaultUUID, b.PointARN)
		} else {
			message, err = w.completeTx(ctx, tx, parent, message)
		}
		if err != nil {
			return err
		}
		if err := w.Jobs.EndParentTx(ctx, tx, parent, state, message); err != nil || state != job.Completed && state != job.Partial {
			return err
		}
		return w.Jobs.CopyPlannedTx(ctx, tx, parent)
	})
	if err != nil || verdict != job.Claimed {
		return err
	}
	log := w.Log.With("job_id", b.ID)
	switch state {
	case job.Completed, job.Partial:
		w.count(nil)
		log.InfoContext(ctx, "backup job of a group ended", "state", state, "recovery_point", b.PointARN)
	case job.Aborted:
		w.count(errStopped)
		log.WarnContext(ctx, "backup job did not complete", "error", errStopped)
	default:
		w.count(errors.New(message))
		log.WarnContext(ctx, "backup job did not complete", "error", message)
	}
	return nil
}

// completeTx makes the parent's recovery point visible, and returns the message of the job. The tags are those of the group
// now; if they have become too many since the job began, only those of the job count, and the job says so.
func (w *Composites) completeTx(ctx context.Context, tx *meta.Tx, b job.Backup, missing string) (string, error) {
	ofGroup, err := w.Resources.TagsTx(ctx, tx, b.Account, b.Region, b.ResourceARN)
	if err != nil {
		return "", err
	}
	d, _, err := w.Resources.FindTx(ctx, tx, b.Account, b.Region, b.ResourceARN)
	if err != nil {
		return "", err
	}
	message := missing
	tags, tooMany := job.MergeTags(ofGroup, b.Tags)
	if tooMany != nil {
		tags, message = b.Tags, strings.TrimSpace(missing+" The tags of the group were left out: "+tooMany.Error())
	}
	return message, w.Vaults.CompleteParentTx(ctx, tx, b.VaultUUID, b.PointARN, vault.Completion{
		Tags: tags, SourceTags: ofGroup, StatusMessage: missing, Address: d.Address(),
	})
}

// count counts a parent job that ended.
func (w *Composites) count(err error) { w.Metrics.started(job.Backups)(err, false) }
