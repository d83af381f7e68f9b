// Package registry is the noun behind the resources that Lockfast may protect. AWS
// finds its resources by itself; here they are declared, in the configuration file
// or by the operations. A resource's ARN is derived from what it is and where, so
// that one declared anew finds its recovery points again.
package registry

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/resource"
)

// EFS is the resource type of directory trees.
const EFS = "EFS"

// Prober finds out whether a resource is there.
type Prober interface {
	Probe(ctx context.Context, r resource.Resource) (resource.Facts, error)
}

// Tags checks tags.
type Tags interface {
	// CheckTags answers an API error for tags that are not allowed.
	CheckTags(tags map[string]string) error
}

// Options says what a [Service] works with.
type Options struct {
	DB     *meta.DB
	Prober Prober
	Tags   Tags
	Pager  *restjson.Pager
	Now    func() time.Time
	Region string // in which resources are declared
}

// Service is the noun. Its methods may be called concurrently.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service { return &Service{o} }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "registry", Files: migrations}
}

// Declared is a resource as it is recorded.
type Declared struct {
	ARN       string
	Type      string
	Name      string
	Path      string
	Tags      map[string]string
	Origin    lockfastapi.ResourceOrigin
	CreatedAt time.Time
}

// Resource is what a driver is given.
func (d Declared) Resource() resource.Resource {
	return resource.Resource{ARN: d.ARN, Type: d.Type, Name: d.Name, Address: map[string]string{"path": d.Path}}
}

// ARN derives the ARN of a directory tree.
func ARN(account, region, path string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{account, region, EFS, path}, "\x00")))
	return "arn:aws:elasticfilesystem:" + region + ":" + account + ":file-system/fs-" + hex.EncodeToString(sum[:])[:17]
}

// TypeOf returns the resource type that an ARN is of; false for one that cannot be backed up.
func (s *Service) TypeOf(arn string) (string, bool) {
	part := strings.SplitN(arn, ":", 6)
	return EFS, len(part) == 6 && part[2] == "elasticfilesystem" && strings.HasPrefix(part[5], "file-system/fs-")
}

const columns = "arn, type, name, path, tags, origin, created_at"

func scan(row interface{ Scan(...any) error }) (d Declared, err error) {
	var tags string
	var created int64
	if err := row.Scan(&d.ARN, &d.Type, &d.Name, &d.Path, &tags, &d.Origin, &created); err != nil {
		return d, err
	}
	d.CreatedAt = meta.FromMicros(created)
	if err := json.Unmarshal([]byte(tags), &d.Tags); err != nil {
		return d, fmt.Errorf("tags of %s: %w", d.ARN, err)
	}
	return d, nil
}

// FindTx finds a declared resource; false if there is none.
func (s *Service) FindTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (Declared, bool, error) {
	d, err := scan(tx.QueryRow(ctx, "SELECT "+columns+` FROM resource
		WHERE account = ? AND region = ? AND arn = ? AND present = TRUE`, account, region, arn))
	if errors.Is(err, sql.ErrNoRows) {
		return Declared{}, false, nil
	}
	return d, err == nil, err
}

// LookupTx finds what a driver is given for a declared resource; false if there is none.
func (s *Service) LookupTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (resource.Resource, bool, error) {
	d, ok, err := s.FindTx(ctx, tx, account, region, arn)
	return d.Resource(), ok, err
}

// TagsTx returns the tags of a declared resource, which its recovery points get.
func (s *Service) TagsTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (map[string]string, error) {
	d, _, err := s.FindTx(ctx, tx, account, region, arn)
	return d.Tags, err
}

// PutTx declares a directory tree, or replaces name, tags and origin of a declared one.
func (s *Service) PutTx(ctx context.Context, tx *meta.Tx, account, region string, d Declared) (arn string, created bool, err error) {
	arn = ARN(account, region, d.Path)
	_, known, err := s.FindTx(ctx, tx, account, region, arn)
	if err != nil {
		return "", false, err
	}
	if d.Name == "" {
		d.Name = filepath.Base(d.Path)
	}
	if d.Tags == nil {
		d.Tags = map[string]string{}
	}
	tags, err := json.Marshal(d.Tags)
	if err != nil {
		return "", false, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO resource (account, region, arn, type, name, path, tags, origin, present, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, TRUE, ?) ON CONFLICT (account, region, arn) DO UPDATE SET
		name = excluded.name, tags = excluded.tags, origin = excluded.origin, present = TRUE`,
		account, region, arn, EFS, d.Name, d.Path, string(tags), string(d.Origin), meta.Micros(s.Now()))
	if err != nil {
		return "", false, fmt.Errorf("declare %s: %w", d.Path, err)
	}
	return arn, !known, nil
}

// Declare makes the resources of the configuration file known, and withdraws those that went out of it. Their recovery
// points stay.
func (s *Service) Declare(ctx context.Context, account string, list []Declared) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE resource SET present = FALSE WHERE account = ? AND region = ? AND origin = ?",
			account, s.Region, string(lockfastapi.ResourceOriginFile))
		if err != nil {
			return fmt.Errorf("withdraw resources: %w", err)
		}
		for _, d := range list {
			d.Origin, d.Path = lockfastapi.ResourceOriginFile, filepath.Clean(d.Path)
			if _, _, err := s.PutTx(ctx, tx, account, s.Region, d); err != nil {
				return err
			}
		}
		return nil
	})
}
