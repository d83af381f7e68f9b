package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// capture merges the walk with the parent and puts entries into the tree in ascending order, though files are read by
// several readers at once: what a reader has not finished yet, and what the walk found after it, waits in a queue.
//
// Everything but the atomic counters and the reader belongs to the goroutine that walks.
type capture struct {
	tree     *repo.TreeWriter
	reader   *reader
	fullRead bool

	cursor *repo.Cursor // over the parent, at the first entry not before the walk; nil without a parent or at its end
	keeper *repo.Cursor // over the parent, for entries that are kept from the queue

	passed int // entries that cursor moved over since the last one that was kept

	queue  []*pending // queue[head:] waits
	head   int
	tasks  chan *task
	groups map[inode]*group
	owners owners
	skips  skips
	meta   []byte // scratch

	items    atomic.Int64
	logical  atomic.Int64
	finished atomic.Int64 // bytes that were read for files which logical counts
	total    int64        // estimate
	kept     int64
	vanished int64
}

// pending is an entry, or a run of kept ones, that waits for those before it. Exactly one of task, keep and entry is
// used; group is set for names of a file with several.
type pending struct {
	task  *task
	keep  int // number of entries of the parent, from entry.Key on
	entry repo.Entry
	group *group
	first bool // the task was given to the readers
}

// inode identifies a file with several names.
type inode struct{ dev, ino uint64 }

// group is a file with several names that is read in this capture. All of them get what was read by the first.
type group struct {
	left    uint32 // names not met yet
	stored  bool   // the fields below are set
	info    core
	meta    []byte
	content repo.Content
	refs    []repo.Extent
}

// is reports whether the file is still as it was when it was read.
func (g *group) is(st *stat) bool {
	return g.stored && g.info.ctime == st.ctime && g.info.mtime == st.mtime && g.info.mode == st.mode&0o7777 &&
		g.content.Size == st.size
}

// maxQueue bounds the descriptors and the memory of files that wait.
const maxQueue = 256

func newCapture(ctx context.Context, order resource.Capture, o Options, racy stamp) *capture {
	c := &capture{
		tree: order.Writer.Tree(), reader: newReader(order.Writer, racy), fullRead: order.FullRead,
		tasks: make(chan *task, maxQueue), groups: map[inode]*group{},
	}
	if p := order.Writer.Parent(); p != nil {
		c.total = p.Stats().LogicalBytes
		c.keeper = p.Cursor(ctx)
		c.cursor = p.Cursor(ctx)
		if !c.cursor.Next() {
			c.endOfParent()
		}
	}
	return c
}

// endOfParent lets go of the cursor unless it has an error to report at the end.
func (c *capture) endOfParent() {
	if c.cursor.Err() == nil {
		c.cursor = nil
	}
}

func (c *capture) startReaders(ctx context.Context, n int) (stop func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for t := range c.tasks {
				c.reader.run(ctx, t)
			}
		})
	}
	return func() {
		close(c.tasks)
		wg.Wait()
	}
}

func (c *capture) vanish() { c.vanished++ }

func (c *capture) skip(key []byte, reason error, partial bool) {
	c.skips.add(Path(key), reason.Error(), partial)
}

// visit keeps what has not changed, and reads the rest.
func (c *capture) visit(ctx context.Context, n *node) error {
	c.owners.add(n.st.uid, n.st.gid)
	old, found, err := c.advance(n.key)
	if err != nil {
		return err
	}
	if found && !c.fullRead {
		var was core
		if _, ok := was.decode(old.Meta); ok && was.same(&n.st) && old.Content.Size == contentSize(&n.st) {
			return c.keep(ctx, n.key, old.Content.Size)
		}
	}
	if n.st.kind() != unix.S_IFREG {
		return c.readOther(ctx, n)
	}
	var guide repo.Content
	if found {
		guide = cloneContent(old.Content)
	}
	return c.readFile(ctx, n, guide)
}

// contentSize is the size of the content that an inode is stored with.
func contentSize(st *stat) int64 {
	if st.kind() == unix.S_IFREG {
		return st.size
	}
	return 0
}

