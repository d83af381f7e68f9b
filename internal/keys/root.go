// Package keys keeps the root key, in a file beside the data, and wraps other keys with it.
//
// The file holds the key itself or, where a transit service (OpenBao, HashiCorp Vault) guards it, the key as that service
// encrypted it, see [Transit]. The root key can be replaced: [Rotate] puts a new one in its place, and as long as the old
// one lies beside it ([Open] finds it) both open what they wrapped, and the new one wraps.
//
// The key file is one line of text, which may be printed and typed in again:
//
//	lockfast-root-key-1:ID:KEY:SUM
//
// KEY is 32 random bytes in hexadecimal. ID, 16 digits, is derived from KEY and
// names it in everything it wrapped and in messages. SUM, 8 digits, is the start
// of the SHA-256 of what stands before it with its colon, and tells a damaged
// file from a wrong one. Whoever has the file and the store can read every
// recovery point; without the file nobody can.
//
// A wrapped key is one version byte (1), 8 bytes of key id, a random nonce of 12
// bytes and the AES-256-GCM of the key with its tag. The encryption key is
// HKDF-SHA256 of the root key, without salt, for "lockfast/1/wrap"; the
// additional data is the version byte, the key id and what the key is bound to.
package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/lockfast/lockfast/repo"
)

const (
	keySize = 32
	idSize  = 8
	magic   = "lockfast-root-key-1"
	version = 1
	// headSize is the version byte and the key id of a wrapped key.
	headSize = 1 + idSize
	overhead = headSize + 12 + 16
)

// Root is a root key. It wraps and unwraps keys, concurrently, and never shows
// itself when printed or logged.
type Root struct {
	key  [keySize]byte
	id   [idSize]byte
	aead cipher.AEAD
	// older are the keys that this one replaces, the latest first; they only unwrap.
	older []*Root
}

func newRoot(key []byte) (*Root, error) {
	r := &Root{}
	copy(r.key[:], key)
	copy(r.id[:], r.derive("lockfast/1/id", idSize))
	block, err := aes.NewCipher(r.derive("lockfast/1/wrap", keySize))
	if err != nil {
		return nil, err
	}
	r.aead, err = cipher.NewGCMWithRandomNonce(block)
	return r, err
}

// generate draws a new key.
func generate() (*Root, error) {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return newRoot(key)
}

func (r *Root) derive(info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, r.key[:], nil, info, n)
	if err != nil {
		panic("keys: " + err.Error()) // only for absurd lengths
	}
	return b
}

// Derive makes a key for one purpose of this service, the same at every start.
// Keys of recovery points do not come from here; they are drawn and wrapped.
func (r *Root) Derive(purpose string) [32]byte {
	return [32]byte(r.derive("lockfast/1/derive/"+purpose, 32))
}

// Domain derives the key under which equal contents of an account's vaults get equal ids, for an account that has none yet.
// While the root key is about to replace another one, it is that one which accounts may have theirs from.
func (r *Root) Domain(account string) [32]byte {
	for _, old := range r.older {
		r = old
	}
	return r.Derive("domain of account " + account)
}

// KeyID names the key: 16 hexadecimal digits, not secret.
func (r *Root) KeyID() string { return hex.EncodeToString(r.id[:]) }

// Alone returns the key without those that it replaces.
func (r *Root) Alone() *Root {
	alone := *r
	alone.older = nil
	return &alone
}

// Replaces returns the key that this one is about to replace, as long as it is known; nil if there is none.
func (r *Root) Replaces() *Root {
	if len(r.older) == 0 {
		return nil
	}
	return r.older[0]
}

// Wrapped reports whether the key itself wrapped something, rather than one that it replaces.
func (r *Root) Wrapped(wrapped []byte) bool {
	return len(wrapped) >= headSize && wrapped[0] == version && [idSize]byte(wrapped[1:headSize]) == r.id
}

