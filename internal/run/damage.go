package run

import (
	"context"
	"log/slog"

	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource/directory"
)

// Most that the report of a verification names; it counts the rest.
const (
	maxReportObjects = 1000
	maxReportPoints  = 1000
)

// Damages is what a verification found, as its report names it.
type Damages struct {
	Objects     []DamagedObject `json:"objects"` // at most 1000
	MoreObjects int             `json:"more_objects,omitempty"`
	Points      []DamagedPoint  `json:"recovery_points"` // at most 1000
	MorePoints  int             `json:"more_recovery_points,omitempty"`
}

// DamagedObject is a damaged object.
type DamagedObject struct {
	Object         string `json:"object"`
	Reason         string `json:"reason"`
	RecoveryPoints int    `json:"affected_recovery_points"`
}

// DamagedPoint is a recovery point that misses something.
type DamagedPoint struct {
	RecoveryPoint string   `json:"recovery_point_arn"` // or its name in the store, of one that the database does not know
	Paths         []string `json:"paths"`              // at most 1000, and less when all together have very many
	More          int64    `json:"more_paths,omitempty"`
	Unknown       bool     `json:"unknown,omitempty"` // a part of its tree cannot be read: more may be lost
}

// InShort reports whether the message of a verification that found all this leaves some of it out.
func (d Damages) InShort() bool {
	short := len(d.Objects) > maxDamages || len(d.Points) > maxDamages
	for _, p := range d.Points {
		short = short || len(p.Paths) > maxDamagedItems
	}
	return short
}

// damagesOf words what a verification found.
func damagesOf(r repo.CheckReport, name func(repo.PointID) string) Damages {
	d := Damages{Objects: []DamagedObject{}, Points: []DamagedPoint{},
		MoreObjects: max(len(r.Damages)-maxReportObjects, 0), MorePoints: max(len(r.DamagedPoints)-maxReportPoints, 0)}
	for _, x := range r.Damages[:len(r.Damages)-d.MoreObjects] {
		d.Objects = append(d.Objects, DamagedObject{x.Object, x.Err.Error(), len(x.Points)})
	}
	for _, p := range r.DamagedPoints[:len(r.DamagedPoints)-d.MorePoints] {
		d.Points = append(d.Points, DamagedPoint{name(p.ID), displayed(p.Paths), p.More, p.Unknown})
	}
	return d
}

func displayed(keys [][]byte) []string {
	paths := []string{}
	for _, key := range keys {
		paths = append(paths, directory.Display(directory.Path(key)))
	}
	return paths
}

// mark marks recovery points of a vault as damaged. With all set, no other is.
func mark(ctx context.Context, vaults *vault.Service, vaultUUID string, points []repo.DamagedPoint, all bool) error {
	damaged := map[repo.PointID]vault.Damage{}
	for _, p := range points {
		n := min(len(p.Paths), vault.MaxDamagedPaths)
		damaged[p.ID] = vault.Damage{Paths: displayed(p.Paths[:n]), More: p.More + int64(len(p.Paths)-n), Unknown: p.Unknown}
	}
	return vaults.MarkDamaged(ctx, vaultUUID, damaged, all)
}

// pointNames returns what names the recovery points of a vault for people: their ARNs in the database, else by their manifests.
func pointNames(ctx context.Context, log *slog.Logger, vaults *vault.Service, v *repo.Vault, vaultUUID string) func(repo.PointID) string {
	arns, err := vaults.ARNs(ctx, vaultUUID)
	if err != nil {
		log.WarnContext(ctx, "recovery points cannot be named as in the database", "error", err)
	}
	return func(id repo.PointID) string {
		if arn, ok := arns[id]; ok {
			return arn
		}
		return ManifestName(ctx, v, id)
	}
}

// ManifestName returns the ARN of a recovery point, as its manifest has it, or its id in the store.
func ManifestName(ctx context.Context, v *repo.Vault, id repo.PointID) string {
	p, err := v.OpenPoint(ctx, id)
	if err != nil {
		return string(id)
	}
	defer p.Close()
	if arn := p.Facts().Metadata[pointFact]; arn != "" {
		return arn
	}
	return string(id)
}
