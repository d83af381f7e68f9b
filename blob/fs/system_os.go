package fs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// OS returns the directory root of the operating system as a [System]. It cannot be made to leave the directory, neither
// by links nor by "..", and keeps to it when it is renamed. The root itself may be a symbolic link.
func OS(root string) (System, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	return &system{root: r}, nil
}

type system struct {
	root *os.Root
}

// Modes of what a store makes: blobs are not for writing, and all of it is for the owner alone.
const (
	fileMode = 0o400
	dirMode  = 0o700
)

// named puts the whole path into an error of os.Root, which knows only the path below the root.
func (s *system) named(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok && !filepath.IsAbs(pe.Path) {
		return &os.PathError{Op: pe.Op, Path: filepath.Join(s.root.Name(), pe.Path), Err: pe.Err}
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return &os.PathError{Op: le.Op, Path: filepath.Join(s.root.Name(), le.New), Err: le.Err}
	}
	return err
}

func (s *system) Create(path string) (Writer, error) {
	f, err := s.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, s.named(err)
	}
	return &writer{File: f, plain: true}, nil
}

func (w *writer) Sync() error {
	if err := datasync(w.File); err != nil {
		return &os.PathError{Op: "fdatasync", Path: w.Name(), Err: err}
	}
	return nil
}

// Open looks before it opens, because opening a device or FIFO can have effects or wait, and looks again at what it opened.
func (s *system) Open(path string) (Reader, error) {
	entry, err := s.Stat(path)
	if err != nil {
		return nil, err
	}
	if entry.Kind != Regular {
		return nil, s.notRegular("open", path)
	}
	f, err := s.root.Open(path)
	if err != nil {
		return nil, s.named(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = s.notRegular("open", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return reader{f, info.Size()}, nil
}

func (s *system) notRegular(op, path string) error {
	return &os.PathError{Op: op, Path: filepath.Join(s.root.Name(), path), Err: errNotRegular}
}

var errNotRegular = errors.New("not a regular file")

type reader struct {
	*os.File
	size int64
}

func (r reader) Size() int64 { return r.size }

func (s *system) Stat(path string) (Entry, error) {
	info, err := s.root.Lstat(path)
	if err != nil {
		return Entry{}, s.named(err)
	}
	return entryOf(info), nil
}

func entryOf(info os.FileInfo) Entry {
	kind := Other
	if info.IsDir() {
		kind = Directory
	} else if info.Mode().IsRegular() {
		kind = Regular
	}
	return Entry{Name: info.Name(), Kind: kind, Size: info.Size()}
}

func (s *system) ReadDir(dir string) ([]Entry, error) {
	d, err := s.root.OpenRoot(dir)
	if err != nil {
		if entry, e := s.Stat(dir); e == nil && entry.Kind == Regular { // which os.Root words privately
			err = &os.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil, s.named(err)
	}
	defer func() { _ = d.Close() }() // only read from
	names, err := readNames(d)
	if err != nil {
		return nil, s.named(&os.PathError{Op: "readdir", Path: dir, Err: err})
	}
	entries := make([]Entry, 0, len(names))
	for _, name := range names {
		info, err := d.Lstat(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, s.named(&os.PathError{Op: "stat", Path: path.Join(dir, name), Err: err})
		}
		entries = append(entries, entryOf(info))
	}
	return entries, nil
}

func readNames(d *os.Root) ([]string, error) {
	f, err := d.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Link falls back to a rename that does not replace on file systems without hard links, such as those of memory cards.
func (s *system) Link(from, to string) error {
	err := s.root.Link(from, to)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, iofs.ErrPermission) {
		if renamed := s.renameNew(from, to); renamed == nil || errors.Is(renamed, iofs.ErrExist) {
			err = renamed
		}
	}
	return s.named(err)
}

func (s *system) renameNew(from, to string) error {
	a, err := s.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := s.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := renameNoReplace(a, path.Base(from), b, path.Base(to)); err != nil {
		return &os.PathError{Op: "rename", Path: to, Err: err}
	}
	return nil
}

func (s *system) Mkdir(path string) error { return s.named(s.root.Mkdir(path, dirMode)) }

func (s *system) Remove(path string) error { return s.named(s.root.Remove(path)) }

func (s *system) SyncDir(path string) error {
	f, err := s.root.Open(path)
	if err != nil {
		return s.named(err)
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *system) SyncAll() error {
	f, err := s.root.Open(".")
	if err != nil {
		return s.named(err)
	}
	if err := syncAll(f); err != nil {
		err = &os.PathError{Op: "syncfs", Path: s.root.Name(), Err: err}
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func (s *system) Lock(path string) (io.Closer, error) {
	f, err := s.root.Open(path)
	if err != nil {
		return nil, s.named(err)
	}
	if err := lock(f); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), errors.Join(err, f.Close()))
	}
	return f, nil
}

func (s *system) Close() error { return s.root.Close() }
