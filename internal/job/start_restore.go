package job

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// StartRestoreJob starts a restore into a declared resource, or into a new one in a placement.
func (s *Service) StartRestoreJob(ctx context.Context, in *backupapi.StartRestoreJobInput) (*backupapi.StartRestoreJobOutput, error) {
	m, err := parseMetadata(in.Metadata)
	if err != nil {
		return nil, s.refusal(ctx, in.RecoveryPointArn, err)
	}
	copyTags := in.CopySourceTagsToRestoredResource != nil && *in.CopySourceTagsToRestoredResource
	if copyTags && (!m.newOne || m.items != nil) {
		return nil, backupapi.InvalidRequestExceptionf("CopySourceTagsToRestoredResource needs newFileSystem=true and a restore without ItemsToRestore")
	}
	o := order{
		request: request{"StartRestoreJob", in.IdempotencyToken, restjson.Fingerprint(backupapi.StartRestoreJob, in)},
		point:   in.RecoveryPointArn, role: in.IamRoleArn, resourceType: in.ResourceType, metadata: in.Metadata,
		target: func(ctx context.Context, tx *meta.Tx, id string) (Target, error) {
			t, err := s.target(ctx, tx, m, id)
			t.SourceTags = copyTags
			return t, err
		},
	}
	id, err := s.startRestore(ctx, o)
	if err != nil {
		return nil, err
	}
	return &backupapi.StartRestoreJobOutput{RestoreJobId: &id}, nil
}

// target finds the place that the metadata asks for.
func (s *Service) target(ctx context.Context, tx *meta.Tx, m efsMetadata, id string) (Target, error) {
	c := caller.From(ctx)
	t := Target{Items: m.items, Escaped: m.escaped && m.items != nil, Intact: m.intact}
	if !m.newOne {
		t.Resource = m.fileSystem
		if !strings.HasPrefix(t.Resource, "arn:") {
			t.Resource = "arn:aws:elasticfilesystem:" + c.Region + ":" + c.Account + ":file-system/" + m.fileSystem
		}
		_, ok, err := s.Resources.LookupTx(ctx, tx, c.Account, c.Region, t.Resource)
		if err == nil && !ok {
			err = backupapi.InvalidParameterValueExceptionf("Resource %s, named by file-system-id, does not exist", t.Resource)
		}
		return t, err
	}
	directory, ok := s.Placements.Placement(m.placement)
	switch {
	case !ok && m.placement == "":
		return t, backupapi.InvalidRequestExceptionf("newFileSystem=true needs a placement, and none is configured")
	case !ok:
		return t, backupapi.InvalidParameterValueExceptionf("There is no placement of the name %q, given by availabilityZoneName", m.placement)
	}
	t.NewDirectory, t.Name = filepath.Join(directory, "restore-"+id), m.name
	if t.Name == "" {
		t.Name = filepath.Base(t.NewDirectory)
	}
	return t, nil
}

// RestoreToDirectory starts a restore into an absent or empty directory of the server.
func (s *Service) RestoreToDirectory(ctx context.Context, in *lockfastapi.RestoreToDirectoryInput) (*lockfastapi.RestoreToDirectoryOutput, error) {
	if !filepath.IsAbs(in.Directory) || strings.ContainsRune(in.Directory, 0) {
		return nil, backupapi.InvalidParameterValueExceptionf("Directory is not an absolute path: %q", clip(in.Directory))
	}
	if s.MayUse != nil {
		if err := s.MayUse(caller.From(ctx).Account, in.Directory); err != nil {
			return nil, err
		}
	}
	escaped := in.Escaped != nil && *in.Escaped
	items, ok := cleanItems(in.Items, escaped)
	if !ok {
		return nil, backupapi.InvalidParameterValueExceptionf("Items holds a path that is empty, leads out of the resource or is malformed")
	}
	t := Target{Into: filepath.Clean(in.Directory), Items: items, Escaped: escaped, Intact: in.Intact != nil && *in.Intact}
	if len(items) == 0 {
		t.Items, t.Escaped = nil, false
	}
	id, err := s.startRestore(ctx, order{
		request: request{"RestoreToDirectory", in.IdempotencyToken, restjson.Fingerprint(lockfastapi.RestoreToDirectory, in)},
		point:   in.RecoveryPointArn, role: in.IamRoleArn,
		target: func(context.Context, *meta.Tx, string) (Target, error) { return t, nil },
	})
	if err != nil {
		return nil, err
	}
	return &lockfastapi.RestoreToDirectoryOutput{RestoreJobId: id}, nil
}

