package keys

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/repo"
)

const (
	linkVersion = 1 // of a link of a chain
	keyVersion  = 2 // of what a KMS key wraps; 1 is what a root key wraps
	// linkHead is the version byte, the version of the key and the length of its ARN.
	linkHead = 1 + 4 + 2
	// wrapHead is the version byte and the version of the key.
	wrapHead = 1 + 4
)

// KeyName names one version of a KMS key.
type KeyName struct {
	Account, Region string
	ID              string // of the key, a UUID
	Version         uint32 // from 1
}

// ARN is the key's name for clients, the same for all its versions.
func (n KeyName) ARN() string {
	return "arn:aws:kms:" + n.Region + ":" + n.Account + ":key/" + n.ID
}

// bind is what the material of the version is bound to where a root key wraps it.
func (n KeyName) bind() []byte {
	return fmt.Appendf(nil, "lockfast v1 kms key|%s|%s|%d", n.Account, n.ID, n.Version)
}

// Key is an open version of a KMS key. Its vault keys are wrapped at the end of a chain of one link, which holds the
// version's material, wrapped by the root key (docs/format.md section 5.6). It never shows itself, and may be used
// concurrently.
type Key struct {
	name KeyName
	link []byte
	wrap cipher.AEAD // for vault keys
	data cipher.AEAD // for what users encrypt
}

// NewMaterial draws the material of a version of a KMS key and returns it wrapped by the root key.
func (r *Root) NewMaterial(ctx context.Context, n KeyName) ([]byte, error) {
	material := make([]byte, keySize)
	rand.Read(material) // never fails
	return r.Wrap(ctx, material, n.bind())
}

// RewrapMaterial wraps the material of a version anew, under the root key itself. Errors are those of [Root.Unwrap].
func (r *Root) RewrapMaterial(ctx context.Context, n KeyName, wrapped []byte) ([]byte, error) {
	material, err := r.Unwrap(ctx, wrapped, n.bind())
	if err != nil {
		return nil, fmt.Errorf("rewrap KMS key %s version %d: %w", n.ARN(), n.Version, err)
	}
	return r.Wrap(ctx, material, n.bind())
}

// OpenKey opens a version of a KMS key from its wrapped material. Errors are those of [Root.Unwrap].
func (r *Root) OpenKey(ctx context.Context, n KeyName, wrapped []byte) (*Key, error) {
	material, err := r.Unwrap(ctx, wrapped, n.bind())
	if err != nil {
		return nil, fmt.Errorf("open KMS key %s version %d: %w", n.ARN(), n.Version, err)
	}
	if len(material) != keySize {
		return nil, fmt.Errorf("open KMS key %s version %d: %w", n.ARN(), n.Version, repo.ErrDamaged)
	}
	k := &Key{name: n, link: appendLink(n, wrapped)}
	if k.wrap, err = subkey(material, "lockfast v1 kms wrap"); err != nil {
		return nil, err
	}
	k.data, err = subkey(material, "lockfast v1 kms data")
	return k, err
}

