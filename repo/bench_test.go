package repo_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// benchFile is a file of the synthetic tree.
type benchFile struct {
	key  string
	data []byte
}

// sourceTree makes n files that compress and vary in size like source code: 12 KiB in the middle, some much larger.
func sourceTree(n int) []benchFile {
	g := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields(`static int struct return if else for while void const unsigned long char include define ifdef endif
		dev ptr buf len size ret err out goto lock unlock spin mutex list head next prev node tree root page addr mask bits shift reg val
		read write init exit probe remove alloc free get put set clear test data flags state 0x01 0xff 16 32 64 NULL ENOMEM EINVAL EIO`)
	for range 2000 {
		words = append(words, fmt.Sprintf("%s_%s", words[g.IntN(60)], words[g.IntN(60)]))
	}
	out := make([]benchFile, n)
	for i := range out {
		size := int(4000 * (0.2 + 3*g.ExpFloat64()))
		b := make([]byte, 0, size+20)
		for len(b) < size {
			b = append(b, words[int(float64(len(words))*g.Float64()*g.Float64())]...)
			b = append(b, " \t\n;(),{}=&->*"[g.IntN(14)], ' ')
		}
		out[i] = benchFile{fmt.Sprintf("drivers\x00d%03d\x00file_%05d.c", i/60, i), b}
	}
	return out
}

func benchVault(b *testing.B) *repo.Vault {
	b.Helper()
	v, _ := benchVaultLedger(b)
	return v
}

