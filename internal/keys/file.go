package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds what is read of a key file.
const maxFile = 4096

// Open reads a key file. The error wraps [io/fs.ErrNotExist] if there is none. A
// file that others than its owner may read or write is refused.
func Open(path string) (*Root, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s: not a regular file", path)
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		return nil, fmt.Errorf("key file %s: mode %04o lets others use it; run chmod 600 on it", path, m)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	r, err := decode(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return r, nil
}

// Create draws a key and writes it to a file, mode 0600, which is complete and
// durable on return. It never replaces a file: the error wraps [io/fs.ErrExist] if
// there is one.
func Create(path string) (*Root, error) {
	r, err := generate()
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, r.encode()); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return r, nil
}

// writeNew writes a file under another name and links it, so that it appears
// whole or not at all.
func writeNew(path, text string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".root.key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
