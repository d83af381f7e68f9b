// Package kms is the noun behind encryption keys: the operations of AWS KMS that backup vaults and their users need.
//
// A key is a row with a policy and a state, and one version or more of 256 bits of material, wrapped by the root key.
// The highest version encrypts, all of them decrypt. Vaults hang on keys: the key of a vault is wrapped by the
// highest version, which [Service.RewrapVaults] sees to after a rotation. A key that is not Enabled opens nothing
// ([Service.CheckUsable]); [Service.Expire] destroys the keys whose deletion was scheduled and whose time has come.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html.
package kms

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"time"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/repo"
)

// ErrPrincipal is wrapped by errors of [Principals] for a principal that does not exist.
var ErrPrincipal = errors.New("principal does not exist")

// Root wraps the material of keys.
type Root interface {
	Renewer
	// Wrapped reports whether the root key wrapped something, rather than one that it is about to replace.
	Wrapped(wrapped []byte) bool
	// Domain derives the domain key of an account that has none yet.
	Domain(account string) [32]byte
	NewMaterial(ctx context.Context, n keys.KeyName) ([]byte, error)
	RewrapMaterial(ctx context.Context, n keys.KeyName, wrapped []byte) ([]byte, error)
	OpenKey(ctx context.Context, n keys.KeyName, wrapped []byte) (*keys.Key, error)
}

// Principals knows the users and roles that policies name.
type Principals interface {
	// PrincipalIDsTx returns the unique ids of those of the principals of a document that have one, by ARN.
	PrincipalIDsTx(ctx context.Context, tx *meta.Tx, principals []string) (map[string]string, error)
}

// Vaults knows what hangs on keys.
type Vaults interface {
	// VaultsOfKey returns the names of the vaults of a key, ordered.
	VaultsOfKey(ctx context.Context, keyARN string) ([]string, error)
	// Shred makes the data of all vaults of a key unreadable for ever. It may be repeated.
	Shred(ctx context.Context, keyARN string) error
	// HungVaults returns all vaults with their keys.
	HungVaults(ctx context.Context) ([]HungVault, error)
	// Rewrap wraps the keys of a vault anew, see [repo.Rewrap]. It returns false for one that has nothing in the store.
	Rewrap(ctx context.Context, vaultUUID string, to repo.Renewer, still func(context.Context) (bool, error)) (bool, error)
	// KeyRotated is told that [Service.RewrapVaults] has something to do.
	KeyRotated()
	// KeyChanged is told of a key that may no longer be used.
	KeyChanged(ctx context.Context)
}

// Options says what a [Service] works with.
type Options struct {
	DB         *meta.DB
	Root       Root
	Principals Principals
	Vaults     Vaults
	Pager      *restjson.Pager
	Now        func() time.Time // policy clock; nil is time.Now
	Log        *slog.Logger     // nil is none
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	o  Options
	db *meta.DB
}

// New makes the service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o: o, db: o.DB}
}

// now is the policy time in whole seconds, as the operations show it.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Second) }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "kms", Files: migrations}
}
