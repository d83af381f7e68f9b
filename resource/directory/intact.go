package directory

import (
	"errors"
	"fmt"
	"sync"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// errNoDirectory says that the directory of an entry is not among those that were made.
var errNoDirectory = fmt.Errorf("%w: it is in no directory", resource.ErrMalformed)

// intact leaves damaged items out of a restore and notes them. Its methods may be called concurrently, and on nil, which
// leaves out nothing.
type intact struct {
	skips *skips

	mu       sync.Mutex
	nodes    map[string]bool // first keys of the parts of the tree that are lost; guarded by mu
	broken   map[string]bool // keys of files and others that are not restored; guarded by mu
	made     []*output       // of these, files of which something may have been made; guarded by mu
	noRoot   bool            // the entry of the root is lost; guarded by mu
	finished bool            // the first pass is over; guarded by mu
}

func newIntact(s *skips) *intact {
	return &intact{skips: s, nodes: map[string]bool{}, broken: map[string]bool{}}
}

// damageReason words damage for the list of skipped items.
func damageReason(err error) string { return fmt.Sprintf("damaged in the store: %v", err) }

// node takes a part of the tree that is lost. In the second pass it has to be one that the first pass met, because what
// was made of another would not be completed.
func (i *intact) node(d *repo.NodeError) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := string(d.From)
	if i.nodes[key] || i.finished {
		return i.nodes[key]
	}
	i.nodes[key] = true
	i.skips.add(Path(d.From), damageReason(fmt.Errorf("this item and the %d after it: %w", d.Entries-1, d.Err)), false)
	return true
}

// fetched returns what takes damaged contents.
func (i *intact) fetched() func(repo.Want, error) {
	if i == nil {
		return nil
	}
	return func(w repo.Want, err error) { i.breaks(w.Tag.(*output), err) }
}

// breaks is leavesOut for a file that is being restored.
func (i *intact) breaks(o *output, err error) bool {
	if !i.leavesOut(o.key, err) {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made = append(i.made, o)
	return true
}

// leavesOut reports whether err is why an item cannot be restored, and notes that.
func (i *intact) leavesOut(key []byte, err error) bool {
	if i == nil || err == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	reason := ""
	switch {
	case errors.Is(err, repo.ErrDamaged):
		reason = damageReason(err)
	case errors.Is(err, errNoDirectory) && len(i.nodes) > 0:
		reason = "the entry of its directory is damaged in the store"
	default:
		return false
	}
	if !i.broken[string(key)] {
		i.broken[string(key)] = true
		i.skips.add(Path(key), reason, false)
	}
	return true
}

// drops reports whether the extended attributes of a directory are damaged; it is restored without.
func (i *intact) drops(key []byte, err error) bool {
	if i == nil || !errors.Is(err, repo.ErrDamaged) {
		return false
	}
	i.skips.add(Path(key), "restored without its extended attributes: "+damageReason(err), true)
	return true
}

// left reports whether an item was left out.
func (i *intact) left(key []byte) bool {
	if i == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.broken[string(key)]
}

// rootless notes that the root's own entry is lost.
func (i *intact) rootless() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.noRoot {
		i.noRoot = true
		i.skips.add(nil, "restored without its owner, mode and times, which are damaged in the store", true)
	}
}

func (i *intact) isRootless() bool {
	if i == nil {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.noRoot
}

// finish ends the first pass and returns the files of which something may have been made.
func (i *intact) finish() []*output {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.finished = true
	return i.made
}

// removeBroken ends the first pass: it removes what was made of damaged files.
func (r *restoring) removeBroken() error {
	if r.intact == nil {
		return nil
	}
	for _, o := range r.intact.finish() {
		if err := r.removeFile(o.place, o.name, o.key); err != nil {
			return err
		}
	}
	return nil
}

// removeFile removes a file that is damaged, if it is there. name ends with a zero.
func (r *restoring) removeFile(up *place, name, key []byte) error {
	err := r.places.with(up, func(dir int) error { return unix.Unlinkat(dir, string(name[:len(name)-1]), 0) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove what was restored of %s, which is damaged: %w", Display(Path(key)), err)
	}
	return nil
}

// named adds to an error about a damaged content the item that it belongs to, and to any about damage what can be done.
func (r *restoring) named(err error) error {
	if w, ok := errors.AsType[*repo.WantError](err); ok {
		if o, ok := w.Want.Tag.(*output); ok {
			err = fmt.Errorf("%s: %w", Display(Path(o.key)), err)
		}
	}
	switch {
	case !errors.Is(err, repo.ErrDamaged):
		return err
	case r.intact != nil: // nothing is, or it cannot be found
		return fmt.Errorf("%w; repair the vault", err)
	}
	return fmt.Errorf("%w; repair the vault, or restore only what is intact", err)
}
