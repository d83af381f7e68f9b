package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/seal"
)

// Exists reports whether a store holds a vault.
func Exists(ctx context.Context, s blob.Store) (bool, error) {
	generations, err := formatGenerations(ctx, s)
	return len(generations) > 0, err
}

// formatGeneration returns the generation of a format object, 0 for any other name.
func formatGeneration(name blob.Name) uint64 {
	digits, later := strings.CutPrefix(string(name), "format.")
	if !later {
		if name == "format" {
			return 1
		}
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n < 2 || strconv.FormatUint(n, 10) != digits {
		return 0
	}
	return n
}

// formatGenerations lists the format objects, ascending by generation.
func formatGenerations(ctx context.Context, s blob.Store) (names []blob.Name, err error) {
	for info, err := range s.List(ctx, "format") {
		if err != nil {
			return nil, fmt.Errorf("list format: %w", err)
		}
		if formatGeneration(info.Name) > 0 {
			names = append(names, info.Name)
		}
	}
	if len(names) == 0 { // or the list does not show it yet
		if _, err := s.Stat(ctx, "format"); err == nil {
			names = append(names, "format")
		} else if !errors.Is(err, blob.ErrNotExist) {
			return nil, fmt.Errorf("look for format: %w", err)
		}
	}
	slices.SortFunc(names, func(a, b blob.Name) int { return cmp.Compare(formatGeneration(a), formatGeneration(b)) })
	return names, nil
}

// EraseOrder sorts the names of a vault's objects so that what is left of it, wherever their removal is cut, is the whole vault
// or none: the format objects come first, the newest of them before the others.
func EraseOrder(names []blob.Name) {
	slices.SortStableFunc(names, func(a, b blob.Name) int { return cmp.Compare(formatGeneration(b), formatGeneration(a)) })
}

// candidate is a format object that can be read.
type candidate struct {
	name   blob.Name
	format seal.Format
	raw    []byte
}

// readFormats reads the format objects, the newest first. Those that cannot be read are in damage; one that this program does
// not understand is an error.
func readFormats(ctx context.Context, s blob.Store) (found []candidate, damage []error, err error) {
	names, err := formatGenerations(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("no format object: %w: not a vault", ErrFormat)
	}
	for _, name := range slices.Backward(names) {
		c := candidate{name: name}
		if c.raw, err = readWhole(ctx, s, name, maxSmallObject); err == nil {
			c.format, err = seal.DecodeFormat(string(name), c.raw)
			err = objectError(name, err)
		}
		switch {
		case err == nil:
			found = append(found, c)
		case errors.Is(err, ErrDamaged):
			damage = append(damage, err)
		default:
			return nil, nil, err
		}
	}
	if len(found) == 0 {
		return nil, nil, damage[0]
	}
	return found, damage, nil
}

// readFormat reads one format object and checks its MAC.
func (v *Vault) readFormat(ctx context.Context, name blob.Name) (seal.Format, error) {
	raw, err := readWhole(ctx, v.store, name, maxSmallObject)
	if err != nil {
		return seal.Format{}, err
	}
	f, err := seal.DecodeFormat(string(name), raw)
	if err == nil {
		_, err = withKeys(ctx, v, func(k *seal.Keys) (struct{}, error) { return struct{}{}, f.Verify(k, raw) })
		err = objectError(name, err)
	}
	return f, err
}

// formatStock is what format objects a vault has.
type formatStock struct {
	newest seal.Format // of the sound ones; as the vault was opened if there is none
	last   uint32      // highest generation that has a name
	sound  int
	bad    []blob.Name
}

// formats reads all format objects and checks them.
func (v *Vault) formats(ctx context.Context) (s formatStock, err error) {
	names, err := formatGenerations(ctx, v.store)
	if err != nil {
		return s, err
	}
	s.newest = v.format
	for _, name := range slices.Backward(names) {
		s.last = max(s.last, uint32(formatGeneration(name)))
		f, err := v.readFormat(ctx, name)
		switch {
		case errors.Is(err, blob.ErrNotExist): // it went meanwhile
		case err == nil:
			if s.sound++; s.sound == 1 {
				s.newest = f
			}
		case isDamage(err):
			s.bad = append(s.bad, name)
		default:
			return s, err
		}
	}
	return s, nil
}

// putCopy writes a format again as another generation. It may be there already.
func (v *Vault) putCopy(ctx context.Context, f seal.Format, generation uint32) error {
	f.Generation, f.Epoch = generation, v.keys().Epoch()
	b, err := f.Encode(v.keys())
	if err == nil {
		err = putBytes(ctx, v.store, blob.Name(f.Name()), b)
	}
	if errors.Is(err, blob.ErrExist) {
		return nil
	}
	return err
}

// pairProbes is how many generations above and below the only one that a list shows are looked for.
const pairProbes = 2

// alone reports whether there is no format object but the generation n, which is all that a list shows.
func (v *Vault) alone(ctx context.Context, n uint64) (bool, error) {
	for g := max(1, int64(n)-pairProbes); g <= int64(n)+pairProbes; g++ {
		if g == int64(n) {
			continue
		}
		_, err := v.store.Stat(ctx, blob.Name(seal.Format{Generation: uint32(g)}.Name()))
		if !errors.Is(err, blob.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// pair writes the second format object of a vault that was opened with the only one: its creation was cut, or its removal, or a part
// of it was lost. Nothing depends on that.
func (v *Vault) pair(ctx context.Context) {
	alone, err := v.alone(ctx, uint64(v.format.Generation))
	if alone {
		err = v.putCopy(ctx, v.format, max(v.format.Generation, 1)+1)
	}
	if err != nil {
		v.log.Warn("format object has no copy", "vault", fmt.Sprintf("%x", v.format.UUID), "error", err)
	}
}

// claimFor makes sure that the vault is claimed by the ledger, claiming it when nobody has.
func (v *Vault) claimFor(ctx context.Context) error {
	identity, err := v.ledger.Identity(ctx)
	if err != nil {
		return fmt.Errorf("read identity of ledger: %w", err)
	}
	for range 3 {
		n, err := v.highestClaim(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			damage, err := v.ours(ctx, n, identity)
			if damage != nil {
				v.log.Warn("claim is damaged; it is known to be of this database", "vault", fmt.Sprintf("%x", v.format.UUID), "error", damage)
				v.opening = append(v.opening, damage)
			}
			return err
		}
		if err := v.putClaim(ctx, 1, identity); err != nil && !errors.Is(err, blob.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("claim vault: %w", ErrBusy)
}

// CheckClaim looks whose the vault is, by format, keys and claim alone, and leaves it as it is. The error wraps [ErrClaimed] when it is of
// another ledger; without an error it is of this one, or nobody has claimed it.
func CheckClaim(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o Options) error {
	v, err := openKeys(ctx, s, k, o)
	if err != nil {
		return err
	}
	v.ledger = l
	identity, err := l.Identity(ctx)
	if err != nil {
		return fmt.Errorf("read identity of ledger: %w", err)
	}
	n, err := v.highestClaim(ctx)
	if err == nil && n > 0 {
		_, err = v.ours(ctx, n, identity)
	}
	if err != nil {
		return fmt.Errorf("look at claim: %w", err)
	}
	return nil
}

// highestClaim returns the number of the newest claim, 0 when there is none. A list may not show the newest yet; it has the next
// number, by which it is found, or comes with one that has (docs/format.md section 15).
func (v *Vault) highestClaim(ctx context.Context) (uint64, error) {
	highest := v.claim.Load()
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

// stillClaimed returns [ErrClaimed] when somebody claimed the vault after it was opened. It is asked before every change of
// the store that others rely on: their own session in the ledger does not protect two ledgers from each other.
func (v *Vault) stillClaimed(ctx context.Context) error {
	n, err := v.highestClaim(ctx)
	known := v.claim.Load()
	if err != nil || n <= known {
		return err
	}
	err = ErrClaimed
	if v.ledger != nil { // which may have claimed the vault again for a repair
		identity, ierr := v.ledger.Identity(ctx)
		if ierr != nil {
			return fmt.Errorf("read identity of ledger: %w", ierr)
		}
		_, err = v.ours(ctx, n, identity)
	}
	if errors.Is(err, ErrClaimed) || unreadable(err) {
		err = fmt.Errorf("vault %x belongs to another database now, whose claim c/%d is newer than c/%d: %w", v.UUID(), n, known, ErrClaimed)
	}
	return err
}

// unreadable reports whether the bytes of an object are at fault.
func unreadable(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) }

// ours makes sure that the newest claim is of the ledger. One that is damaged, as the first result says, is if the ledger noted its
// number: no number is claimed twice (docs/format.md section 15).
func (v *Vault) ours(ctx context.Context, n uint64, identity [16]byte) (damage, err error) {
	noted, err := v.ledger.Claimed(ctx)
	if err != nil {
		return nil, fmt.Errorf("read claim of ledger: %w", err)
	}
	err = v.checkClaim(ctx, n, identity)
	if unreadable(err) && noted == n {
		damage, err = err, nil
	}
	if err == nil && noted != n {
		if err = v.ledger.NoteClaim(ctx, n); err != nil {
			err = fmt.Errorf("note claim in ledger: %w", err)
		}
	}
	if err == nil {
		v.claim.Store(n)
	}
	return damage, err
}

func claimName(n uint64) blob.Name { return blob.Name(fmt.Sprintf("c/%d", n)) }

// parseClaimName is the inverse of claimName.
func parseClaimName(name blob.Name) (n uint64, ok bool) {
	rest, ok := strings.CutPrefix(string(name), "c/")
	n, err := strconv.ParseUint(rest, 10, 63)
	return n, ok && err == nil && n > 0 && claimName(n) == name
}

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
