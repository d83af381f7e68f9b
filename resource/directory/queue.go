package directory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo"
)

// waiting is the length of the queue.
func (c *capture) waiting() int { return len(c.queue) - c.head }

// enqueue appends to the queue and takes what is ready from its head.
func (c *capture) enqueue(ctx context.Context, p *pending) error {
	c.queue = append(c.queue, p)
	return c.flush(ctx, maxQueue)
}

// drain empties the queue.
func (c *capture) drain(ctx context.Context) error {
	for c.waiting() > 0 {
		if err := c.flush(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// flush puts what is ready at the head of the queue into the tree. If full is not zero and the queue is as long, it
// waits for the head to become ready.
func (c *capture) flush(ctx context.Context, full int) error {
	for c.waiting() > 0 {
		p := c.queue[c.head]
		if !p.ready() {
			if full == 0 || c.waiting() < full {
				return nil
			}
			select {
			case <-p.task.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		c.dequeue()
		if err := c.emit(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) dequeue() {
	c.queue[c.head] = nil
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	} else if c.head >= maxQueue {
		c.queue = c.queue[:copy(c.queue, c.queue[c.head:])]
		c.head = 0
	}
}

// abandon lets go of what waits, after an error. The readers have ended.
func (c *capture) abandon() {
	for ; c.waiting() > 0; c.dequeue() {
		if p := c.queue[c.head]; p.task != nil && !p.first {
			p.task.dir.release()
		}
	}
}

// ready takes the token of the entry's task, if it has one of its own and that is done.
func (p *pending) ready() bool {
	if p.task == nil || !p.first {
		return true
	}
	select {
	case <-p.task.done:
		return true
	default:
		return false
	}
}

// emit puts an entry, or a run of kept ones, into the tree.
func (c *capture) emit(ctx context.Context, p *pending) error {
	switch {
	case p.keep > 0:
		return c.emitKept(ctx, p)
	case p.task == nil:
		return c.tree.Put(ctx, p.entry)
	case p.first:
		return c.emitFile(ctx, p)
	case p.group.is(&p.task.st):
		p.task.dir.release()
		return c.emitLink(ctx, p)
	}
	// The first name could not be read, or the file has changed since.
	c.reader.run(ctx, p.task)
	<-p.task.done
	return c.emitFile(ctx, p)
}

// emitFile puts a file that was read.
func (c *capture) emitFile(ctx context.Context, p *pending) error {
	t := p.task
	c.finished.Add(t.bytes.Load())
	if t.err != nil {
		return fmt.Errorf("store %s: %w", Display(Path(t.key)), t.err)
	}
	if c.missing(t) {
		return nil
	}
	if t.warning != nil {
		c.skip(t.key, t.warning, true)
	}
	c.meta = t.info.AppendMeta(c.meta[:0])
	if g := p.group; g != nil {
		g.stored, g.info, g.meta, g.content, g.refs = true, t.info.core(), bytes.Clone(c.meta), t.content, t.refs
	}
	c.items.Add(1)
	c.logical.Add(t.content.Size)
	return c.tree.Put(ctx, repo.Entry{Key: t.key, Meta: c.meta, Content: t.content, Refs: t.refs})
}

// missing accounts for a file that is not stored.
func (c *capture) missing(t *task) bool {
	if t.gone {
		c.vanish()
	} else if t.skip != nil {
		c.skip(t.key, t.skip, false)
	}
	return t.gone || t.skip != nil
}

// emitLink puts a further name of a file.
func (c *capture) emitLink(ctx context.Context, p *pending) error {
	g := p.group
	c.items.Add(1)
	c.logical.Add(g.content.Size)
	return c.tree.Put(ctx, repo.Entry{Key: p.entry.Key, Meta: g.meta, Content: g.content, Refs: g.refs})
}

// emitKept keeps a run of entries.
func (c *capture) emitKept(ctx context.Context, p *pending) error {
	ok := c.keeper.Seek(p.entry.Key)
	for i := range p.keep {
		if i > 0 {
			ok = c.keeper.Next()
		}
		if !ok {
			return fmt.Errorf("read parent again: %w", cmp.Or(c.keeper.Err(), repo.ErrNotFound))
		}
		if err := c.tree.Keep(ctx, c.keeper); err != nil {
			return err
		}
	}
	return nil
}
