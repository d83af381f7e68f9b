package iam

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// accessKey is a permanent access key with its owner.
type accessKey struct {
	secret string
	active bool
	owner  caller.Caller
}

// Lookup finds the secret and the owner of an access key. It is a [sigv4.Lookup].
func (s *Service) Lookup(ctx context.Context, accessKeyID, sessionToken string) (string, caller.Caller, error) {
	if sessionToken != "" {
		return s.lookupSession(ctx, accessKeyID, sessionToken)
	}
	k, err := recall(ctx, s, thing{what: accessKeys, name: accessKeyID}, func(ctx context.Context, tx *meta.Tx) (*accessKey, error) {
		return s.readAccessKey(ctx, tx, accessKeyID)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	case err != nil:
		return "", caller.Caller{}, fmt.Errorf("look up access key: %w", err)
	case !k.active:
		return "", caller.Caller{}, sigv4.ErrInactive
	}
	return k.secret, k.owner, nil
}

func (s *Service) readAccessKey(ctx context.Context, tx *meta.Tx, id string) (*accessKey, error) {
	k := &accessKey{owner: caller.Caller{AccessKeyID: id, Kind: caller.User}}
	var (
		wrapped []byte
		path    string
	)
	err := tx.QueryRow(ctx, `SELECT u.account, u.name, u.path, u.user_id, k.secret, k.active FROM iam_access_key k
		JOIN iam_user u ON u.account = k.account AND u.name = k.user_name WHERE k.id = ?`, id).
		Scan(&k.owner.Account, &k.owner.Name, &path, &k.owner.UserID, &wrapped, &k.active)
	if err != nil {
		return nil, err
	}
	secret, err := s.keys.Unwrap(ctx, wrapped, bindTo(id))
	if err != nil {
		return nil, fmt.Errorf("access key %s: %w", id, err)
	}
	k.owner.ARN, k.secret = userARN(k.owner.Account, path, k.owner.Name), string(secret)
	return k, nil
}

func userARN(account, path, name string) string {
	return "arn:aws:iam::" + account + ":user" + path + name
}

func bindTo(accessKeyID string) []byte { return []byte("access key " + accessKeyID) }

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