func benchVaultLedger(b *testing.B) (*repo.Vault, repo.Ledger) {
	b.Helper()
	dir := b.TempDir()
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	l, err := localledger.Open(filepath.Join(dir, "ledger"), localledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	v, err := repo.Create(b.Context(), store, l, testKey, repo.CreateOptions{UUID: [16]byte{1}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { v.Close() })
	return v, l
}

// benchBackup stores the tree with two readers, as a driver would.
func benchBackup(ctx context.Context, v *repo.Vault, parent repo.PointID, tree []benchFile, changed func(i int) bool) (repo.PointID, error) {
	w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: parent})
	if err != nil {
		return "", err
	}
	defer w.Abort(ctx)
	var cursor *repo.Cursor
	if parent != "" {
		cursor = w.Parent().Cursor(ctx)
	}
	contents := make([]repo.Content, 64)
	for start := 0; start < len(tree); start += len(contents) {
		batch := tree[start:min(start+len(contents), len(tree))]
		var g errgroup.Group
		for part := range 2 {
			g.Go(func() error {
				for i := part * len(batch) / 2; i < (part+1)*len(batch)/2; i++ {
					if parent != "" && !changed(start+i) {
						continue
					}
					var err error
					if contents[i], err = store(ctx, w, batch[i].data, repo.Content{}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return "", err
		}
		for i, f := range batch {
			if cursor != nil && !cursor.Next() {
				return "", io.ErrUnexpectedEOF
			}
			if cursor != nil && !changed(start+i) {
				err = w.Tree().Keep(ctx, cursor)
			} else {
				err = w.Tree().Put(ctx, repo.Entry{Key: []byte(f.key), Meta: make([]byte, 40), Content: contents[i]})
			}
			if err != nil {
				return "", err
			}
		}
	}
	return w.Commit(ctx, repo.Facts{})
}

func total(tree []benchFile) (n int64) {
	for _, f := range tree {
		n += int64(len(f.data))
	}
	return n
}

func BenchmarkWriter_FirstBackup(b *testing.B) {
	tree := sourceTree(20_000)
	b.SetBytes(total(tree))
	for b.Loop() {
		b.StopTimer()
		v := benchVault(b)
		b.StartTimer()
		if _, err := benchBackup(b.Context(), v, "", tree, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriter_Unchanged(b *testing.B) {
	tree := sourceTree(20_000)
	v := benchVault(b)
	id, err := benchBackup(b.Context(), v, "", tree, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if id, err = benchBackup(b.Context(), v, id, tree, func(int) bool { return false }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriter_OneInTenChanged(b *testing.B) {
	tree := sourceTree(20_000)
	v := benchVault(b)
	id, err := benchBackup(b.Context(), v, "", tree, nil)
	if err != nil {
		b.Fatal(err)
	}
	round := 0
	for b.Loop() {
		round++
		tree = slices.Clone(tree)
		for i := round % 10; i < len(tree); i += 10 {
			tree[i].data = append(slices.Clone(tree[i].data), fmt.Sprint("changed in ", round)...)
		}
		if id, err = benchBackup(b.Context(), v, id, tree, func(i int) bool { return i%10 == round%10 }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoint_Fetch(b *testing.B) {
	tree := sourceTree(20_000)
	v := benchVault(b)
	id, err := benchBackup(b.Context(), v, "", tree, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(total(tree))
	for b.Loop() {
		p, err := v.OpenPoint(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		wants := func(yield func(repo.Want, error) bool) {
			for e, err := range p.Entries(b.Context(), nil) {
				if !yield(repo.Want{Content: e.Content}, err) {
					return
				}
			}
		}
		var mu sync.Mutex
		var got int64
		err = p.Fetch(b.Context(), wants, func(_ context.Context, _ repo.Want, _ int64, data []byte) error {
			mu.Lock()
			got += int64(len(data))
			mu.Unlock()
			return nil
		})
		if err != nil || got != total(tree) {
			b.Fatalf("Fetch = %d bytes, %v, want %d", got, err, total(tree))
		}
		p.Close()
	}
}

// BenchmarkWriter_Image stores half random, half zero data as one content; with a guide nothing changed.
func BenchmarkWriter_Image(b *testing.B) {
	data := make([]byte, 512<<20)
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < len(data); off += 16 << 20 {
		r.Read(data[off : off+8<<20])
	}
	for _, guided := range []bool{false, true} {
		b.Run(fmt.Sprintf("guided=%t", guided), func(b *testing.B) {
			v := benchVault(b)
			var guide repo.Content
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if !guided {
					b.StopTimer()
					v = benchVault(b)
					b.StartTimer()
				}
				w, err := v.NewWriter(b.Context(), repo.WriterOptions{})
				if err != nil {
					b.Fatal(err)
				}
				c, err := w.Stream(b.Context(), wholeSource{newSource(data)}, guide)
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Tree().Put(b.Context(), repo.Entry{Key: []byte("image"), Content: c}); err != nil {
					b.Fatal(err)
				}
				if _, err := w.Commit(b.Context(), repo.Facts{}); err != nil {
					b.Fatal(err)
				}
				if guided {
					guide = c
				}
			}
		})
	}
}

// wholeSource does not know its holes.
type wholeSource struct{ source }

func (s wholeSource) NextData(off int64) (start, end int64, err error) { return off, s.Size(), nil }

// BenchmarkReclaim_HalfDead frees every other chunk of packs that a later point still needs.
func BenchmarkReclaim_HalfDead(b *testing.B) {
	r := rand.NewChaCha8([32]byte{3})
	tree := make([]benchFile, 256)
	for i := range tree {
		tree[i] = benchFile{key: fmt.Sprintf("f%04d", i), data: make([]byte, 1<<20)}
		r.Read(tree[i].data)
	}
	b.SetBytes(total(tree))
	for b.Loop() {
		b.StopTimer()
		v, l := benchVaultLedger(b)
		first, err := benchBackup(b.Context(), v, "", tree, nil)
		if err != nil {
			b.Fatal(err)
		}
		var half []benchFile
		for i := 0; i < len(tree); i += 2 {
			half = append(half, tree[i])
		}
		if _, err := benchBackup(b.Context(), v, "", half, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := remove(b.Context(), v, l, first); err != nil {
			b.Fatal(err)
		}
		report, err := v.Reclaim(b.Context(), repo.ReclaimOptions{})
		if err != nil || report.BytesRemoved-report.BytesWritten < total(tree)/3 {
			b.Fatalf("Reclaim = %+v, %v, want half of %d bytes freed", report, err, total(tree))
		}
	}
}

// BenchmarkReclaim_HalfDeadBundles frees every other small file of bundles that a later point still needs.
func BenchmarkReclaim_HalfDeadBundles(b *testing.B) {
	tree := sourceTree(20_000)
	changed := slices.Clone(tree)
	for i := 0; i < len(tree); i += 2 {
		changed[i].data = append(slices.Clone(tree[i].data), "changed"...)
	}
	b.SetBytes(total(tree))
	for b.Loop() {
		b.StopTimer()
		v, l := benchVaultLedger(b)
		first, err := benchBackup(b.Context(), v, "", tree, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := benchBackup(b.Context(), v, "", changed, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := remove(b.Context(), v, l, first); err != nil {
			b.Fatal(err)
		}
		report, err := v.Reclaim(b.Context(), repo.ReclaimOptions{})
		if err != nil || report.BundlesSplit == 0 {
			b.Fatalf("Reclaim = %+v, %v, want bundles split", report, err)
		}
	}
}
