package resource

import (
	"context"
	"errors"
	"log/slog"

	"github.com/lockfast/lockfast/repo"
)

// Errors of drivers. They are wrapped with the act and the address of the resource.
var (
	// ErrUnreachable says that the resource, or the host it lives on, does not answer.
	ErrUnreachable = errors.New("resource is unreachable")
	// ErrNotFound says that nothing is at the resource's address.
	ErrNotFound = errors.New("resource does not exist")
	// ErrWrongKind says that what is at the address is not of the resource's type, for example a file in place of a
	// directory.
	ErrWrongKind = errors.New("resource is of another kind")
	// ErrPermission says that the resource is there and may not be read or, for the target of a restore, written.
	ErrPermission = errors.New("no permission")
	// ErrExist says that the target of a restore exists already.
	ErrExist = errors.New("target exists")
	// ErrNoSpace says that the target of a restore is full.
	ErrNoSpace = errors.New("no space left at the target")
	// ErrMalformed says that a recovery point holds an entry that a driver of this type does not write, for example a
	// name that leads out of the tree.
	ErrMalformed = errors.New("recovery point is malformed")
)

// Resource says what to protect.
type Resource struct {
	ARN  string
	Type string // AWS Backup's resource type, such as EFS
	Name string // the operator's name for it; may be empty
	// Address says where the resource is. Its keys depend on the type; a directory tree has "path", which is absolute.
	Address map[string]string
}

// Driver captures and restores the resources of one type. Its methods may be called concurrently, also for the same
// resource. A cancelled context makes them return soon, with the context's error, and leave nothing behind.
type Driver interface {
	// Probe reports whether the resource can be captured now, and what is known about it. It is quick and reads no data.
	// The error wraps [ErrUnreachable], [ErrNotFound], [ErrWrongKind] or [ErrPermission].
	Probe(ctx context.Context, r Resource) (Facts, error)

	// Capture puts every entry of the resource into the writer's tree. When it returns nil, the caller may commit the
	// writer; after an error the caller has to abort it. An item that cannot be read does not fail the capture: it is
	// listed in the report. A resource that cannot be read at all does, with the errors of Probe.
	Capture(ctx context.Context, c Capture) (Report, error)

	// Restore makes a new thing from a recovery point that this driver captured. Everything that it made is durable and
	// in its final place when it returns nil. After an error nothing of it is left. The error wraps [ErrExist],
	// [ErrNotFound], [ErrWrongKind], [ErrPermission], [ErrNoSpace] or [ErrMalformed], or comes from the store.
	Restore(ctx context.Context, r Restore) (Outcome, error)
}

// Facts are what a probe found, for people and for scripts.
type Facts struct {
	Bytes  int64             // estimated logical size; 0 when it is not known without reading everything
	Values map[string]string // further facts, by name; keys depend on the type
}

// Capture is the order to capture one resource.
type Capture struct {
	Resource Resource
	// Writer receives the recovery point. Its parent, if any, is an earlier recovery point of the same resource.
	Writer *repo.Writer
	// Progress, if set, is called now and then from one goroutine, and a last time before Capture returns.
	Progress func(Progress)
	Log      *slog.Logger // nil discards
	// FullRead reads what has not changed since the parent, too.
	FullRead bool
}

// Progress is how far a capture or a restore has come.
type Progress struct {
	Items      int64 // entries done
	Bytes      int64 // logical bytes done
	TotalBytes int64 // estimate of the end value of Bytes; 0 when there is none
}

// Report is what a capture did.
type Report struct {
	Items        int64 // entries of the recovery point
	BytesRead    int64 // bytes read from the resource
	LogicalBytes int64 // sum of the sizes of the entries
	Vanished     int64 // items that went away between being listed and being read; they are not in the recovery point
	Skipped      []Skip
	SkippedMore  int64             // how many are not in Skipped, because there were more than [MaxSkips]
	Metadata     map[string]string // what the driver wants to keep in the recovery point's facts
}

// MaxSkips is the most items that a report or an outcome lists.
const MaxSkips = 10_000

// Skip is an item that was left out of a capture or a restore, in whole or in part.
type Skip struct {
	Path   []byte // relative to the resource; empty for the whole of it, or for items that were only counted
	Reason string // one short sentence, lower case
	// Partial says that the item is there, though not as it should be: a file that changed while it was read, an
	// owner that could not be set.
	Partial bool
}

// Restore is the order to make a new thing from a recovery point. The target is either Name in Directory, or Into.
type Restore struct {
	Point  *repo.Point
	Source Resource // the resource that was captured
	// Directory exists. The restore makes Name in it, which must not exist, and shows it there only when it is complete.
	Directory string
	Name      string
	// Into is an absent or empty directory. The contents land in it directly.
	Into string
	// Items limits the restore. Each names an item relative to the root of the resource, and stands for all that is
	// below it. Wildcards have no meaning. Nil restores everything.
	Items [][]byte
	// Intact restores what is whole of a damaged recovery point: everything that is damaged is left out and listed among
	// Outcome.Skipped. Without it, damage is an error that names the item. Neither makes a file with other bytes than it had.
	Intact   bool
	Progress func(Progress) // as in [Capture]
	Log      *slog.Logger   // nil discards
}

// Outcome is what a restore did.
type Outcome struct {
	Items       int64  // entries made
	Bytes       int64  // logical bytes of the files made
	Path        string // what was made
	Skipped     []Skip
	SkippedMore int64    // how many are not in Skipped, because there were more than [MaxSkips]
	Missing     [][]byte // those of Restore.Items that the recovery point does not hold
}