// Current implements [repo.Renewer].
func (r *Root) Current(keyID string, links [][]byte, wrapped []byte) bool {
	return keyID == r.KeyID() && len(links) == 0 && r.Wrapped(wrapped)
}

// Rotated implements [repo.Renewer]: another root key wraps the same vault keys.
func (r *Root) Rotated(string, []byte) bool { return false }

// Fingerprint stands for what wraps vault keys now, as [Key.Fingerprint].
func (r *Root) Fingerprint() string { return "root key " + r.KeyID() }

// Wrap encrypts key, bound to bind: it can only be unwrapped with the same bind.
func (r *Root) Wrap(_ context.Context, key, bind []byte) ([]byte, error) {
	head := r.head()
	return r.aead.Seal(head, nil, key, append(head[:headSize:headSize], bind...)), nil
}

// Unwrap is the inverse of Wrap, also of that of the keys that this one replaces.
// The error wraps [repo.ErrWrongKey] if wrapped was made with another root key, and
// names both; [repo.ErrDamaged] if it was altered or is bound to something else.
func (r *Root) Unwrap(ctx context.Context, wrapped, bind []byte) ([]byte, error) {
	for _, old := range r.older {
		if old.Wrapped(wrapped) {
			return old.Alone().Unwrap(ctx, wrapped, bind)
		}
	}
	if len(wrapped) < overhead || wrapped[0] != version {
		return nil, fmt.Errorf("unwrap key: %w", repo.ErrDamaged)
	}
	head := wrapped[:headSize:headSize]
	if id := hex.EncodeToString(head[1:]); id != r.KeyID() {
		return nil, fmt.Errorf("unwrap key: %w: it was wrapped with root key %s, the key file holds %s", repo.ErrWrongKey, id, r.KeyID())
	}
	key, err := r.aead.Open(nil, nil, wrapped[headSize:], append(head, bind...))
	if err != nil {
		return nil, fmt.Errorf("unwrap key: %w", repo.ErrDamaged)
	}
	return key, nil
}

func (r *Root) head() []byte {
	return append([]byte{version}, r.id[:]...)
}

// String names the key without showing it.
func (r *Root) String() string { return "root key " + r.KeyID() }

// GoString is String.
func (r *Root) GoString() string { return r.String() }

// Format prints String for every verb.
func (r *Root) Format(s fmt.State, _ rune) { fmt.Fprint(s, r.String()) }

// LogValue is String.
func (r *Root) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Export returns the text of the key, and of those that it is about to replace, for a recovery kit. Whoever has it has the
// keys.
func (r *Root) Export() (lines []string) {
	lines = append(lines, strings.TrimSpace(r.encode()))
	for _, old := range r.older {
		lines = append(lines, old.Export()...)
	}
	return lines
}

// errMalformed is wrapped with the name of the file.
var errMalformed = errors.New("not a root key file, or a damaged one")

// encode is the text of the key file.
func (r *Root) encode() string {
	text := strings.Join([]string{magic, r.KeyID(), hex.EncodeToString(r.key[:])}, ":") + ":"
	return text + checksum(text) + "\n"
}

func checksum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// decode reads the text of a key file.
func decode(text string) (*Root, error) {
	text = strings.TrimSpace(text)
	if name, _, _ := strings.Cut(text, ":"); name != magic && strings.HasPrefix(name, "lockfast-root-key-") {
		return nil, fmt.Errorf("key file version %.20q is not known to this program", strings.TrimPrefix(name, "lockfast-root-key-"))
	}
	parts := strings.Split(text, ":")
	if len(parts) != 4 || parts[0] != magic || len(parts[2]) != 2*keySize {
		return nil, errMalformed
	}
	key, err := hex.DecodeString(parts[2])
	if err != nil || parts[3] != checksum(strings.TrimSuffix(text, parts[3])) {
		return nil, errMalformed
	}
	r, err := newRoot(key)
	if err != nil {
		return nil, err
	}
	if r.KeyID() != parts[1] {
		return nil, errMalformed
	}
	return r, nil
}
