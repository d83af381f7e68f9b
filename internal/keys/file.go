package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds what is read of a key file, or of a recovery kit.
const maxFile = 16 << 10

// Sealer guards root keys elsewhere: it seals the text of a key file, bound to the key's id, and opens it again.
type Sealer interface {
	// Seal returns what is written to the key file.
	Seal(ctx context.Context, id string, text []byte) (string, error)
	// Unseal is the inverse of Seal.
	Unseal(ctx context.Context, id, sealed string) ([]byte, error)
}

// File says where the root key is and who guards it.
type File struct {
	Path   string
	Sealer Sealer // opens sealed files; nil if there is none
	Seal   bool   // new keys are sealed
}

// Open reads a key file, or a recovery kit, in which nothing is sealed. The error wraps [io/fs.ErrNotExist] if there is
// none. A file that others than its owner may read or write is refused.
func Open(path string) (*Root, error) {
	return File{Path: path}.read(context.Background(), path)
}

// Open reads the key file, with the key that it is about to replace.
func (f File) Open(ctx context.Context) (*Root, error) {
	r, err := f.read(ctx, f.Path)
	if err != nil {
		return nil, err
	}
	old, err := f.read(ctx, f.old())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, nil
	case err != nil:
		return nil, err
	case old.id != r.id:
		r.older = append(r.older, old)
	}
	return r, nil
}

// Create draws a key and writes the key file, mode 0600, which is complete and durable on return. It never replaces a
// file: the error wraps [io/fs.ErrExist] if there is one.
func (f File) Create(ctx context.Context) (*Root, error) { return f.create(ctx, f.Path) }

// Create makes a key file in which the key is not sealed.
func Create(path string) (*Root, error) { return File{Path: path}.Create(context.Background()) }

func (f File) create(ctx context.Context, path string) (*Root, error) {
	r, err := generate()
	if err != nil {
		return nil, err
	}
	text := r.encode()
	if f.Seal {
		if text, err = f.seal(ctx, r); err != nil {
			return nil, fmt.Errorf("create key file %s: %w", path, err)
		}
	}
	if err := writeNew(path, text); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return r, nil
}

// Sealed reports whether the key file holds a sealed key.
func (f File) Sealed() (bool, error) {
	text, err := readFile(f.Path)
	return strings.HasPrefix(text, sealedMagic+":"), err
}

// read reads one file.
func (f File) read(ctx context.Context, path string) (*Root, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var r *Root
	if strings.HasPrefix(text, sealedMagic+":") {
		r, err = f.unseal(ctx, strings.TrimSpace(text))
	} else {
		r, err = decodeAll(text)
	}
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return r, nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("key file %s: not a regular file", path)
	}
	if m := info.Mode().Perm(); m&0o077 != 0 {
		return "", fmt.Errorf("key file %s: mode %04o lets others use it; run chmod 600 on it", path, m)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", fmt.Errorf("key file: %w", err)
	}
	return string(text), nil
}

// decodeAll reads the key of a file, or the keys of a recovery kit, the latest first, which has them on lines of their own
// among others.
func decodeAll(text string) (r *Root, err error) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, magic+":") {
			continue
		}
		next, err := decode(line)
		switch {
		case err != nil:
			return nil, err
		case r == nil:
			r = next
		default:
			r.older = append(r.older, next)
		}
	}
	if r == nil {
		return decode(text) // says what is wrong with it
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
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
