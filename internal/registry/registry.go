// Package registry is the noun behind the resources that Lockfast may protect. AWS
// finds its resources by itself; here they are declared, in the configuration file
// or by the operations. A resource's ARN is derived from what it is and where, so
// that one declared anew finds its recovery points again.
//
// A group is a resource that consists of others, which are backed up together; they
// may be groups themselves.
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
	"maps"
	"path/filepath"
	"slices"
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

// Tags checks tags, and keeps those that are given by the Resource Groups Tagging API.
type Tags interface {
	// CheckTags answers an API error for tags that are not allowed.
	CheckTags(tags map[string]string) error
	// TagsTx returns the tags that a resource was given beside its declaration.
	TagsTx(ctx context.Context, tx *meta.Tx, account, arn string) (map[string]string, error)
}

// Options says what a [Service] works with.
type Options struct {
	DB     *meta.DB
	Prober Prober
	Tags   Tags
	Pager  *restjson.Pager
	Now    func() time.Time
	Region string // in which resources are declared
	// MayUse refuses paths of the host that an account may not name, whether they exist or not; nil is for none.
	MayUse func(account, path string) error
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
	Path      string   // empty for a group
	Members   []Member // of a group; nil for anything else
	Tags      map[string]string
	Origin    lockfastapi.ResourceOrigin
	CreatedAt time.Time
}

// Resource is what a driver is given.
func (d Declared) Resource() resource.Resource {
	return resource.Resource{ARN: d.ARN, Type: d.Type, Name: d.Name, Address: map[string]string{"path": d.Path}}
}

// memberKey begins the keys of the members of a group in its address.
const memberKey = "member "

// Address says where the resource is, so that [Service.RestoreTx] can declare it anew.
func (d Declared) Address() map[string]string {
	if d.Type != CloudFormation {
		return d.Resource().Address
	}
	address := map[string]string{}
	for _, m := range d.Members {
		address[memberKey+m.Name] = m.ARN
	}
	return address
}

// RestoreTx declares a resource of which only its recovery points are known, with its tags of then, unless it is declared
// already. It reports whether the address says where it is.
func (s *Service) RestoreTx(ctx context.Context, tx *meta.Tx, account, region, arn, name string, address, tags map[string]string) (bool, error) {
	d := Declared{Name: name, Path: address["path"], Tags: tags, Origin: lockfastapi.ResourceOriginApi}
	d.Type, _ = s.TypeOf(arn)
	for _, key := range slices.Sorted(maps.Keys(address)) {
		if member, ok := strings.CutPrefix(key, memberKey); ok {
			d.Members = append(d.Members, Member{Name: member, ARN: address[key]})
		}
	}
	if d.Path == "" && len(d.Members) == 0 || d.arn(account, region) != arn {
		return false, nil
	}
	if _, there, err := s.FindTx(ctx, tx, account, region, arn); err != nil || there {
		return true, err
	}
	_, _, err := s.PutTx(ctx, tx, account, region, d)
	return true, err
}

// ARN derives the ARN of a directory tree.
func ARN(account, region, path string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{account, region, EFS, path}, "\x00")))
	return "arn:aws:elasticfilesystem:" + region + ":" + account + ":file-system/fs-" + hex.EncodeToString(sum[:])[:17]
}

// TypeOf returns the resource type that an ARN is of; false for one that cannot be backed up.
func (s *Service) TypeOf(arn string) (string, bool) {
	part := strings.SplitN(arn, ":", 6)
	switch {
	case len(part) < 6:
	case part[2] == "elasticfilesystem" && strings.HasPrefix(part[5], "file-system/fs-"):
		return EFS, true
	case part[2] == "cloudformation" && strings.HasPrefix(part[5], "stack/"):
		return CloudFormation, true
	}
	return "", false
}

const columns = "arn, type, name, path, tags, origin, created_at, members"

func scan(row interface{ Scan(...any) error }) (d Declared, err error) {
	var tags, members string
	var created int64
	if err := row.Scan(&d.ARN, &d.Type, &d.Name, &d.Path, &tags, &d.Origin, &created, &members); err != nil {
		return d, err
	}
	d.CreatedAt = meta.FromMicros(created)
	if err := json.Unmarshal([]byte(tags), &d.Tags); err != nil {
		return d, fmt.Errorf("tags of %s: %w", d.ARN, err)
	}
	if members == "[]" {
		return d, nil
	}
	if err := json.Unmarshal([]byte(members), &d.Members); err != nil {
		return d, fmt.Errorf("members of %s: %w", d.ARN, err)
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

// TagsTx returns all tags of a declared resource, which its recovery points get; none if it is not declared.
func (s *Service) TagsTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (map[string]string, error) {
	d, ok, err := s.FindTx(ctx, tx, account, region, arn)
	if err != nil || !ok {
		return nil, err
	}
	return s.merge(ctx, tx, account, d)
}

// arn is the ARN of a resource that is to be declared.
func (d Declared) arn(account, region string) string {
	if d.Type == CloudFormation {
		return GroupARN(account, region, d.Name)
	}
	return ARN(account, region, d.Path)
}

// named returns the resource with a type and a name, which are EFS and the last part of the path if it has none.
func (d Declared) named() Declared {
	if d.Type == "" {
		d.Type = EFS
	}
	if d.Name == "" {
		d.Name = filepath.Base(d.Path)
	}
	return d
}

// PutTx declares a resource, or replaces name, tags, members and origin of a declared one. The type is EFS if it is empty.
func (s *Service) PutTx(ctx context.Context, tx *meta.Tx, account, region string, d Declared) (arn string, created bool, err error) {
	d = d.named()
	arn = d.arn(account, region)
	_, known, err := s.FindTx(ctx, tx, account, region, arn)
	if err != nil {
		return "", false, err
	}
	if d.Tags == nil {
		d.Tags = map[string]string{}
	}
	tags, err := json.Marshal(d.Tags)
	if err != nil {
		return "", false, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO resource (account, region, arn, type, name, path, tags, origin, present, created_at, members)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, TRUE, ?, ?) ON CONFLICT (account, region, arn) DO UPDATE SET
		name = excluded.name, tags = excluded.tags, origin = excluded.origin, present = TRUE, members = excluded.members`,
		account, region, arn, d.Type, d.Name, d.Path, string(tags), string(d.Origin), meta.Micros(s.Now()), d.membersJSON())
	if err != nil {
		return "", false, fmt.Errorf("declare %s: %w", arn, err)
	}
	return arn, !known, nil
}

// Declare makes the resources of the configuration file known, and withdraws those that went out of it. Their recovery
// points stay. Members of groups are named only; they are among the resources. The groups have been checked by
// [CheckGroups].
func (s *Service) Declare(ctx context.Context, account string, list []Declared) error {
	arns := map[string]string{}
	for i := range list {
		list[i].Path = cleanPath(list[i].Path)
		d := list[i].named()
		arns[d.Name] = d.arn(account, s.Region)
	}
	for _, d := range list {
		for i, m := range d.Members {
			if d.Members[i].ARN = arns[m.Name]; d.Members[i].ARN == "" {
				return fmt.Errorf("resource %q: no resource has the name of its member %q", d.Name, m.Name)
			}
		}
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE resource SET present = FALSE WHERE account = ? AND region = ? AND origin = ?",
			account, s.Region, string(lockfastapi.ResourceOriginFile))
		if err != nil {
			return fmt.Errorf("withdraw resources: %w", err)
		}
		for _, d := range list {
			d.Origin = lockfastapi.ResourceOriginFile
			if _, _, err := s.PutTx(ctx, tx, account, s.Region, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func cleanPath(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}
