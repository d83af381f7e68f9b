package iam

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// A session token is the standard base64 of
//
//	version   one byte, 1
//	sealed    AES-256-GCM, with its random nonce, of the deflated JSON of a grant;
//	          bound to the version and to the access key id that goes with the token
//
// The secret access key is derived from the token. So every server of an installation can check a session without having
// heard of it, and there is nothing to clean up. Policies of the role are not in it: they are read when they are applied.
const (
	tokenVersion = 1
	maxToken     = 3800 // characters; with the other headers of a request well below 8 KiB
	maxGrant     = 64 << 10
)

// grant is what temporary credentials stand for.
type grant struct {
	Account string            `json:"a"`
	Role    string            `json:"r,omitempty"` // name; empty for a session of a user
	ID      string            `json:"i"`           // unique id of the role or user
	Session string            `json:"s,omitempty"`
	Issued  int64             `json:"t"` // seconds since 1970
	Expires int64             `json:"e"`
	Limited bool              `json:"l,omitempty"`
	Inline  []string          `json:"p,omitempty"`
	Managed []string          `json:"m,omitempty"`
	Tags    map[string]string `json:"g,omitempty"`
	Inherit []string          `json:"h,omitempty"`
	Source  string            `json:"o,omitempty"`
}

var errTokenTooLong = errors.New("session token is too long")

// tokens makes and opens session tokens.
type tokens struct {
	aead   cipher.AEAD
	secret []byte
}

func newTokens(key [32]byte) *tokens {
	block, err := aes.NewCipher(derive(key, "session token"))
	if err != nil {
		panic("iam: " + err.Error()) // only for keys of a wrong length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("iam: " + err.Error())
	}
	return &tokens{aead: aead, secret: derive(key, "session secret")}
}

func derive(key [32]byte, info string) []byte {
	b, err := hkdf.Key(sha256.New, key[:], nil, info, 32)
	if err != nil {
		panic("iam: " + err.Error()) // only for absurd lengths
	}
	return b
}

func tokenBind(accessKeyID string) []byte { return append([]byte{tokenVersion}, accessKeyID...) }

// seal makes a token and the secret that goes with it.
func (t *tokens) seal(accessKeyID string, g *grant) (token, secret string, err error) {
	text, err := json.Marshal(g)
	if err != nil {
		return "", "", err
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return "", "", err
	}
	_, err = w.Write(text)
	if err = errors.Join(err, w.Close()); err != nil {
		return "", "", err
	}
	sealed := t.aead.Seal([]byte{tokenVersion}, nil, packed.Bytes(), tokenBind(accessKeyID))
	token = base64.StdEncoding.EncodeToString(sealed)
	if len(token) > maxToken {
		return "", "", errTokenTooLong
	}
	return token, t.secretOf(token), nil
}

// open is the inverse of seal. The error is [sigv4.ErrUnknownKey] for everything that seal did not make.
func (t *tokens) open(accessKeyID, token string) (g grant, secret string, err error) {
	if len(token) > maxToken || !strings.HasPrefix(accessKeyID, "ASIA") {
		return g, "", sigv4.ErrUnknownKey
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(sealed) == 0 || sealed[0] != tokenVersion {
		return g, "", sigv4.ErrUnknownKey
	}
	packed, err := t.aead.Open(nil, nil, sealed[1:], tokenBind(accessKeyID))
	if err != nil {
		return g, "", sigv4.ErrUnknownKey
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxGrant))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		return g, "", fmt.Errorf("read session token: %w", err)
	}
	return g, t.secretOf(token), nil
}

// secretOf derives 40 characters from the bytes of a token, as only who has the key can.
func (t *tokens) secretOf(token string) string {
	h := hmac.New(sha256.New, t.secret)
	h.Write([]byte(token))
	return base64.StdEncoding.EncodeToString(h.Sum(nil)[:30])
}

// lookupSession finds who calls with temporary credentials. They end with the user or role that they were made for, even if
// there is one of the same name again.
func (s *Service) lookupSession(ctx context.Context, accessKeyID, token string) (string, caller.Caller, error) {
	g, secret, err := s.tokens.open(accessKeyID, token)
	if err != nil {
		return "", caller.Caller{}, err
	}
	if time.Now().Unix() >= g.Expires {
		return "", caller.Caller{}, sigv4.ErrExpired
	}
	c := caller.Caller{Account: g.Account, AccessKeyID: accessKeyID, Kind: caller.User, UserID: g.ID, Session: g.session()}
	if g.Role != "" {
		c.Kind, c.Name, c.UserID = caller.RoleSession, g.Role, g.ID+":"+g.Session
	}
	p, err := s.principalOf(ctx, &c)
	if err != nil {
		return "", caller.Caller{}, fmt.Errorf("look up session: %w", err)
	}
	if p == nil {
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	}
	c.Name, c.ARN = p.name, p.arn()
	if g.Role != "" {
		c.RoleARN, c.ARN = p.arn(), sessionARN(g.Account, p.name, g.Session)
	}
	return secret, c, nil
}

func (g *grant) session() *caller.Session {
	return &caller.Session{
		Name: g.Session, Issued: time.Unix(g.Issued, 0).UTC(), Expires: time.Unix(g.Expires, 0).UTC(),
		Policies: g.Inline, PolicyARNs: g.Managed, Limited: g.Limited,
		Tags: g.Tags, TransitiveTags: g.Inherit, SourceIdentity: g.Source,
	}
}

// sessionARN leaves out the role's path, as AWS does.
func sessionARN(account, role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// sessionPolicies compiles what limits a session. Managed policies are read as they are today; one that is gone allows
// nothing.
func (s *Service) sessionPolicies(ctx context.Context, c *caller.Caller) ([]*policy.Document, error) {
	t := thing{sessionPolicies, c.Account, c.AccessKeyID}
	return recall(ctx, s, t, func(ctx context.Context, tx *meta.Tx) ([]*policy.Document, error) {
		var out []*policy.Document
		for _, text := range c.Session.Policies {
			out = append(out, compile(text))
		}
		for _, a := range c.Session.PolicyARNs {
			d, err := managedDocument(ctx, tx, a)
			if err != nil {
				return nil, err
			}
			if d != nil {
				out = append(out, d)
			}
		}
		return out, nil
	})
}
