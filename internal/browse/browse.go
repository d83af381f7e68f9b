// Package browse is the noun that looks into recovery points without restoring
// them: it lists, reads and compares what they hold. It has no table; everything
// is read from the store.
package browse

import (
	"context"
	"errors"
	"io"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource/directory"
)

// Points opens recovery points.
type Points interface {
	// OpenPoint opens a recovery point by ARN; the caller closes it. One that does not exist or cannot be read in its
	// state is an API error.
	OpenPoint(ctx context.Context, account, region, arn string) (*repo.Point, error)
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	points Points
	pager  *restjson.Pager
}

// New makes the service.
func New(points Points, pager *restjson.Pager) *Service { return &Service{points, pager} }

// Routes registers the operations.
func (s *Service) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.ListItems, s.ListItems,
		func(_ caller.Caller, in *lockfastapi.ListItemsInput) []restjson.Access {
			return caller.On("lockfast:ListItems", in.RecoveryPointArn)
		})
	restjson.Handle(own, lockfastapi.GetItem, s.GetItem,
		func(_ caller.Caller, in *lockfastapi.GetItemInput) []restjson.Access {
			return caller.On("lockfast:GetItem", in.RecoveryPointArn)
		})
	restjson.Handle(own, lockfastapi.CompareRecoveryPoints, s.CompareRecoveryPoints,
		func(_ caller.Caller, in *lockfastapi.CompareRecoveryPointsInput) []restjson.Access {
			return append(caller.On("lockfast:CompareRecoveryPoints", in.RecoveryPointArn),
				caller.On("lockfast:CompareRecoveryPoints", in.OtherRecoveryPointArn)...)
		})
}

func (s *Service) open(ctx context.Context, arn string) (*repo.Point, error) {
	c := caller.From(ctx)
	return s.points.OpenPoint(ctx, c.Account, c.Region, arn)
}

// find returns the entry at a path, with its key and what it is.
func find(ctx context.Context, p *repo.Point, path string) (repo.Entry, directory.Info, error) {
	key, err := directory.Key([]byte(path))
	if err != nil {
		return repo.Entry{}, directory.Info{}, lockfastapi.InvalidParameterValueExceptionf("Path: %v", err)
	}
	e, err := p.Lookup(ctx, key)
	if errors.Is(err, repo.ErrNotFound) {
		return repo.Entry{}, directory.Info{}, lockfastapi.ResourceNotFoundExceptionf(
			"The recovery point holds no item %s.", directory.Display([]byte(path)))
	}
	if err != nil {
		return repo.Entry{}, directory.Info{}, damaged(path, err)
	}
	info, err := directory.DecodeMeta(e.Meta)
	return e, info, err
}

// damaged words damage that was met at a path, or somewhere below it. Other errors are returned as they are.
func damaged(path string, err error) error {
	if !errors.Is(err, repo.ErrDamaged) {
		return err
	}
	where := "The recovery point"
	if path != "" {
		where = directory.Display([]byte(path))
	}
	return lockfastapi.InvalidRequestExceptionf("%s is damaged in the store: %v. Repair the vault, or restore what is intact.", where, err)
}

// GetItem answers the content of a file.
func (s *Service) GetItem(ctx context.Context, in *lockfastapi.GetItemInput) (*lockfastapi.GetItemOutput, error) {
	p, err := s.open(ctx, in.RecoveryPointArn)
	if err != nil {
		return nil, damaged("", err)
	}
	e, info, err := find(ctx, p, in.Path)
	if err == nil && info.Type != directory.File {
		err = lockfastapi.InvalidParameterValueExceptionf("Path: %s is a %s, not a file.", directory.Display([]byte(in.Path)), info.Type)
	}
	content := p.Reader(ctx, e.Content)
	if err == nil && e.Content.Size > 0 {
		_, err = content.ReadAt(make([]byte, 1), 0) // damage is told before the answer begins, if it is there
		err = damaged(in.Path, err)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &lockfastapi.GetItemOutput{
		Body:          body{content, p},
		ContentLength: &e.Content.Size,
		ContentType:   new("application/octet-stream"),
	}, nil
}

// body is a file's content; closing it ends the use of its recovery point.
type body struct {
	io.Reader
	io.Closer
}
