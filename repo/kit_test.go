package repo_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
)

// wrapper is a key wrapper with a key in memory.
type wrapper [32]byte

func (w wrapper) aead() cipher.AEAD {
	block, err := aes.NewCipher(w[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (w wrapper) Wrap(_ context.Context, key, bind []byte) ([]byte, error) {
	return w.aead().Seal(nil, nil, key, bind), nil
}

func (w wrapper) Unwrap(_ context.Context, wrapped, bind []byte) ([]byte, error) {
	key, err := w.aead().Open(nil, nil, wrapped, bind)
	if err != nil {
		return nil, fmt.Errorf("unwrap: %w", repo.ErrWrongKey)
	}
	return key, nil
}

var testKey = wrapper{1, 2, 3}

// small makes packs and chunks so small that tests with little data have many of them.
func small() repo.CreateOptions {
	return repo.CreateOptions{
		UUID: [16]byte{7}, DomainKey: [32]byte{9}, DataPack: 512 << 10, MetaPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10}, Options: repo.Options{Workers: 2},
	}
}

func create(t testing.TB, s blob.Store, l repo.Ledger, o repo.CreateOptions) *repo.Vault {
	t.Helper()
	v, err := repo.Create(t.Context(), s, l, testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// newVault returns a vault in memory with small packs.
func newVault(t testing.TB) (*repo.Vault, blob.Store, *localledger.Ledger) {
	t.Helper()
	s, l := mem.New(), localledger.New(localledger.Options{})
	return create(t, s, l, small()), s, l
}

// files is what a recovery point should hold: contents by key.
type files map[string][]byte

// source is a content in memory with holes where whole blocks are zero.
type source struct {
	*bytes.Reader
	data []byte
}

func newSource(data []byte) source { return source{bytes.NewReader(data), data} }

func (s source) Size() int64 { return int64(len(s.data)) }

func (s source) NextData(off int64) (start, end int64, err error) {
	const block = 4096
	zero := func(at int64) bool {
		b := s.data[at:min(at+block, s.Size())]
		return len(bytes.TrimLeft(b, "\x00")) == 0
	}
	start = off
	for start < s.Size() && start%block == 0 && zero(start) {
		start = min(start+block, s.Size())
	}
	end = start
	for end < s.Size() && (end == start || end%block != 0 || !zero(end)) {
		end = min(end-end%block+block, s.Size())
	}
	return start, end, nil
}

// capture stores the files against the parent as a driver would: what is equal in the parent is kept.
func capture(ctx context.Context, w *repo.Writer, have, parent files) error {
	var cursor *repo.Cursor
	more := false // the cursor is on an entry
	if w.Parent() != nil {
		cursor = w.Parent().Cursor(ctx)
		more = cursor.Next()
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		for more && string(cursor.Entry().Key) < key {
			more = cursor.Next()
		}
		var guide repo.Content
		if more && string(cursor.Entry().Key) == key {
			if old, ok := parent[key]; ok && bytes.Equal(old, have[key]) {
				if err := w.Tree().Keep(ctx, cursor); err != nil {
					return err
				}
				continue
			}
			guide = cursor.Entry().Content
		}
		c, err := store(ctx, w, have[key], guide)
		if err != nil {
			return err
		}
		if err := w.Tree().Put(ctx, repo.Entry{Key: []byte(key), Meta: []byte("meta"), Content: c}); err != nil {
			return err
		}
	}
	if cursor != nil {
		return cursor.Err()
	}
	return nil
}

func store(ctx context.Context, w *repo.Writer, data []byte, guide repo.Content) (repo.Content, error) {
	if len(data) <= chunk.MaxPart {
		return w.Small(ctx, data)
	}
	return w.Stream(ctx, newSource(data), guide)
}

// backup makes a recovery point.
func backup(ctx context.Context, v *repo.Vault, parent repo.PointID, have, before files) (repo.PointID, error) {
	w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: parent})
	if err != nil {
		return "", err
	}
	if err := capture(ctx, w, have, before); err != nil {
		return "", errors.Join(err, w.Abort(ctx))
	}
	id, err := w.Commit(ctx, repo.Facts{Created: time.Unix(1, 0).UTC(), Resource: "r", Driver: "test"})
	if err != nil {
		return "", errors.Join(err, w.Abort(ctx))
	}
	return id, nil
}

func mustBackup(t testing.TB, v *repo.Vault, parent repo.PointID, have, before files) repo.PointID {
	t.Helper()
	id, err := backup(t.Context(), v, parent, have, before)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// mustPrepare returns a writer that has made an empty recovery point durable and not committed it.
func mustPrepare(t testing.TB, v *repo.Vault) (*repo.Writer, repo.Prepared) {
	t.Helper()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Prepare(t.Context(), repo.Facts{Resource: "home"})
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

// restore reads a recovery point back by Fetch.
func restore(ctx context.Context, v *repo.Vault, id repo.PointID) (files, error) {
	p, err := v.OpenPoint(ctx, id)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return fetch(ctx, p)
}

func fetch(ctx context.Context, p *repo.Point) (files, error) {
	out := files{}
	var mu sync.Mutex
	wants := func(yield func(repo.Want, error) bool) {
		for e, err := range p.Entries(ctx, nil) {
			if err == nil {
				mu.Lock()
				out[string(e.Key)] = make([]byte, e.Content.Size)
				mu.Unlock()
			}
			if !yield(repo.Want{Content: e.Content, Tag: string(e.Key)}, err) {
				return
			}
		}
	}
	err := p.Fetch(ctx, wants, func(_ context.Context, w repo.Want, off int64, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		copy(out[w.Tag.(string)][off:], data)
		return nil
	})
	return out, err
}

// equal reports the first difference between two sets of files.
func (f files) equal(other files) error {
	if len(f) != len(other) {
		return fmt.Errorf("%d files, want %d", len(other), len(f))
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		got, ok := other[key]
		if !ok {
			return fmt.Errorf("file %q is missing", key)
		}
		if !bytes.Equal(got, f[key]) {
			return fmt.Errorf("file %q differs: %d bytes, want %d", key, len(got), len(f[key]))
		}
	}
	return nil
}

// verify restores a point and compares.
func verify(ctx context.Context, v *repo.Vault, id repo.PointID, want files) error {
	got, err := restore(ctx, v, id)
	if err == nil {
		err = want.equal(got)
	}
	if err != nil {
		return fmt.Errorf("recovery point %s: %w", id, err)
	}
	return nil
}

// sound checks the vault at the highest level.
func sound(ctx context.Context, v *repo.Vault) error {
	r, err := v.Check(ctx, repo.CheckOptions{Level: repo.CheckBytes})
	if err != nil {
		return err
	}
	for _, d := range r.Damages {
		return fmt.Errorf("check: %s: %w (%d more)", d.Object, d.Err, len(r.Damages)-1)
	}
	return nil
}

// exact demands that every part of every bundle is needed by a recovery point. No session runs.
func exact(ctx context.Context, v *repo.Vault) error {
	dead, bundles, err := repo.DeadParts(ctx, v)
	if err == nil && dead > 0 {
		err = fmt.Errorf("%d parts in %d bundles are dead", dead, bundles)
	}
	return err
}

// placed demands that every recovery point is wholly warm or, but for its tree, wholly cold.
func placed(ctx context.Context, v *repo.Vault) error {
	id, err := repo.Misplaced(ctx, v)
	if err == nil && id != "" {
		err = fmt.Errorf("refset of %s names packs that are of the other storage class", id)
	}
	return err
}

// remove deletes a recovery point completely.
func remove(ctx context.Context, v *repo.Vault, l repo.Ledger, id repo.PointID) error {
	if err := v.DeletePoint(ctx, id); err != nil {
		return err
	}
	return l.Remove(ctx, id)
}

// generator makes files and changes them.
type generator struct{ *mathrand.Rand }

func newGenerator(seed uint64) generator {
	return generator{mathrand.New(mathrand.NewPCG(seed, 1))}
}

// data returns n bytes that compress a little; a third of them are shared among all calls with equal n.
func (g generator) data(n int) []byte {
	b := make([]byte, n)
	if g.IntN(3) == 0 {
		for i := range b {
			b[i] = byte(i * n)
		}
		return b
	}
	for i := range b {
		b[i] = byte(g.Uint32()) & 0x3f
	}
	if n > 40_000 && g.IntN(2) == 0 {
		clear(b[n/4 : n/2]) // holes and zeros
	}
	return b
}

func (g generator) size() int {
	switch g.IntN(10) {
	case 0:
		return 0
	case 1, 2:
		return g.IntN(512)
	case 3:
		return chunk.MaxPart + g.IntN(200_000)
	case 4, 5, 6:
		return 513 + g.IntN(1200) // several to a bundle
	}
	return g.IntN(9000)
}

// files returns n new files.
func (g generator) files(n int) files {
	f := files{}
	for range n {
		f[fmt.Sprintf("d%d\x00f%d", g.IntN(5), g.IntN(10*n+1))] = g.data(g.size())
	}
	return f
}

// third returns a third of the files, so that of every pack about a third is in it.
func (g generator) third(f files) files {
	kept := files{}
	for key, data := range f {
		if g.IntN(3) == 0 {
			kept[key] = data
		}
	}
	return kept
}

// change returns a later version of the files.
func (g generator) change(f files) files {
	out := maps.Clone(f)
	for _, key := range slices.Sorted(maps.Keys(f)) {
		switch g.IntN(12) {
		case 0:
			delete(out, key)
		case 1:
			out[key] = g.data(g.size())
		case 2:
			if b := slices.Clone(f[key]); len(b) > 0 {
				b[g.IntN(len(b))]++
				out[key] = b
			}
		}
	}
	maps.Copy(out, g.files(1+g.IntN(4)))
	return out
}

// names lists the objects of a store by the first element of their names.
func names(t testing.TB, s blob.Store) map[string][]blob.Name {
	t.Helper()
	out := map[string][]blob.Name{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := bytes.Cut([]byte(info.Name), []byte("/"))
		out[string(first)] = append(out[string(first)], info.Name)
	}
	return out
}

// overwrite changes an object behind the vault's back.
func overwrite(t testing.TB, s blob.Store, name blob.Name, change func(b []byte) []byte) {
	t.Helper()
	rc, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	b = change(slices.Clone(b))
	if b == nil {
		return
	}
	if err := s.Put(t.Context(), name, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// withFormatCRC gives a changed format object the checksum that fits.
func withFormatCRC(b []byte) []byte {
	sum := crc32.Checksum(b[:220], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[220:], sum)
	return b
}

// fullStore has no space for packs.
type fullStore struct{ blob.Store }

func (s fullStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if strings.HasPrefix(string(name), "d/") {
		return fmt.Errorf("write: %w", blob.ErrNoSpace)
	}
	return s.Store.Put(ctx, name, r, size)
}
