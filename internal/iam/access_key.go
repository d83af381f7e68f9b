package iam

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/sigv4"
)

const (
	cacheFor  = 10 * time.Second // an inactive key is refused after that at the latest
	cacheSize = 1000
)

// cache remembers owners of access keys, so that not every request decrypts a secret.
type cache struct {
	mu      sync.Mutex
	entries map[string]entry // by access key id; guarded by mu
}

type entry struct {
	secret string
	owner  caller.Caller
	until  time.Time
}

func (c *cache) get(id string, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[id]
	return e, ok && now.Before(e.until)
}

func (c *cache) put(id string, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= cacheSize {
		c.entries = map[string]entry{}
	}
	c.entries[id] = e
}

func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
}

// Lookup finds the secret and the owner of an access key. It is a
// [sigv4.Lookup]; there are no session tokens yet.
func (s *Service) Lookup(ctx context.Context, accessKeyID, sessionToken string) (string, caller.Caller, error) {
	if sessionToken != "" {
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	}
	now := time.Now()
	if e, ok := s.cache.get(accessKeyID, now); ok {
		return e.secret, e.owner, nil
	}
	e := entry{owner: caller.Caller{AccessKeyID: accessKeyID}, until: now.Add(cacheFor)}
	var (
		wrapped []byte
		active  bool
		name    string
	)
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, `SELECT u.account, u.name, u.user_id, k.secret, k.active FROM iam_access_key k
			JOIN iam_user u ON u.account = k.account AND u.name = k.user_name WHERE k.id = ?`, accessKeyID).
			Scan(&e.owner.Account, &name, &e.owner.UserID, &wrapped, &active)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	case err != nil:
		return "", caller.Caller{}, fmt.Errorf("look up access key: %w", err)
	case !active:
		return "", caller.Caller{}, sigv4.ErrInactive
	}
	secret, err := s.keys.Unwrap(ctx, wrapped, bindTo(accessKeyID))
	if err != nil {
		return "", caller.Caller{}, fmt.Errorf("look up access key %s: %w", accessKeyID, err)
	}
	e.owner.ARN, e.secret = userARN(e.owner.Account, name), string(secret)
	s.cache.put(accessKeyID, e)
	return e.secret, e.owner, nil
}

func bindTo(accessKeyID string) []byte { return []byte("access key " + accessKeyID) }

// EnsureAdministrator makes sure that an account has its administrator with an
// access key, and returns the oldest one. created says that it is new.
func (s *Service) EnsureAdministrator(ctx context.Context, account string) (
	accessKeyID, secret string, created bool, err error,
) {
	if !isAccount(account) {
		return "", "", false, fmt.Errorf("account %q: want 12 digits", account)
	}
	newID, newSecret := "AKIA"+letters(16), newSecret()
	wrappedNew, err := s.keys.Wrap(ctx, []byte(newSecret), bindTo(newID))
	if err != nil {
		return "", "", false, fmt.Errorf("create administrator: %w", err)
	}
	var wrapped []byte
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		created = false
		accessKeyID, wrapped, err = oldestKey(ctx, tx, account)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		created, accessKeyID, wrapped = true, newID, wrappedNew
		return insertAdministrator(ctx, tx, account, newID, wrappedNew)
	})
	if s.db.IsDuplicate(err) { // another process was faster
		return s.EnsureAdministrator(ctx, account)
	}
	if err != nil {
		return "", "", false, fmt.Errorf("create administrator: %w", err)
	}
	plain, err := s.keys.Unwrap(ctx, wrapped, bindTo(accessKeyID))
	if err != nil {
		return "", "", false, fmt.Errorf("access key %s: %w", accessKeyID, err)
	}
	return accessKeyID, string(plain), created, nil
}

func oldestKey(ctx context.Context, tx *meta.Tx, account string) (id string, wrapped []byte, err error) {
	err = tx.QueryRow(ctx, `SELECT id, secret FROM iam_access_key WHERE account = ? AND user_name = ? AND active
		ORDER BY created_at, id LIMIT 1`, account, administrator).Scan(&id, &wrapped)
	return id, wrapped, err
}

func insertAdministrator(ctx context.Context, tx *meta.Tx, account, keyID string, wrapped []byte) error {
	now := meta.Micros(time.Now())
	_, err := tx.Exec(ctx, "INSERT INTO iam_user (account, name, user_id, created_at) VALUES (?, ?, ?, ?)",
		account, administrator, "AIDA"+letters(17), now)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO iam_access_key (id, account, user_name, secret, active, created_at) VALUES (?, ?, ?, ?, TRUE, ?)",
		keyID, account, administrator, wrapped, now)
	return err
}

func isAccount(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) == 12
}

// letters draws n base32 characters, the alphabet of AWS's ids.
func letters(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base32.StdEncoding.EncodeToString(b)[:n]
}

// newSecret draws 40 characters.
func newSecret() string {
	b := make([]byte, 30)
	rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}
