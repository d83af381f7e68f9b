package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// filler is a writer or a stream.
type filler interface {
	Add(s pack.Slot, stored []byte) (int, pack.Slot, error)
}

// fill adds chunks and a bundle until the pack is full.
func fill(t *testing.T, k *seal.Keys, w filler) {
	t.Helper()
	parts := []pack.Part{{ID: k.ID(chunk.Part, []byte("one")), Length: 3}, {ID: k.ID(chunk.Part, []byte("three")), Length: 5}}
	_, _, err := w.Add(pack.Slot{ID: pack.BundleID(k, parts), Kind: chunk.Bundle, Plain: 8, Parts: parts}, []byte("onethree"))
	for i := 0; err == nil; i++ {
		data := bytes.Repeat([]byte{byte(i)}, 100+37*i)
		_, _, err = w.Add(pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: uint32(len(data))}, data)
	}
	if !errors.Is(err, pack.ErrFull) {
		t.Fatalf("Add = %v, want ErrFull in the end", err)
	}
}

// taken is what a reader gave.
type taken struct {
	bytes []byte
	err   error
}

// take reads a stream to its end in the background.
func take(r io.Reader) <-chan taken {
	out := make(chan taken, 1)
	go func() {
		b, err := io.ReadAll(r)
		out <- taken{b, err}
	}()
	return out
}

// onlyRead hides all but Read.
type onlyRead struct{ io.Reader }

func takeBy(r io.Reader, writeTo bool) <-chan taken {
	if !writeTo {
		return take(onlyRead{r})
	}
	out := make(chan taken, 1)
	go func() {
		var b bytes.Buffer
		_, err := r.(io.WriterTo).WriteTo(&b)
		out <- taken{b.Bytes(), err}
	}()
	return out
}

