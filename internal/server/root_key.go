package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lockfast/lockfast/internal/keys"
)

// Who guards the root key.
const (
	rootFile    = "file"
	rootTransit = "transit"
)

// checkRootKey verifies the settings that begin with root_key and transit.
func (c *Config) checkRootKey() error {
	switch c.RootKey {
	case rootFile:
	case rootTransit:
		if c.TransitAddress == "" || c.TransitKey == "" {
			return errors.New("root_key: transit needs transit_address and transit_key")
		}
	default:
		return fmt.Errorf("root_key: %q is neither file nor transit", c.RootKey)
	}
	_, err := c.RootKeyFile()
	return err
}

// RootKeyFile says where the root key is and who guards it. A transit service that is set may open what it sealed before
// root_key became file again.
func (c *Config) RootKeyFile() (keys.File, error) {
	f := keys.File{Path: c.KeyFile, Seal: c.RootKey == rootTransit}
	if c.TransitAddress == "" {
		return f, nil
	}
	t, err := keys.NewTransit(keys.TransitOptions{Address: c.TransitAddress, Mount: c.TransitMount, Key: c.TransitKey,
		Namespace: c.TransitNamespace, TokenFile: c.TransitTokenFile, CAFile: c.TransitCAFile, Insecure: c.Insecure})
	if err != nil {
		return f, fmt.Errorf("transit_%w", err)
	}
	f.Sealer = t
	return f, nil
}

// keyFiles are the files that hold root keys, those of rotations among them, and the token of the transit service.
func (p *parts) keyFiles() []string {
	c := p.o.Config
	names, _ := filepath.Glob(c.KeyFile + ".*") // fails for odd patterns only, and then finds nothing
	if old := p.root.Replaces(); old != nil {
		names = append(names, p.keyFile.Retired(old.KeyID()))
	}
	return append(names, c.KeyFile, c.TransitTokenFile)
}

// openKey reads the root key. It makes one only where nothing is that another key would open.
func (p *parts) openKey(ctx context.Context) (err error) {
	c := p.o.Config
	f, err := c.RootKeyFile()
	if err != nil {
		return err
	}
	p.keyFile = f
	p.root, err = f.Open(ctx)
	if err == nil {
		return p.checkSealed(ctx)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	used, err := inUse(ctx, c)
	if err != nil {
		return err
	}
	if used != "" {
		return fmt.Errorf("root key %s is missing, but %s exists, which only that key opens; "+
			"put your copy of the key back", c.KeyFile, used)
	}
	p.root, err = f.Create(ctx)
	if err == nil {
		p.o.Log.Info("root key made; keep a copy of it elsewhere, see lockfast key export", "file", c.KeyFile, "guarded_by", c.RootKey)
	}
	return err
}

// checkSealed refuses a root key that lies in the open where it should not, and has one sealed anew for which the transit
// service has a later version of its key.
func (p *parts) checkSealed(ctx context.Context) error {
	c := p.o.Config
	sealed, err := p.keyFile.Sealed()
	switch {
	case err != nil:
		return err
	case sealed && c.RootKey == rootFile:
		p.o.Log.WarnContext(ctx, "root_key is file, but the root key is sealed by the transit service; "+
			"lockfast key rotate-root makes one that is not", "file", c.KeyFile)
	case sealed:
		renewed, err := p.keyFile.Renew(ctx, p.root)
		if err != nil {
			p.o.Log.WarnContext(ctx, "root key not sealed anew", "file", c.KeyFile, "error", err)
		}
		if renewed {
			p.o.Log.InfoContext(ctx, "root key sealed anew by a later version of the transit key", "file", c.KeyFile)
		}
	case c.RootKey == rootTransit:
		return fmt.Errorf("root_key is transit, but the root key in %s is not sealed; run lockfast key rotate-root, "+
			"which makes a new one that is", c.KeyFile)
	}
	return nil
}

// rewrapRecords wraps the records of the database anew when the root key is about to replace another.
func (p *parts) rewrapRecords(ctx context.Context) error {
	if p.root.Replaces() == nil {
		return nil
	}
	if err := p.iam.RewrapSecrets(ctx, p.root.Wrapped); err != nil {
		return err
	}
	return p.nouns.keys.RewrapRecords(ctx)
}

// renewKeys has the keys of vaults wrapped anew where they have to be, and ends a rotation of the root key then.
func (p *parts) renewKeys(ctx context.Context) error {
	if err := p.nouns.keys.RewrapVaults(ctx); err != nil {
		return err
	}
	old := p.root.Replaces()
	if old == nil || p.retired != "" {
		return nil
	}
	path, err := p.keyFile.Retire(p.root)
	if err != nil {
		return err
	}
	p.retired = path
	p.o.Log.InfoContext(ctx, "root key replaced; the old one opens nothing any more but copies from before",
		"root_key", p.root.KeyID(), "old", old.KeyID(), "file", path)
	return nil
}

// RootRotation says what became of the root key.
type RootRotation struct {
	Key, Old string // ids
	Retired  string // file of the old one
}

// RotateRootKey puts a new root key in the place of the present one, guarded as the settings say, and has everything
// wrapped anew that the old one wrapped. No server may work with the key meanwhile: neither on the data directory, where
// that is checked, nor on its database. What was begun and not finished is finished by another call or, on SQLite, by the
// next server.
func RotateRootKey(ctx context.Context, o Options) (done RootRotation, err error) {
	f, err := o.Config.RootKeyFile()
	if err != nil {
		return done, err
	}
	dir, err := LockDirectory(o.Config.Data)
	if err != nil {
		return done, err
	}
	root, _, err := f.Rotate(ctx)
	if err = errors.Join(err, dir.Close()); err != nil {
		return done, err
	}
	done = RootRotation{Key: root.KeyID(), Old: root.Replaces().KeyID()}
	o.Private = true
	s, err := Open(ctx, o)
	if err == nil {
		err = s.parts.renewKeys(ctx)
		done.Retired = s.parts.retired
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		err = errors.Join(err, s.Serve(stopped))
	}
	if err != nil {
		return done, fmt.Errorf("root key %s is in place and %s still needed beside it; repeat the command to go on: %w", done.Key, done.Old, err)
	}
	return done, nil
}
