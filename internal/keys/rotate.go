package keys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files of a rotation, beside the key file. While there is an old one, the rotation is not complete.
func (f File) next() string { return f.Path + ".next" }
func (f File) old() string  { return f.Path + ".old" }

// Retired is the name of the file that holds a key which was replaced.
func (f File) Retired(id string) string { return f.Path + ".retired-" + id }

// Rotate puts a new root key in the place of the present one, sealed or not as f says, and leaves that one beside it. The
// work begins with it: whatever the old key wrapped has to be wrapped anew, and then [File.Retire] ends the rotation. A
// Rotate that was cut can be repeated. While a rotation is not complete no other one begins, and Rotate changes nothing;
// begun is false then.
func (f File) Rotate(ctx context.Context) (r *Root, begun bool, err error) {
	present, err := f.Open(ctx)
	if err != nil {
		return nil, false, err
	}
	if present.Replaces() != nil {
		return present, false, nil
	}
	next, err := f.read(ctx, f.next())
	if errors.Is(err, fs.ErrNotExist) {
		next, err = f.create(ctx, f.next())
	}
	if err == nil {
		// What was written is read as the next start will read it, before the old key gives way.
		next, err = f.read(ctx, f.next())
	}
	if err != nil {
		return nil, false, fmt.Errorf("rotate root key: %w", err)
	}
	if err := f.replace(); err != nil {
		return nil, false, fmt.Errorf("rotate root key: %w", err)
	}
	next.older = append(next.older, present)
	return next, true, nil
}

// replace moves the new key into the place of the old one. There is a key file at every moment.
func (f File) replace() error {
	if err := os.Remove(f.old()); err != nil && !errors.Is(err, fs.ErrNotExist) { // a link of the present one, by a try that was cut
		return err
	}
	if err := os.Link(f.Path, f.old()); err != nil {
		return err
	}
	dir := filepath.Dir(f.Path)
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := os.Rename(f.next(), f.Path); err != nil {
		return err
	}
	return syncDir(dir)
}

// Retire ends a rotation: the old key, which nothing needs any more but copies from before, gets a name under which the
// server does not look for it.
func (f File) Retire(r *Root) (path string, err error) {
	old := r.Replaces()
	if old == nil {
		return "", nil
	}
	path = f.Retired(old.KeyID())
	if err = os.Rename(f.old(), path); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("retire root key %s: %w", old.KeyID(), err)
	}
	return path, nil
}

// Renew has the sealer seal the key anew if it would do so with a later version of its key, so that earlier versions are
// not needed.
func (f File) Renew(ctx context.Context, r *Root) (renewed bool, err error) {
	text, err := readFile(f.Path)
	if err != nil || f.Sealer == nil {
		return false, err
	}
	id, sealed, err := parseSealed(text)
	if err != nil || id != r.KeyID() {
		return false, err // a plain file
	}
	again, err := f.seal(ctx, r)
	if err != nil {
		return false, err
	}
	_, other, err := parseSealed(again)
	if err != nil || versionOf(other) <= versionOf(sealed) {
		return false, err
	}
	if back, err := f.unseal(ctx, again); err != nil || back.id != r.id {
		return false, fmt.Errorf("seal root key anew: %w", err)
	}
	next := f.Path + ".renewed"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := writeNew(next, again); err != nil {
		return false, fmt.Errorf("seal root key anew: %w", err)
	}
	if err := os.Rename(next, f.Path); err != nil {
		return false, fmt.Errorf("seal root key anew: %w", err)
	}
	return true, syncDir(filepath.Dir(f.Path))
}
