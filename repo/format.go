package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/seal"
)

// readFormat reads the newest format object that can be read.
func readFormat(ctx context.Context, s blob.Store) (seal.Format, []byte, error) {
	f, raw, _, err := newestFormat(ctx, s)
	return f, raw, err
}

// newestFormat is readFormat; last is the highest generation that has a name.
func newestFormat(ctx context.Context, s blob.Store) (f seal.Format, raw []byte, last int, err error) {
	names := map[int]blob.Name{}
	for info, err := range s.List(ctx, "format") {
		if err != nil {
			return f, nil, 0, fmt.Errorf("list format: %w", err)
		}
		n := 1
		if rest, ok := strings.CutPrefix(string(info.Name), "format."); ok {
			if n, err = strconv.Atoi(rest); err != nil {
				continue
			}
		} else if info.Name != "format" {
			continue
		}
		names[n] = info.Name
		last = max(last, n)
	}
	if len(names) == 0 { // or the list does not show it yet
		if _, err := s.Stat(ctx, "format"); err != nil && !errors.Is(err, blob.ErrNotExist) {
			return f, nil, 0, fmt.Errorf("look for format: %w", err)
		} else if err == nil {
			names[1], last = "format", 1
		}
	}
	if len(names) == 0 {
		return f, nil, 0, fmt.Errorf("no format object: %w: not a vault", ErrFormat)
	}
	var first error
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(names))) {
		if raw, err = readWhole(ctx, s, names[n], maxSmallObject); err == nil {
			f, err = seal.DecodeFormat(string(names[n]), raw)
			err = objectError(names[n], err)
		}
		if err == nil || !errors.Is(err, ErrDamaged) {
			return f, raw, last, err
		}
		first = cmp.Or(first, err)
	}
	return f, nil, last, first
}

// claimFor makes sure that the vault is claimed by the ledger, claiming it when nobody has.
func (v *Vault) claimFor(ctx context.Context) error {
	identity, err := v.ledger.Identity(ctx)
	if err != nil {
		return fmt.Errorf("read identity of ledger: %w", err)
	}
	for range 3 {
		if v.claim, err = v.highestClaim(ctx); err != nil {
			return err
		}
		if v.claim > 0 {
			return v.checkClaim(ctx, v.claim, identity)
		}
		if err := v.putClaim(ctx, 1, identity); err != nil && !errors.Is(err, blob.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("claim vault: %w", ErrBusy)
}

// highestClaim returns the number of the newest claim, 0 when there is none. A list may not show the newest yet; it has the next
// number, by which it is found.
func (v *Vault) highestClaim(ctx context.Context) (uint64, error) {
	var highest uint64
	for info, err := range v.store.List(ctx, "c/") {
		if err != nil {
			return 0, fmt.Errorf("list claims: %w", err)
		}
		if n, err := strconv.ParseUint(string(info.Name[2:]), 10, 63); err == nil {
			highest = max(highest, n)
		}
	}
	for ; ; highest++ {
		_, err := v.store.Stat(ctx, claimName(highest+1))
		if errors.Is(err, blob.ErrNotExist) {
			return highest, nil
		}
		if err != nil {
			return 0, fmt.Errorf("look for claims: %w", err)
		}
	}
}

// stillClaimed returns [ErrClaimed] when somebody claimed the vault after it was opened.
func (v *Vault) stillClaimed(ctx context.Context) error {
	n, err := v.highestClaim(ctx)
	if err == nil && n > v.claim {
		err = fmt.Errorf("claim c/%d is newer than c/%d: %w", n, v.claim, ErrClaimed)
	}
	return err
}

func claimName(n uint64) blob.Name { return blob.Name(fmt.Sprintf("c/%d", n)) }

// checkClaim compares a claim with the identity of the ledger.
func (v *Vault) checkClaim(ctx context.Context, n uint64, identity [16]byte) error {
	name := claimName(n)
	plain, err := v.getSealed(ctx, seal.TypeClaim, name, maxSmallObject)
	if err != nil {
		return err
	}
	var owner [16]byte
	by := ""
	r := field.Reader{Data: plain}
	for r.Next() {
		switch r.Tag {
		case 3:
			owner = r.ID()
		case 5:
			by = string(r.Value)
		}
	}
	if r.Err() != nil {
		return fmt.Errorf("%s is %w: %w", name, ErrDamaged, r.Err())
	}
	if owner != identity {
		return fmt.Errorf("%s is of database %x on %s, this is %x: %w", name, owner, by, identity, ErrClaimed)
	}
	return nil
}

func (v *Vault) putClaim(ctx context.Context, n uint64, identity [16]byte) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	uuid := v.UUID()
	b := field.Append(nil, 1, uuid[:])
	b = field.AppendUint(b, 2, n)
	b = field.Append(b, 3, identity[:])
	b = field.AppendTime(b, 4, time.Now().UTC())
	b = field.Append(b, 5, host+" lockfast")
	_, err = v.putSealed(ctx, seal.TypeClaim, claimName(n), b)
	return err
}
