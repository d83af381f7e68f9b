package s3_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

func TestConforms_WithObjectLock(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	blobtest.Run(t, func(t *testing.T) blob.Store { return s3test.Open(t, g.Locked(t), s3.Options{}) })
}

func TestPut_RetainsWhatItIsTold(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	for _, compliance := range []bool{false, true} {
		l := g.Locked(t)
		s := s3test.Open(t, l, s3.Options{Compliance: compliance, Retain: func(name blob.Name) time.Time {
			if strings.HasPrefix(string(name), "d/") {
				return time.Now().Add(24 * time.Hour)
			}
			return time.Time{}
		}})
		put(t, s, "d/pack", "bytes")
		put(t, s, "x/segment", "bytes")
		if err := s.Delete(t.Context(), "d/pack"); !errors.Is(err, blob.ErrRetained) || !errors.Is(err, blob.ErrPermission) {
			t.Errorf("Delete of what is retained = %v, want %v", err, blob.ErrRetained)
		}
		if err := s.Delete(t.Context(), "x/segment"); err != nil {
			t.Errorf("Delete of what is not = %v", err)
		}
		if _, err := s.Stat(t.Context(), "d/pack"); err != nil {
			t.Error(err)
		}
		other := s3test.Open(t, l, s3.Options{})
		if err := other.Retain(t.Context(), "d/pack", time.Now().Add(time.Hour)); err != nil {
			t.Errorf("Retain for less than before = %v", err)
		}
		if err := other.Delete(t.Context(), "d/pack"); !errors.Is(err, blob.ErrRetained) {
			t.Errorf("Delete after Retain for less = %v", err)
		}
	}
}

func TestRetain_WithoutObjectLock(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	put(t, s, "d/pack", "bytes")
	if err := s.Retain(t.Context(), "d/pack", time.Now().Add(time.Hour)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Retain = %v, want %v", err, errors.ErrUnsupported)
	}
	_, err := s3.Open(t.Context(), l, s3.Options{Credentials: s3test.Credentials(), Retain: func(blob.Name) time.Time { return time.Time{} }})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "object lock") {
		t.Errorf("Open = %v, want %v that names object lock", err, errors.ErrUnsupported)
	}
}
