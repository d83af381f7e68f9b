package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lockfast/lockfast/blob"
)

// Retain implements [blob.Retainer] by an object lock, which the bucket must have been made with, see
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html. In mode GOVERNANCE it binds everybody but those
// who have s3:BypassGovernanceRetention and use it; with [Options.Compliance] it binds everybody.
func (s *Store) Retain(ctx context.Context, name blob.Name, until time.Time) error {
	err := s.check(ctx, name)
	if err == nil {
		err = s.writable()
	}
	if err == nil {
		err = s.retain(ctx, *s.key(name), wholeSecond(until))
	}
	if err != nil {
		return fmt.Errorf("retain %s: %w", name, err)
	}
	return nil
}

// RetainedUntil implements [blob.Retainer].
func (s *Store) RetainedUntil(ctx context.Context, name blob.Name) (until time.Time, err error) {
	if err = s.check(ctx, name); err == nil {
		until, err = s.retainedUntil(ctx, *s.key(name))
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read the retention of %s: %w", name, err)
	}
	return until, nil
}

func (s *Store) retain(ctx context.Context, key string, until time.Time) error {
	present, err := s.retainedUntil(ctx, key)
	if err != nil || !present.Before(until) {
		return err
	}
	if !until.After(time.Now()) {
		return nil // what the server would refuse has no effect
	}
	err = s.callLock(ctx, func(ctx context.Context) error {
		_, err := s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: &s.location.Bucket, Key: &key,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(s.mode()), RetainUntilDate: &until}})
		return err
	})
	if errors.Is(err, blob.ErrPermission) { // another one may have extended it further meanwhile
		if present, again := s.retainedUntil(ctx, key); again == nil && !present.Before(until) {
			return nil
		}
	}
	return err
}

// retainedUntil returns the end of an object's retention; zero if it has none.
func (s *Store) retainedUntil(ctx context.Context, key string) (until time.Time, err error) {
	err = s.callLock(ctx, func(ctx context.Context) error {
		out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &s.location.Bucket, Key: &key})
		if isCode(err, "NoSuchObjectLockConfiguration") {
			return nil
		}
		if err == nil && out.Retention != nil {
			until = aws.ToTime(out.Retention.RetainUntilDate)
		}
		return err
	})
	return until, err
}

// callLock makes a request about locks, which a bucket without object lock refuses.
func (s *Store) callLock(ctx context.Context, request func(context.Context) error) error {
	var refused error
	err := s.call(ctx, func(ctx context.Context, _ *watch) error {
		err := request(ctx)
		if isCode(err, "InvalidRequest", "ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed") {
			_, _, text := describe(err)
			refused = &noLock{text}
		}
		return err
	})
	return cmp.Or(refused, err)
}

// noLock says that nothing can be retained in a bucket.
type noLock struct{ text string }

func (e *noLock) Error() string { return "the bucket was not made with object lock: " + e.text }
func (e *noLock) Unwrap() error { return errors.ErrUnsupported }

// askLock refuses a bucket that cannot retain what is to be retained.
func (s *Store) askLock(ctx context.Context) error {
	if s.o.Retain == nil {
		return nil
	}
	enabled := false
	err := s.callLock(ctx, func(ctx context.Context) error {
		out, err := s.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.location.Bucket})
		enabled = err == nil && out.ObjectLockConfiguration != nil &&
			out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled
		return err
	})
	if err == nil && !enabled {
		err = &noLock{"it has no lock configuration"}
	}
	return err
}

func (s *Store) mode() types.ObjectLockMode {
	if s.o.Compliance {
		return types.ObjectLockModeCompliance
	}
	return types.ObjectLockModeGovernance
}

// retained tells the refusal to delete a locked object from other refusals.
func (s *Store) retained(ctx context.Context, key string, err error) error {
	if err == nil || !errors.Is(err, blob.ErrPermission) {
		return err
	}
	until, asked := s.retainedUntil(ctx, key)
	switch {
	case asked == nil && until.After(time.Now()):
		return fmt.Errorf("%w until %s", blob.ErrRetained, until.UTC().Format(time.RFC3339))
	case strings.Contains(err.Error(), "object lock"): // what Amazon S3 says, also of a legal hold
		return fmt.Errorf("%w: %w", blob.ErrRetained, err)
	}
	return err
}

// wholeSecond rounds up, because servers keep whole seconds.
func wholeSecond(t time.Time) time.Time {
	if w := t.UTC().Truncate(time.Second); w.Before(t) {
		return w.Add(time.Second)
	}
	return t.UTC()
}
