package run

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/vault"
)

// Streams are what keeps continuous recovery points up to date.
type Streams interface {
	// StopStream ends what a recovery point still receives, and undoes at the resource what was set up for it. It does
	// nothing if there is no stream, and may be called several times at once. Data that was received stays.
	StopStream(ctx context.Context, p vault.Point) error
}

// StreamStopper stops the streams of recovery points that are not AVAILABLE any more. It is the River worker of
// [vault.StopStream].
type StreamStopper struct {
	river.WorkerDefaults[vault.StopStream]
	Vaults  *vault.Service
	Streams Streams // nil if there are none
}

// Timeout implements [river.Worker]: there is none.
func (*StreamStopper) Timeout(*river.Job[vault.StopStream]) time.Duration { return -1 }

// Work implements [river.Worker]. A stream that cannot be stopped now is tried again later.
func (w *StreamStopper) Work(ctx context.Context, j *river.Job[vault.StopStream]) error {
	p, err := w.Vaults.Point(ctx, j.Args.VaultUUID, j.Args.PointARN)
	if errors.Is(err, vault.ErrNotFound) {
		return nil // its deletion has stopped the stream
	}
	if err == nil {
		err = stopStream(ctx, w.Streams, p)
	}
	return err
}

func stopStream(ctx context.Context, streams Streams, p vault.Point) error {
	if !p.Continuous || streams == nil {
		return nil
	}
	return streams.StopStream(ctx, p)
}
