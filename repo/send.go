package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/pack"
)

// streamBlock is how many bytes of a pack are stored at once while it fills, and streamBlocks about how many such blocks wait for the store.
const (
	streamBlock  = 4 << 20
	streamBlocks = 8
)

// sends reports whether packs of a kind are stored as they fill: cold ones, which are too large for memory, and those of a reclaim, which
// fills them faster than memory can be found for them. The store has to take them so; for a cold pack a file does otherwise.
func (w *Writer) sends(kind ObjectKind, parity pack.Parity) bool {
	switch {
	case kind == ObjectCold:
		return true
	case kind == ObjectMeta || parity == pack.FullParity || !w.collects():
		return false
	}
	_, ok := w.v.streamer(packName(kind, ID{}))
	return ok
}

// streamer returns the power of the store to take a blob as it is made, and false where it has to be told the blob's checksum beforehand.
func (v *Vault) streamer(name blob.Name) (blob.Streamer, bool) {
	if v.keepsSum(name) {
		return nil, false
	}
	return blob.AsStreamer(v.store)
}

func (v *Vault) keepsSum(name blob.Name) bool {
	in, ok := blob.AsSummer(v.store)
	return ok && in.Keeps(name)
}

// sending is a pack on its way to the store while it fills. Nobody sees it before its stream is closed.
type sending struct {
	done chan struct{} // closed when what follows is known
	sum  []byte
	err  error
}

var errEmpty = errors.New("nothing is in the pack")

// send stores what is put into a stream. An error is the writer's, and so is the end of the writer the stream's.
func (p *packer) send(s *pack.Stream) *sending {
	w, name, out := p.w, packName(p.kind, ID(s.ID())), &sending{done: make(chan struct{})}
	detach := context.AfterFunc(w.ctx, func() { s.Close(w.err()) })
	p.uploads.Go(func() {
		defer close(out.done)
		defer detach()
		if out.sum, out.err = w.putStream(name, s.Reader()); out.err != nil && !errors.Is(out.err, errEmpty) {
			out.err = fmt.Errorf("store %s: %w", name, out.err)
			w.fail(out.err)
		}
	})
	return out
}

// putStream stores a pack while it is made, in a file first if the store does not take it so. It returns the checksum if the store keeps that.
func (w *Writer) putStream(name blob.Name, r io.Reader) (sum []byte, err error) {
	if to, ok := w.v.streamer(name); ok {
		return nil, to.PutStream(w.putContext(), name, r)
	}
	f, err := os.CreateTemp(w.v.opts.TempDir, "lockfast-pack-*")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // it lives on while it is open, if the system allows that
	defer func() {
		_ = f.Close() // nothing that counts is in it
		_ = os.Remove(f.Name())
	}()
	n, err := io.Copy(f, r)
	if err != nil {
		return nil, err
	}
	return w.putWhole(name, io.NewSectionReader(f, 0, n), n)
}

// putContext is the context for the Put of a pack.
func (w *Writer) putContext() context.Context {
	if w.collects() {
		return blob.PastCache(w.ctx)
	}
	return w.ctx
}

// wholeReader reads a pack, in order or not.
type wholeReader interface {
	io.ReadSeeker
	io.ReaderAt
}

// putWhole stores a pack that is all there.
func (w *Writer) putWhole(name blob.Name, r wholeReader, size int64) (sum []byte, err error) {
	if !w.v.keepsSum(name) {
		return nil, w.v.store.Put(w.putContext(), name, r, size)
	}
	h, err := blob.NewHashed(r, size)
	if err != nil {
		return nil, err
	}
	all := h.Sum()
	return all[:], w.v.store.Put(w.putContext(), name, h, size)
}

// putPack stores a finished pack, whose name is reserved, and returns its checksum if the store keeps that.
func (w *Writer) putPack(open *openPack, packed pack.Packed) (sum []byte, err error) {
	w.v.catalog.closed(open.number, len(packed.Slots), packed.Size)
	s, ok := open.filler.(*pack.Stream)
	if !ok {
		return w.putWhole(blob.Name(pack.Name(packed.Type, packed.ID)), bytes.NewReader(packed.Bytes), packed.Size)
	}
	s.Close(nil)
	<-open.put.done
	return open.put.sum, open.put.err
}