func TestStream_MakesTheBytesOfAWriter(t *testing.T) {
	t.Parallel()
	k := keys(t)
	for _, parity := range []pack.Parity{pack.NoParity, pack.TrailerParity} {
		for _, size := range []int{1, 100, 4096, 100_000, 1 << 20} {
			t.Run(fmt.Sprintf("parity %d, blocks of %d", parity, size), func(t *testing.T) {
				t.Parallel()
				options := func() pack.Options {
					return pack.Options{Type: seal.TypeColdPack, Target: 256 << 10, Parity: parity, Rand: mathrand.NewChaCha8([32]byte{5})}
				}
				w, err := pack.NewWriter(k, options())
				if err != nil {
					t.Fatal(err)
				}
				s, err := pack.NewStream(k, options(), pack.NewBlocks(size, 3))
				if err != nil {
					t.Fatal(err)
				}
				for round := range 3 {
					read := takeBy(s.Reader(), round == 1)
					if round < 2 { // the last pack is empty
						fill(t, k, w)
						fill(t, k, s)
					}
					want := w.Finish()
					got, err := s.Finish()
					if err != nil {
						t.Fatal(err)
					}
					s.Close(nil)
					b := <-read
					if b.err != nil || !bytes.Equal(b.bytes, want.Bytes) {
						t.Fatalf("round %d: the pack differs from that of a writer: %d and %d bytes, %v", round, len(b.bytes), len(want.Bytes), b.err)
					}
					if got.Size != want.Size || got.ID != want.ID || got.Digest != blake3.Sum256(b.bytes) || len(got.Slots) != len(want.Slots) {
						t.Fatalf("round %d: Finish = %+v, want %+v", round, got, want)
					}
					if err := errors.Join(w.Reset(), s.Reset()); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestStream_ManyAtOnce adds from several goroutines, to several streams that share blocks, and opens what came out.
func TestStream_ManyAtOnce(t *testing.T) {
	t.Parallel()
	k := keys(t)
	blocks := pack.NewBlocks(10_000, 2)
	var streams errgroup.Group
	for n := range 3 {
		streams.Go(func() error {
			s, err := pack.NewStream(k, pack.Options{Target: 1 << 20, Parity: pack.TrailerParity}, blocks)
			if err != nil {
				return err
			}
			read := take(s.Reader())
			plains := map[int][]byte{}
			var mu sync.Mutex
			var g errgroup.Group
			for worker := range 4 {
				g.Go(func() error {
					for i := range 40 {
						data := noise(uint64(1000*n+100*worker+i), 1+i*i*3)
						no, _, err := s.Add(pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: uint32(len(data))}, bytes.Clone(data))
						if err != nil {
							return err
						}
						mu.Lock()
						plains[no] = data
						mu.Unlock()
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			p, err := s.Finish()
			if err != nil {
				return err
			}
			s.Close(nil)
			b := <-read
			if b.err != nil {
				return b.err
			}
			dec := pack.NewDecompressor(1)
			defer dec.Close()
			got, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(len(b.bytes)), from(b.bytes))
			if err != nil {
				return err
			}
			o, err := pack.NewOpener(k, got.Info)
			if err != nil {
				return err
			}
			for no, slot := range got.Slots {
				stored, err := o.Open(no, slot, bytes.Clone(b.bytes[slot.Offset:][:slot.Stored]))
				if err != nil || !bytes.Equal(stored, plains[no]) {
					return fmt.Errorf("slot %d: %d bytes, %w; want %d", no, len(stored), err, len(plains[no]))
				}
			}
			if len(got.Slots) != len(plains) {
				return fmt.Errorf("%d slots, want %d", len(got.Slots), len(plains))
			}
			return nil
		})
	}
	if err := streams.Wait(); err != nil {
		t.Error(err)
	}
}

// addNoise adds a chunk.
func addNoise(k *seal.Keys, s *pack.Stream, i, n int) error {
	data := noise(uint64(i), n)
	_, _, err := s.Add(pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: uint32(n)}, data)
	return err
}

// TestStream_WaitsForItsReader takes little memory, however long the pack.
func TestStream_WaitsForItsReader(t *testing.T) {
	t.Parallel()
	k := keys(t)
	s, err := pack.NewStream(k, pack.Options{Target: 1 << 20}, pack.NewBlocks(1000, 4))
	if err != nil {
		t.Fatal(err)
	}
	added := make(chan error)
	go func() {
		for i := range 100 {
			added <- addNoise(k, s, i, 500)
		}
		close(added)
	}()
	n := 0
	for waits := false; !waits; {
		select {
		case err := <-added:
			if err != nil {
				t.Fatal(err)
			}
			n++
		case <-time.After(200 * time.Millisecond):
			waits = true
		}
	}
	if n == 0 || n > 10 {
		t.Errorf("%d chunks of 500 bytes were taken while nobody read, want as many as go into 4 blocks of 1000", n)
	}
	read := take(s.Reader())
	for err := range added {
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	s.Close(nil)
	if b := <-read; b.err != nil || int64(len(b.bytes)) != p.Size {
		t.Errorf("read %d bytes, %v; want %d", len(b.bytes), b.err, p.Size)
	}
}

// TestStream_EndsBothSides closes a stream whose reader has failed, and one whose pack nobody wants.
func TestStream_EndsBothSides(t *testing.T) {
	t.Parallel()
	k := keys(t)
	broken := errors.New("broken")
	s, err := pack.NewStream(k, pack.Options{Target: 1 << 20}, pack.NewBlocks(1000, 2))
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			err = addNoise(k, s, i, 500)
		}
		waiting <- err
	}()
	time.Sleep(50 * time.Millisecond) // until it waits for room, mostly
	s.Close(broken)
	s.Close(errors.New("later")) // the first counts
	if err := <-waiting; !errors.Is(err, broken) {
		t.Errorf("Add = %v, want %v", err, broken)
	}
	if b := <-take(s.Reader()); !errors.Is(b.err, broken) {
		t.Errorf("Read = %v, want %v", b.err, broken)
	}
	if _, err := s.Finish(); !errors.Is(err, broken) {
		t.Errorf("Finish = %v, want %v", err, broken)
	}
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	read := take(s.Reader())
	if err := addNoise(k, s, 1, 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Add(pack.Slot{Kind: chunk.Data}, nil); !errors.Is(err, pack.ErrFull) {
		t.Errorf("Add after Finish = %v, want %v", err, pack.ErrFull)
	}
	s.Close(broken)
	if b := <-read; !errors.Is(b.err, broken) {
		t.Errorf("Read of a pack that is not wanted = %d bytes, %v; want %v", len(b.bytes), b.err, broken)
	}
}

func TestStream_Refuses(t *testing.T) {
	t.Parallel()
	k := keys(t)
	for _, o := range []pack.Options{{Target: 100}, {Target: 1 << 20, Parity: pack.FullParity}} {
		if s, err := pack.NewStream(k, o, pack.NewBlocks(1000, 2)); err == nil {
			t.Errorf("NewStream(%+v) = %v, want an error", o, s)
		}
	}
}