// order is what a restore job is made from.
type order struct {
	request
	point        string
	role         *string // nil = the one that made the recovery point
	resourceType *string
	metadata     map[string]string
	target       func(ctx context.Context, tx *meta.Tx, id string) (Target, error)
}

// startRestore inserts a restore job, unless an earlier request with the same token did, and returns its id.
func (s *Service) startRestore(ctx context.Context, o order) (string, error) {
	id, err := s.replay(ctx, o.request)
	if err != nil || id != "" {
		return id, err
	}
	if o.role != nil {
		if err := s.checkRole(ctx, caller.From(ctx).Account, *o.role); err != nil {
			return "", err
		}
	}
	made := uuid.NewString()
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if id, err = o.reserve(ctx, tx, made); err != nil || id != made {
			return err
		}
		r, err := s.newRestore(ctx, tx, o, made)
		if err != nil {
			return err
		}
		if err := insertRestore(ctx, tx, r); err != nil {
			return err
		}
		return s.tell(ctx, tx, Restores, r.ID)
	})
	return id, err
}

// newRestore reads what the job is about. The vault's row is locked from here on, so the recovery point cannot be
// deleted before the job's row says that it is in use.
func (s *Service) newRestore(ctx context.Context, tx *meta.Tx, o order, id string) (Restore, error) {
	c := caller.From(ctx)
	p, err := s.Vaults.RestorableTx(ctx, tx, c.Account, c.Region, o.point)
	if err != nil {
		return Restore{}, err
	}
	if o.resourceType != nil && *o.resourceType != *p.ResourceType {
		return Restore{}, backupapi.InvalidParameterValueExceptionf("ResourceType is %s, but recovery point %s is of type %s",
			*o.resourceType, o.point, *p.ResourceType)
	}
	r := Restore{
		ID: id, Account: c.Account, Region: c.Region, VaultName: *p.BackupVaultName, PointARN: *p.RecoveryPointArn,
		PointCreatedAt: *p.CreationDate, SourceARN: *p.ResourceArn, ResourceType: *p.ResourceType, RoleARN: *p.IamRoleArn,
		SizeBytes: *p.BackupSizeInBytes, Metadata: maps.Clone(o.metadata),
	}
	if o.role != nil {
		r.RoleARN = *o.role
	}
	if r.Metadata == nil {
		r.Metadata = map[string]string{}
	}
	if r.VaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, c.Account, c.Region, r.VaultName); err != nil {
		return Restore{}, err
	}
	r.State, r.CreatedAt = Pending, s.now()
	r.Target, err = o.target(ctx, tx, id)
	if r.Target.Items == nil {
		r.TotalBytes = r.SizeBytes
	}
	return r, err
}

func insertRestore(ctx context.Context, tx *meta.Tx, r Restore) error {
	_, err := tx.Exec(ctx, "INSERT INTO restore_job ("+restoreColumns+`, lease, lease_until)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', '', '', ?, '', '', ?, 0, 0, 0, 0, 0, 0, ?, 0, 0, '', ?)`,
		r.ID, r.Account, r.Region, r.VaultUUID, r.VaultName, r.PointARN, micros(r.PointCreatedAt), r.SourceARN, r.ResourceType, r.RoleARN,
		r.SizeBytes, encode(r.Metadata), encode(r.Target), r.State, micros(r.CreatedAt), r.TotalBytes,
		micros(time.Now().Add(firstRequeue)))
	if err != nil {
		return fmt.Errorf("insert restore job: %w", err)
	}
	return tx.Enqueue(ctx, RunRestore{r.ID}, nil)
}
