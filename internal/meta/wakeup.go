package meta

import (
	"context"
	"database/sql"
	"encoding/json"
	"sync"

	"github.com/riverqueue/river/riverdriver"
)

// insertTopic is River's topic for new jobs.
const insertTopic = "river_insert"

// insertPayload is River's announcement of a job in queue.
func insertPayload(queue string) string {
	b, _ := json.Marshal(map[string]string{"queue": queue}) // cannot fail
	return string(b)
}

// silentDriver leaves announcing to [Tx.announce].
type silentDriver struct{ riverdriver.Driver[*sql.Tx] }

func (silentDriver) SupportsListenNotify() bool { return false }

// wakeup knows the listeners of the process.
type wakeup struct {
	mu        sync.Mutex
	listeners map[*listener]struct{} // guarded by mu
}

// wake announces jobs in queues. A listener that is behind misses it and
// finds the jobs at its next poll.
func (w *wakeup) wake(queues []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range queues {
		for l := range w.listeners {
			select {
			case l.news <- &riverdriver.Notification{Topic: insertTopic, Payload: insertPayload(q)}:
			default:
			}
		}
	}
}

// listener is a riverdriver.Listener that hears of jobs enqueued by this process.
type listener struct {
	wake *wakeup
	news chan *riverdriver.Notification
}

func (l *listener) Connect(context.Context) error {
	l.wake.mu.Lock()
	defer l.wake.mu.Unlock()
	if l.wake.listeners == nil {
		l.wake.listeners = map[*listener]struct{}{}
	}
	l.wake.listeners[l] = struct{}{}
	return nil
}

func (l *listener) Close(context.Context) error {
	l.wake.mu.Lock()
	defer l.wake.mu.Unlock()
	delete(l.wake.listeners, l)
	return nil
}

func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case n := <-l.news:
		return n, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (*listener) Listen(context.Context, string) error   { return nil }
func (*listener) Unlisten(context.Context, string) error { return nil }
func (*listener) Ping(context.Context) error             { return nil }
func (*listener) Schema() string                         { return "" }
func (*listener) SetAfterConnectExec(string)             {}
