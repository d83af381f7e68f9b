//go:build !linux

package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
)

type writer struct{ *os.File }

func datasync(f *os.File) error { return f.Sync() }

// syncAll syncs every directory, for want of one call that does.
func syncAll(dir *os.File) error {
	return filepath.WalkDir(dir.Name(), func(path string, d iofs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// lock knows no locks here, so leftovers of a killed process stay; see the package comment.
func lock(*os.File) error { return errors.ErrUnsupported }

func renameNoReplace(_ *os.File, _ string, _ *os.File, _ string) error { return errors.ErrUnsupported }
