package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/repo"
)

// storedVault looks into a store, in which it changes nothing, for something that counts and has the name of a vault, and
// returns its place; empty if there is nothing.
func storedVault(ctx context.Context, c Config, system fs.System, counts func(context.Context, blob.Store) (bool, error),
) (place string, err error) {
	if !inBucket(c.Store) {
		if _, err := subdirectories(c.Store, system); errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
	}
	blobs, err := OpenBlobs(ctx, c.Store, BlobsOptions{ReadOnly: true, System: system})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	ids, err := blobs.Vaults(ctx)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		if found, err := counts(ctx, blob.Prefix(blobs, id)); err != nil || found {
			return blobs.Place(id), err
		}
	}
	return "", nil
}

// databaseMissing reports whether the database is a file that does not exist yet.
func (p *parts) databaseMissing() bool {
	file, embedded := strings.CutPrefix(p.o.Config.Metadata, "sqlite:")
	_, err := os.Stat(file)
	return embedded && errors.Is(err, os.ErrNotExist)
}

// checkStore refuses the store if it holds vaults. It is called for a database that knows nothing: the one that knew them
// is lost, or another server has it. A store that cannot be reached passes: whether the vaults are there is not known.
func (p *parts) checkStore(ctx context.Context) error {
	c := p.o.Config
	short, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	place, err := storedVault(short, c, p.o.system, repo.Exists)
	if err != nil {
		p.o.Log.WarnContext(ctx, "the database is new, and whether the store holds vaults already could not be found out", "store", c.Store, "error", err)
		return ctx.Err()
	}
	if place == "" {
		return nil
	}
	database := strings.TrimPrefix(c.Metadata, "sqlite:")
	if p.db != nil {
		database = p.db.String()
	}
	return fmt.Errorf("database %s is new and knows nothing, but store %s holds vaults, such as %s, of a database that is lost or belongs "+
		"to another server; put that database back, or make a new one from the store with "+
		"`lockfast store rebuild %s --key %s --data %s`; to begin afresh, choose another store, or another data directory with --data",
		database, c.Store, place, c.Store, c.KeyFile, c.Data)
}

// checkEmpty is checkStore for a database that is there, if nothing has ever been in it.
func (p *parts) checkEmpty(ctx context.Context) error {
	empty, err := p.iam.Empty(ctx)
	if err != nil || !empty {
		return err
	}
	refused := p.checkStore(ctx)
	if refused == nil {
		return nil
	}
	if empty, err = p.iam.Empty(ctx); err == nil && !empty {
		return nil // another server on this database made its first vault meanwhile
	}
	return errors.Join(refused, err)
}