func subkey(material []byte, info string) (cipher.AEAD, error) {
	b, err := hkdf.Key(sha256.New, material, nil, info, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// appendLink encodes the link of a version.
func appendLink(n KeyName, wrapped []byte) []byte {
	name := n.ARN()
	b := binary.LittleEndian.AppendUint32([]byte{linkVersion}, n.Version)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	return append(append(b, name...), wrapped...)
}

var errLink = errors.New("link of a chain of keys that this program does not know")

// parseLink is the inverse of appendLink.
func parseLink(link []byte) (n KeyName, wrapped []byte, err error) {
	if len(link) < linkHead || link[0] != linkVersion {
		return n, nil, fmt.Errorf("%w: %w", errLink, repo.ErrFormat)
	}
	rest, size := link[linkHead:], int(binary.LittleEndian.Uint16(link[5:]))
	if len(rest) < size {
		return n, nil, fmt.Errorf("link of a chain of keys: %w", repo.ErrDamaged)
	}
	name, err := arn.Parse(string(rest[:size]))
	id, ok := strings.CutPrefix(name.Resource, "key/")
	n = KeyName{Account: name.Account, Region: name.Region, ID: id, Version: binary.LittleEndian.Uint32(link[1:])}
	if err != nil || !ok || name.String() != n.ARN() {
		return n, nil, fmt.Errorf("link of a chain of keys: %w", repo.ErrDamaged)
	}
	return n, rest[size:], nil
}

// ParseLink reads a link of the chain in a key object: which version of which KMS key it is, and its material as the root
// key wrapped it, which [Root.OpenKey] opens.
func ParseLink(link []byte) (n KeyName, wrapped []byte, err error) { return parseLink(link) }

// Links implements [repo.ChainWrapper]: the root key hangs on nothing.
func (r *Root) Links() [][]byte { return nil }

// UnwrapLinked implements [repo.ChainWrapper]: it opens what the root key itself wrapped, and what was wrapped by a KMS
// key that the root key wrapped.
func (r *Root) UnwrapLinked(ctx context.Context, keyID string, links [][]byte, wrapped, bind []byte) ([]byte, error) {
	switch len(links) {
	case 0:
		return r.Unwrap(ctx, wrapped, bind)
	case 1:
	default:
		return nil, fmt.Errorf("chain of %d keys: %w", len(links), repo.ErrFormat)
	}
	name, material, err := parseLink(links[0])
	if err != nil {
		return nil, err
	}
	if name.ARN() != keyID {
		return nil, fmt.Errorf("link of a chain of keys is of %s, not of %s: %w", name.ARN(), keyID, repo.ErrDamaged)
	}
	k, err := r.OpenKey(ctx, name, material)
	if err != nil {
		return nil, err
	}
	return k.Unwrap(ctx, wrapped, bind)
}

// KeyID names the key for the operator: its ARN.
func (k *Key) KeyID() string { return k.name.ARN() }

// Current implements [repo.Renewer].
func (k *Key) Current(keyID string, links [][]byte, wrapped []byte) bool {
	return keyID == k.KeyID() && len(links) == 1 && bytes.Equal(links[0], k.link) && len(wrapped) >= wrapHead &&
		wrapped[0] == keyVersion && binary.LittleEndian.Uint32(wrapped[1:]) == k.name.Version
}

// Rotated implements [repo.Renewer]: an older version wrapped it, or another key.
func (k *Key) Rotated(keyID string, wrapped []byte) bool {
	return keyID != k.KeyID() || len(wrapped) < wrapHead || wrapped[0] != keyVersion ||
		binary.LittleEndian.Uint32(wrapped[1:]) < k.name.Version
}

// Fingerprint stands for what wraps vault keys now: the version, and the root key that wraps it.
func (k *Key) Fingerprint() string {
	sum := sha256.Sum256(k.link)
	return hex.EncodeToString(sum[:])
}

// Links implements [repo.ChainWrapper].
func (k *Key) Links() [][]byte { return [][]byte{k.link} }

// UnwrapLinked implements [repo.ChainWrapper] for what this version wrapped.
func (k *Key) UnwrapLinked(ctx context.Context, _ string, _ [][]byte, wrapped, bind []byte) ([]byte, error) {
	return k.Unwrap(ctx, wrapped, bind)
}

// Wrap encrypts a vault key, bound to bind.
func (k *Key) Wrap(_ context.Context, key, bind []byte) ([]byte, error) {
	head := binary.LittleEndian.AppendUint32([]byte{keyVersion}, k.name.Version)
	return k.wrap.Seal(head, nil, key, append(head[:wrapHead:wrapHead], bind...)), nil
}

// Unwrap is the inverse of Wrap. The error wraps [repo.ErrWrongKey] if another version wrapped it, and
// [repo.ErrDamaged] if it was altered, is bound to something else, or another key wrapped it.
func (k *Key) Unwrap(_ context.Context, wrapped, bind []byte) ([]byte, error) {
	if len(wrapped) < wrapHead || wrapped[0] != keyVersion {
		return nil, fmt.Errorf("unwrap key: %w", repo.ErrDamaged)
	}
	head := wrapped[:wrapHead:wrapHead]
	if v := binary.LittleEndian.Uint32(head[1:]); v != k.name.Version {
		return nil, fmt.Errorf("unwrap key: %w: it was wrapped with version %d of KMS key %s, this is version %d",
			repo.ErrWrongKey, v, k.KeyID(), k.name.Version)
	}
	key, err := k.wrap.Open(nil, nil, wrapped[wrapHead:], append(head, bind...))
	if err != nil {
		return nil, fmt.Errorf("unwrap key: %w", repo.ErrDamaged)
	}
	return key, nil
}

// Encrypt encrypts what a user wants to keep secret, together with additional data that it is bound to. Each call
// draws a new nonce.
func (k *Key) Encrypt(plain, additional []byte) []byte {
	return k.data.Seal(nil, nil, plain, additional)
}

// Decrypt is the inverse of Encrypt. The error wraps [repo.ErrDamaged].
func (k *Key) Decrypt(sealed, additional []byte) ([]byte, error) {
	plain, err := k.data.Open(nil, nil, sealed, additional)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", repo.ErrDamaged)
	}
	return plain, nil
}

// String names the key without showing it.
func (k *Key) String() string { return fmt.Sprintf("KMS key %s version %d", k.KeyID(), k.name.Version) }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// Format prints String for every verb.
func (k *Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.String()) }

// LogValue is String.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
