package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

func packID(id ID) pack.ID { return pack.ID(id) }

// maxForeign bounds CheckReport.Foreign.
const maxForeign = 100

// foreign names objects that do not belong to the vault, and recovery points that the ledger has lost. What is listed first and asked for afterwards in the ledger is
// never something that a backup is just making. A refset without a manifest is what is left of a point that was deleted while it
// was read; reclaim sweeps it.
func (c *check) foreign(ctx context.Context) error {
	var names []blob.Name
	manifests := map[PointID]blob.Name{}
	for info, err := range c.v.store.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list vault: %w", err)
		}
		names = append(names, info.Name)
		if id, _, ok := parseManifestName(info.Name); ok {
			manifests[id] = info.Name
		}
	}
	snapshot, err := c.snapshot(ctx)
	if err != nil {
		return err
	}
	owned, err := c.owners(ctx, snapshot)
	if err != nil {
		return err
	}
	var over map[PointID]bool
	var lost []PointID
	if c.v.ledger != nil {
		if over, lost, err = c.v.unrecorded(ctx, slices.Collect(maps.Keys(manifests)), snapshot, len(manifests)); err != nil {
			return err
		}
	}
	for _, id := range lost {
		c.damaged(manifestName(id), outdatedBy(id)).Points = []PointID{id}
	}
	for _, name := range names {
		if owned(name) {
			continue
		}
		if id, ok := pointOf(name); ok && (over[id] || slices.Contains(lost, id)) {
			continue
		}
		proof := name
		if id, _, ok := parseRefsetName(name); ok {
			proof = manifests[id]
		}
		if proof == "" {
			continue
		}
		if _, err := c.v.store.Stat(ctx, proof); errors.Is(err, blob.ErrNotExist) {
			continue // its session or point is gone, and it with them
		} else if err != nil {
			return err
		}
		if c.report.ForeignCount++; len(c.report.Foreign) < maxForeign {
			c.report.Foreign = append(c.report.Foreign, string(name))
		}
	}
	return nil
}

// pointOf returns the recovery point whose manifest or refset has a name.
func pointOf(name blob.Name) (PointID, bool) {
	if id, _, ok := parseManifestName(name); ok {
		return id, true
	}
	id, _, ok := parseRefsetName(name)
	return id, ok
}

// snapshot reads the ledger, if there is one.
func (c *check) snapshot(ctx context.Context) (s Snapshot, err error) {
	if c.v.ledger == nil {
		return s, nil
	}
	if s, err = c.v.ledger.Snapshot(ctx); err != nil {
		err = fmt.Errorf("read ledger: %w", err)
	}
	return s, err
}

// owners returns what tells names that the vault knows. Without a ledger, every well-formed name is one.
func (c *check) owners(ctx context.Context, s Snapshot) (func(blob.Name) bool, error) {
	if err := c.v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	known := s.known()
	free := c.v.ledger == nil
	return func(name blob.Name) bool {
		if _, id, err := pack.ParseName(string(name)); err == nil {
			_, ok := c.v.catalog.known(id)
			return ok
		}
		if _, id, err := index.ParseSegmentName(string(name)); err == nil {
			return free || c.v.catalog.knowsSegment(ID(id))
		}
		if id, ok := pointOf(name); ok {
			return free || known[id]
		}
		return isRootName(name)
	}, nil
}

// knowsSegment reports whether the ledger has, or had, a row of a segment.
func (c *catalog) knowsSegment(id ID) bool {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	_, ok := c.segmentRow[id]
	return ok
}

// isRootName reports whether a name is of a kind that docs/format.md section 2 defines and that no row stands for.
func isRootName(name blob.Name) bool {
	if _, _, ok := parseKeyName(name); ok || formatGeneration(name) > 0 || name == coldMark {
		return true
	}
	if _, _, ok := parseStateName(name); ok || isMapName(name) {
		return true
	}
	if _, ok := parseClaimName(name); ok {
		return true
	}
	return strings.HasPrefix(string(name), "s/") || strings.HasPrefix(string(name), "j/")
}

// roots checks that what opening the vault needs is there: format, keys and claim.
func (c *check) roots(ctx context.Context) error {
	names, err := formatGenerations(ctx, c.v.store)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		c.damaged("format", chunk.Damaged("format", "it is missing"))
	}
	if err := c.keys(ctx); err != nil {
		return err
	}
	return c.claimed(ctx)
}

// claimed checks the newest claim.
func (c *check) claimed(ctx context.Context) error {
	n := c.v.claim.Load()
	if n == 0 {
		var err error
		if n, err = c.v.highestClaim(ctx); err != nil || n == 0 {
			return err
		}
	}
	_, err := c.v.getSealed(ctx, seal.TypeClaim, claimName(n), maxSmallObject)
	if errors.Is(err, blob.ErrNotExist) {
		err = chunk.Damaged(string(claimName(n)), "it is missing") // it was there when the vault was opened, or listed
	}
	return c.noted(claimName(n), err)
}
