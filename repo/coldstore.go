package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/pack"
)

// ColdStore returns a store whose cold packs are in cold and all else is in main. It may be the store of one vault, or one
// that has vaults under their UUIDs. Cold packs that are in main, where they were written before there was another place
// for them, are read and removed there.
//
// A mark in both tells that they belong together (docs/format.md section 16.4). Where it is missing, as when a disk is not
// mounted, errors wrap [blob.ErrUnavailable].
func ColdStore(main, cold blob.Store) blob.Store { return coldStore{main, cold} }

type coldStore struct{ main, cold blob.Store }

// uuidLength is that of the directory of a vault.
const uuidLength = 36

// inVault returns the name without the directory of a vault, if it has one.
func inVault(name string) string {
	if len(name) > uuidLength && name[uuidLength] == '/' {
		return name[uuidLength+1:]
	}
	return name
}

func isColdPack(name blob.Name) bool {
	rest := inVault(string(name))
	_, _, err := pack.ParseName(rest)
	return err == nil && strings.HasPrefix(rest, "a/")
}

// mayBeCold reports whether a prefix may be that of a cold pack.
func mayBeCold(prefix string) bool {
	rest := inVault(prefix)
	if rest != prefix || strings.Contains(prefix, "/") {
		return rest == "" || strings.HasPrefix(rest, "a/") || rest == "a"
	}
	return strings.Trim(prefix, "0123456789abcdef-") == "" // part of the name of a directory, of a vault perhaps
}

// coldMark is the name of the mark of a vault.
const coldMark = "cold"

// markOf returns the name of the mark of the vault that a name or prefix belongs to.
func markOf(name string) blob.Name {
	return blob.Name(name[:len(name)-len(inVault(name))] + coldMark)
}

// belongs returns an error unless the two stores belong together for a vault. With begin they do from now on, if there was
// no mark.
func (s coldStore) belongs(ctx context.Context, mark blob.Name, begin bool) error {
	here, err := readWhole(ctx, s.main, mark, maxMark)
	if errors.Is(err, blob.ErrNotExist) {
		if !begin {
			return nil
		}
		return s.mark(ctx, mark)
	}
	if err != nil {
		return err
	}
	there, err := readWhole(ctx, s.cold, mark, maxMark)
	if errors.Is(err, blob.ErrNotExist) || err == nil && !bytes.Equal(here, there) {
		return fmt.Errorf("%w: the place of cold packs does not hold the mark %s of this store; is its disk mounted?",
			blob.ErrUnavailable, mark)
	}
	return err
}

// maxMark is the greatest length of a mark.
const maxMark = 1 << 10

// mark puts a mark into the cold store, unless an attempt that was cut has left one, and then into the other.
func (s coldStore) mark(ctx context.Context, mark blob.Name) error {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	err := putBytes(ctx, s.cold, mark, []byte(hex.EncodeToString(id)))
	if err != nil && !errors.Is(err, blob.ErrExist) {
		return err
	}
	b, err := readWhole(ctx, s.cold, mark, maxMark)
	if err != nil {
		return err
	}
	if err := putBytes(ctx, s.main, mark, b); err != nil && !errors.Is(err, blob.ErrExist) {
		return err
	}
	return s.belongs(ctx, mark, false)
}

// absent is [blob.ErrNotExist] for a cold pack that is nowhere, if the cold store is the right one.
func (s coldStore) absent(ctx context.Context, name blob.Name, err error) error {
	if !errors.Is(err, blob.ErrNotExist) {
		return err
	}
	return cmp.Or(s.belongs(ctx, markOf(string(name)), false), err)
}

func (s coldStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	cold, err := s.takes(ctx, name)
	switch {
	case err != nil:
		return err
	case cold:
		return s.cold.Put(ctx, name, r, size)
	}
	return s.main.Put(ctx, name, r, size)
}

// takes reports whether a blob is to be put into the cold store, which belongs to the other one then.
func (s coldStore) takes(ctx context.Context, name blob.Name) (bool, error) {
	if !isColdPack(name) {
		return false, nil
	}
	if err := s.belongs(ctx, markOf(string(name)), true); err != nil {
		return false, fmt.Errorf("put %s: %w", name, err)
	}
	return true, nil
}

func (s coldStore) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if !isColdPack(name) {
		return s.main.Get(ctx, name, off, n)
	}
	rc, err := s.cold.Get(ctx, name, off, n)
	if errors.Is(err, blob.ErrNotExist) {
		rc, err = s.main.Get(ctx, name, off, n)
	}
	return rc, s.absent(ctx, name, err)
}

func (s coldStore) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	if !isColdPack(name) {
		return s.main.Stat(ctx, name)
	}
	info, err := s.cold.Stat(ctx, name)
	if errors.Is(err, blob.ErrNotExist) {
		info, err = s.main.Stat(ctx, name)
	}
	return info, s.absent(ctx, name, err)
}

