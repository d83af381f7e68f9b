package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/repo"
)

// filling is the transaction that fills a rebuilt database.
type filling struct {
	*rebuild
	tx *meta.Tx
	// resources are those that recovery points are of, by account, region and ARN, with the newest one of each.
	resources map[[3]string]lostResource
	roles     map[string]bool // that recovery points name
}

// lostResource is a resource as its newest recovery point knows it.
type lostResource struct {
	at            time.Time
	name          string
	address, tags map[string]string
}

// vault records a vault with all that is in it.
func (f *filling) vault(ctx context.Context, v *lostVault) (err error) {
	open, err := repo.OpenReadOnly(ctx, v.store, f.p.root, repo.Options{Log: f.o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	if err := open.Resume(ctx, v.identity); err != nil {
		return err
	}
	inventory, err := open.Inventory(ctx)
	if err != nil {
		return err
	}
	f.report.Objects += len(inventory.Objects)
	for _, name := range inventory.Foreign {
		f.report.Foreign = append(f.report.Foreign, v.id+"/"+string(name))
	}
	if err := f.p.ledgers.RestoreTx(ctx, f.tx, v.id, v.identity, inventory.Objects); err != nil {
		return err
	}
	if err := f.keys(ctx, v); err != nil {
		return err
	}
	if err := f.p.nouns.vaults.RestoreVaultTx(ctx, f.tx, v.id, v.record, v.highest, v.written); err != nil {
		return err
	}
	f.report.Vaults++
	seen := map[string]found{}
	var highest uint64
	err = open.Survey(ctx, func(p repo.FoundPoint) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		highest = max(highest, p.Head.Number)
		return f.point(ctx, v, p, seen)
	})
	if err == nil {
		err = f.p.ledgers.BeginJournalTx(ctx, f.tx, v.id, highest)
	}
	if err != nil {
		return err
	}
	return f.p.nouns.vaults.RestoreEndTx(ctx, f.tx, v.id)
}

// keys records the KMS keys on which a vault hangs.
func (f *filling) keys(ctx context.Context, v *lostVault) error {
	if err := f.p.nouns.keys.RestoreDomainTx(ctx, f.tx, v.record.Account, v.domain); err != nil {
		return err
	}
	for _, k := range v.keys {
		if len(k.Links) != 1 {
			continue // the root key itself
		}
		name, material, err := keys.ParseLink(k.Links[0])
		if err == nil {
			err = f.p.nouns.keys.RestoreTx(ctx, f.tx, name, material, v.record.CustomerKey)
		}
		if err != nil {
			return err
		}
		f.report.Keys++
	}
	return nil
}

// found is a recovery point that was recorded.
type found struct {
	id repo.PointID
	at time.Time
}

// point records a recovery point. Of two with one ARN, which are of two attempts of one job, the later one was committed; the
// other is left over.
func (f *filling) point(ctx context.Context, v *lostVault, p repo.FoundPoint, seen map[string]found) error {
	if p.Moved {
		return f.p.ledgers.DiscardPointTx(ctx, f.tx, v.id, p.ID)
	}
	f.damaged(v.id, p.State.Damage...)
	if p.Damage != nil {
		f.damaged(v.id, fmt.Errorf("recovery point %s: %w", p.ID, p.Damage))
	}
	record, ok := f.recordOf(v, p)
	if !record.Parent {
		if err := f.p.ledgers.RestorePointTx(ctx, f.tx, v.id, p.ID); err != nil {
			return err
		}
	}
	if !ok {
		return nil // the ledger keeps what is left of it
	}
	now := found{p.ID, record.Completed}
	if old, twice := seen[record.ARN]; twice && !record.Parent {
		loser := old.id
		if now.at.Before(old.at) {
			loser = now.id
		}
		if err := f.p.ledgers.DiscardPointTx(ctx, f.tx, v.id, loser); err != nil || loser == now.id {
			return err
		}
		f.report.RecoveryPoints--
	}
	seen[record.ARN] = now
	written := p.State.State != nil && len(p.State.Damage) == 0
	if err := f.p.nouns.vaults.RestorePointTx(ctx, f.tx, v.id, p, record, written); err != nil {
		return err
	}
	f.meet(v, record)
	if f.report.RecoveryPoints++; f.o.Progress != nil {
		f.o.Progress(v.record.Name, f.report.RecoveryPoints)
	}
	return nil
}

// recordOf is the state of a recovery point, or what its manifest says if there is none; false if there is neither.
func (f *filling) recordOf(v *lostVault, p repo.FoundPoint) (repo.PointRecord, bool) {
	if p.State.State != nil {
		return *p.State.State, true
	}
	facts := p.Facts
	if facts.Created.IsZero() {
		return repo.PointRecord{}, false
	}
	r := repo.PointRecord{
		Status: "COMPLETED", ARN: facts.Metadata[arnFact], ResourceARN: facts.Resource, Created: facts.Created.Truncate(time.Microsecond),
		RoleARN: iam.DefaultRole(v.record.Account), Restore: run.RestoreMetadata(facts.Resource),
	}
	r.Initiated, r.Completed = r.Created, r.Created
	r.ResourceType, _ = f.p.nouns.resources.TypeOf(facts.Resource)
	if id, err := uuid.Parse(string(p.ID)); r.ARN == "" && err == nil {
		r.ARN = fmt.Sprintf("arn:aws:backup:%s:%s:recovery-point:%s", v.record.Region, v.record.Account, id)
	}
	f.assume("recovery point %s: its state is not in the store; it has the default role, no lifecycle and no tags", r.ARN)
	return r, true
}

// arnFact is the entry of a manifest's metadata that holds the ARN.
const arnFact = "recovery_point_arn"

// meet notes the resource and the role of a recovery point.
func (f *filling) meet(v *lostVault, r repo.PointRecord) {
	if f.roles == nil {
		f.roles = map[string]bool{}
	}
	f.roles[r.RoleARN] = true
	if a, err := arn.Parse(r.ResourceARN); err == nil && a.Account != "" && a.Account != v.record.Account {
		return // it was copied from another account, whose resource it is
	}
	key := [3]string{v.record.Account, v.record.Region, r.ResourceARN}
	if old, ok := f.resources[key]; !ok || old.at.Before(r.Created) {
		f.resources[key] = lostResource{at: r.Created, name: r.ResourceName, address: r.Address, tags: r.SourceTags}
	}
}

// declare declares the resources, so that they can be backed up against their recovery points, and names what has to be made
// anew by hand.
func (f *filling) declare(ctx context.Context) error {
	for _, key := range slices.SortedFunc(maps.Keys(f.resources), compareKeys) {
		l := f.resources[key]
		ok, err := f.p.nouns.resources.RestoreTx(ctx, f.tx, key[0], key[1], key[2], l.name, l.address, l.tags)
		if err != nil {
			return err
		}
		if ok {
			f.report.Resources++
			continue
		}
		f.assume("resource %s: the store does not say where it is; it is not declared", key[2])
	}
	for _, role := range slices.Sorted(maps.Keys(f.roles)) {
		if !strings.HasSuffix(role, "/AWSBackupDefaultServiceRole") && role != "" {
			f.assume("role %s: it made recovery points, and they cannot be deleted until it is made anew", role)
		}
	}
	return nil
}

func compareKeys(a, b [3]string) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
}