// advance moves the parent's cursor to key and returns the entry there, if there is one.
func (c *capture) advance(key []byte) (e repo.Entry, found bool, err error) {
	for c.cursor != nil {
		e = c.cursor.Entry()
		order := bytes.Compare(e.Key, key)
		if order >= 0 {
			return e, order == 0, nil
		}
		c.passed++
		if !c.cursor.Next() {
			if err := c.cursor.Err(); err != nil {
				return e, false, fmt.Errorf("read parent: %w", err)
			}
			c.cursor = nil
		}
	}
	return repo.Entry{}, false, nil
}

// keep takes over the entry under the cursor.
func (c *capture) keep(ctx context.Context, key []byte, size int64) error {
	follows := c.passed == 1
	c.passed = 0
	c.kept++
	c.items.Add(1)
	c.logical.Add(size)
	if c.waiting() == 0 {
		return c.tree.Keep(ctx, c.cursor)
	}
	if last := c.queue[len(c.queue)-1]; last.keep > 0 && follows {
		if last.keep++; last.keep%64 == 0 {
			return c.flush(ctx, 0)
		}
		return nil
	}
	return c.enqueue(ctx, &pending{keep: 1, entry: repo.Entry{Key: bytes.Clone(key)}})
}

// readOther stores what is not a file: it has no content.
func (c *capture) readOther(ctx context.Context, n *node) error {
	info := c.reader.infoOf(&n.st)
	if info.Type == 0 {
		c.skip(n.key, fmt.Errorf("unknown kind of file %o", n.st.kind()>>12), false)
		return nil
	}
	x := xattrs{fd: -1}
	switch {
	case n.self != nil:
		x.fd = n.self.fd
	case n.st.kind() == unix.S_IFLNK:
		target, err := readLinkAt(n.dir.fd, n.name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			c.vanish() // what has taken its place is found by the next capture
			return nil
		}
		if err != nil {
			c.skip(n.key, fmt.Errorf("read link: %w", err), false)
			return nil
		}
		info.LinkTarget = target
		fallthrough
	default:
		x = xattrsAt(n.dir.fd, n.name)
	}
	refs, warning, err := c.reader.attributes(ctx, &info, x)
	if err != nil {
		return err
	}
	if warning != nil && !errors.Is(warning, unix.ENOENT) {
		c.skip(n.key, warning, true)
	}
	c.items.Add(1)
	if c.waiting() == 0 {
		c.meta = info.AppendMeta(c.meta[:0])
		return c.tree.Put(ctx, repo.Entry{Key: n.key, Meta: c.meta, Refs: refs})
	}
	return c.enqueue(ctx, &pending{entry: repo.Entry{Key: bytes.Clone(n.key), Meta: info.AppendMeta(nil), Refs: refs}})
}

// readFile gives a file to the readers, unless it is a further name of one that they have already.
func (c *capture) readFile(ctx context.Context, n *node, guide repo.Content) error {
	p := &pending{entry: repo.Entry{Key: bytes.Clone(n.key)}, first: true}
	if n.st.nlink > 1 {
		id := inode{n.st.dev, n.st.ino}
		p.group = c.groups[id]
		if p.first = p.group == nil; p.first {
			p.group = &group{left: n.st.nlink}
			c.groups[id] = p.group
		}
		if p.group.left--; p.group.left == 0 {
			delete(c.groups, id)
		}
	}
	p.task = &task{
		key: p.entry.Key, name: bytes.Clone(n.name), dir: n.dir.hold(), st: n.st, guide: guide, done: make(chan struct{}, 1),
	}
	if p.first {
		select {
		case c.tasks <- p.task:
		case <-ctx.Done():
			p.task.dir.release()
			return context.Cause(ctx)
		}
	}
	return c.enqueue(ctx, p)
}

// cloneContent copies a content out of a cursor.
func cloneContent(c repo.Content) repo.Content {
	c.Inline = bytes.Clone(c.Inline)
	c.Extents = slices.Clone(c.Extents)
	return c
}
