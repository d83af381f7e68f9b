package fs

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writer writes a file the usual way or, after pastCache, its beginning past the page cache (O_DIRECT), for as long as it is given large,
// aligned pieces of memory; from the first byte that cannot go so, all go the usual way. Packs are written so but for their last block.
// It spares the kernel copying them, finding memory for the copies and writing those back.
//
// It is done where the kernel says how direct writes are to be aligned, which it does from Linux 6.1 on and for file
// systems on a disk of this machine. A direct write is no more durable than another: Sync makes it so.
type writer struct {
	*os.File
	align  alignment // of direct writes; zero before the first large piece
	direct bool      // O_DIRECT is set
	plain  bool      // a byte has gone the usual way, or must
}

// alignment is what direct writes to a file ask for, in bytes, powers of two.
type alignment struct{ memory, block uint32 }

// directMin is the shortest piece for which a direct write pays. What is shorter waits too often for the disk.
const directMin = 1 << 20

// pastCache lets direct writes begin. It is called before the first byte.
func (w *writer) pastCache() { w.plain = false }

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.writeDirect(p)
	if err != nil || n == len(p) {
		return n, err
	}
	m, err := w.File.Write(p[n:])
	return n + m, err
}

// writeDirect writes what it can of p past the page cache. If that is not all of p, the rest and all that follows goes the
// usual way.
func (w *writer) writeDirect(p []byte) (n int, err error) {
	if fit := w.fit(p); fit > 0 && w.setDirect(true) == nil {
		n, err = w.File.Write(p[:fit])
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // refused after n bytes; the usual way says whether more is wrong
		}
	}
	if n < len(p) {
		w.plain = true
		if off := w.setDirect(false); err == nil {
			err = off
		}
	}
	return n, err
}

// fit returns how many bytes of p can be written past the page cache.
func (w *writer) fit(p []byte) int {
	if w.plain || len(p) < directMin {
		return 0
	}
	if w.align.block == 0 {
		w.align = alignmentOf(w.File)
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	if w.align.block == 0 || at%uintptr(w.align.memory) != 0 {
		return 0
	}
	return len(p) - len(p)%int(w.align.block)
}

func (w *writer) setDirect(on bool) error {
	if w.direct == on {
		return nil
	}
	err := control(w.File, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_DIRECT|directFlag(on))
		return err
	})
	if err != nil {
		return &os.PathError{Op: "fcntl", Path: w.Name(), Err: err}
	}
	w.direct = on
	return nil
}

func directFlag(on bool) int {
	if on {
		return unix.O_DIRECT
	}
	return 0
}

// alignmentOf asks the kernel, and returns zero if it does not say. Whole pages are asked for at least, though disks of
// small sectors would take less: the file system would have to fill up its block.
func alignmentOf(f *os.File) (a alignment) {
	var st unix.Statx_t
	err := control(f, func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	})
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
		return alignment{}
	}
	return alignment{memory: st.Dio_mem_align, block: max(st.Dio_offset_align, 4096)}
}
