package server

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/lockfast/lockfast/internal/wire"
)

// Account says which paths of the host an account beside the first one may back up and restore to. The first one, whose
// administrators look after the host, may use any.
type Account struct {
	ID    string   `yaml:"id"`
	Paths []string `yaml:"paths"` // directories; what is below them is meant, too
}

func (c *Config) checkAccounts() error {
	known := map[string]bool{}
	for i, a := range c.Accounts {
		where := fmt.Sprintf("accounts: entry %d", i+1)
		switch {
		case len(a.ID) != 12 || strings.Trim(a.ID, "0123456789") != "":
			return fmt.Errorf("%s: id %q is not 12 digits; quote it", where, a.ID)
		case a.ID == c.Account:
			return fmt.Errorf("%s: account %s is the first one, which may use every path", where, a.ID)
		case known[a.ID]:
			return fmt.Errorf("%s: account %s is there twice", where, a.ID)
		}
		known[a.ID] = true
		for _, path := range a.Paths {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("%s: path %q is not absolute", where, path)
			}
		}
	}
	return nil
}

// mayUse refuses paths of the host that an account may not name. Links count as what they lead to.
func (c *Config) mayUse(account, path string) error {
	if account == c.Account || c.given(account, path) {
		return nil
	}
	return &wire.Denied{Message: fmt.Sprintf("Account %s may not use %s. The operator of the server names the paths that it may use, "+
		"in the setting accounts.", account, path)}
}

func (c *Config) given(account, path string) bool {
	target, err := resolve(path)
	if err != nil {
		return false
	}
	for _, a := range c.Accounts {
		for _, allowed := range a.Paths {
			if root, err := resolve(allowed); err == nil && a.ID == account && within(root, target) {
				return true
			}
		}
	}
	return false
}

func within(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolve follows the links in a path, of which the end need not exist.
func resolve(path string) (string, error) {
	path = filepath.Clean(path)
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
		return real, err
	}
	parent, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}