func (s coldStore) Delete(ctx context.Context, name blob.Name) error {
	mark := markOf(string(name))
	if isColdPack(name) {
		if err := s.belongs(ctx, mark, false); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	if isColdPack(name) || name == mark {
		if err := s.cold.Delete(ctx, name); err != nil {
			return err
		}
	}
	return s.main.Delete(ctx, name)
}

// Retainer lets [blob.AsRetainer] see through, if both stores can retain.
func (s coldStore) Retainer() (blob.Retainer, bool) {
	main, ok := blob.AsRetainer(s.main)
	cold, both := blob.AsRetainer(s.cold)
	return coldRetainer{s, main, cold}, ok && both
}

type coldRetainer struct {
	coldStore
	inMain, inCold blob.Retainer
}

// Retain implements [blob.Retainer].
func (s coldRetainer) Retain(ctx context.Context, name blob.Name, until time.Time) error {
	if isColdPack(name) {
		if err := s.inCold.Retain(ctx, name, until); !errors.Is(err, blob.ErrNotExist) {
			return err
		}
	}
	return s.inMain.Retain(ctx, name, until)
}

// RetainedUntil implements [blob.Retainer].
func (s coldRetainer) RetainedUntil(ctx context.Context, name blob.Name) (time.Time, error) {
	if isColdPack(name) {
		if until, err := s.inCold.RetainedUntil(ctx, name); !errors.Is(err, blob.ErrNotExist) {
			return until, err
		}
	}
	return s.inMain.RetainedUntil(ctx, name)
}

// Streamer lets [blob.AsStreamer] see through, if both stores take streams.
func (s coldStore) Streamer() (blob.Streamer, bool) {
	main, ok := blob.AsStreamer(s.main)
	cold, both := blob.AsStreamer(s.cold)
	return coldStreamer{s, main, cold}, ok && both
}

type coldStreamer struct {
	coldStore
	toMain, toCold blob.Streamer
}

// PutStream implements [blob.Streamer].
func (s coldStreamer) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	cold, err := s.takes(ctx, name)
	switch {
	case err != nil:
		return err
	case cold:
		return s.toCold.PutStream(ctx, name, r)
	}
	return s.toMain.PutStream(ctx, name, r)
}

// Summer lets [blob.AsSummer] see through, if one of the stores keeps checksums.
func (s coldStore) Summer() (blob.Summer, bool) {
	main, ok := blob.AsSummer(s.main)
	cold, other := blob.AsSummer(s.cold)
	return coldSummer{main, cold}, ok || other
}

// coldSummer asks the store that a pack is in; nil is one that keeps no checksums.
type coldSummer struct{ main, cold blob.Summer }

// Keeps implements [blob.Summer].
func (s coldSummer) Keeps(name blob.Name) bool {
	in := s.main
	if isColdPack(name) {
		in = s.cold
	}
	return in != nil && in.Keeps(name)
}

// Sum implements [blob.Summer]. A cold pack that the cold store does not have may be in the other.
func (s coldSummer) Sum(ctx context.Context, name blob.Name) ([]byte, error) {
	if isColdPack(name) && s.cold != nil {
		sum, err := s.cold.Sum(ctx, name)
		if !errors.Is(err, blob.ErrNotExist) {
			return sum, err
		}
	}
	if s.main == nil {
		return nil, nil
	}
	sum, err := s.main.Sum(ctx, name)
	if errors.Is(err, blob.ErrNotExist) && isColdPack(name) && s.cold == nil {
		return nil, nil // it may be where nobody is asked
	}
	return sum, err
}

func (s coldStore) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if !mayBeCold(prefix) {
		return s.main.List(ctx, prefix)
	}
	return func(yield func(blob.Info, error) bool) { s.merge(ctx, prefix, yield) }
}

// merge lists both stores in one order. Of the cold one only cold packs count.
func (s coldStore) merge(ctx context.Context, prefix string, yield func(blob.Info, error) bool) {
	if err := s.belongs(ctx, markOf(prefix), false); err != nil {
		yield(blob.Info{}, fmt.Errorf("list: %w", err))
		return
	}
	next, stop := iter.Pull2(s.cold.List(ctx, prefix))
	defer stop()
	var cold blob.Info
	var err error
	more := true
	advance := func() {
		for cold, err, more = next(); more && err == nil && !isColdPack(cold.Name); {
			cold, err, more = next()
		}
	}
	advance()
	// before yields what is cold up to a name; false ends the list.
	before := func(name blob.Name, all bool) bool {
		for more && (all || err != nil || cold.Name <= name) {
			same := !all && err == nil && cold.Name == name
			if !same && (!yield(cold, err) || err != nil) {
				return false
			}
			advance()
		}
		return true
	}
	for info, err := range s.main.List(ctx, prefix) {
		if err != nil {
			yield(info, err)
			return
		}
		if !before(info.Name, false) || !yield(info, nil) {
			return
		}
	}
	before("", true)
}
