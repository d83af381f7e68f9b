package keys

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/repo"
)

// sealedMagic begins a key file that holds a sealed key: lockfast-sealed-root-key-1:ID:SUM:SEALED. ID and SUM are as in a
// plain one, SUM over ID and SEALED; SEALED is what the sealer returned.
const sealedMagic = "lockfast-sealed-root-key-1"

// errNoSealer says that a sealed key cannot be opened here.
var errNoSealer = errors.New("the root key in it is sealed by a transit service; set root_key in the configuration, " +
	"or use a recovery kit that `lockfast key export` wrote")

// errSealed says that a file only looks like one of a sealed key.
var errSealed = errors.New("not a sealed root key file, or a damaged one")

func (f File) seal(ctx context.Context, r *Root) (string, error) {
	if f.Sealer == nil {
		return "", errors.New("there is nothing that seals root keys")
	}
	sealed, err := f.Sealer.Seal(ctx, r.KeyID(), []byte(r.encode()))
	if err != nil {
		return "", err
	}
	return strings.Join([]string{sealedMagic, r.KeyID(), checksum(r.KeyID() + ":" + sealed), sealed}, ":") + "\n", nil
}

func (f File) unseal(ctx context.Context, text string) (*Root, error) {
	id, sealed, err := parseSealed(text)
	if err != nil {
		return nil, err
	}
	if f.Sealer == nil {
		return nil, errNoSealer
	}
	plain, err := f.Sealer.Unseal(ctx, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("open root key %s: %w", id, err)
	}
	r, err := decode(string(plain))
	if err != nil {
		return nil, fmt.Errorf("open root key %s: %w: what the transit service returned is not a root key", id, repo.ErrDamaged)
	}
	if r.KeyID() != id {
		return nil, fmt.Errorf("open root key %s: %w: the transit service returned root key %s", id, repo.ErrWrongKey, r.KeyID())
	}
	return r, nil
}

func parseSealed(text string) (id, sealed string, err error) {
	parts := strings.SplitN(strings.TrimSpace(text), ":", 4)
	if len(parts) != 4 || parts[0] != sealedMagic || len(parts[1]) != 2*idSize || parts[2] != checksum(parts[1]+":"+parts[3]) {
		return "", "", errSealed
	}
	return parts[1], parts[3], nil
}

// versionOf is the version of the transit key in a ciphertext, vault:vN:...; 0 if it does not say.
func versionOf(sealed string) uint64 {
	parts := strings.SplitN(sealed, ":", 3)
	if len(parts) < 3 {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimPrefix(parts[1], "v"), 10, 32)
	return n
}
