package kms

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// A ciphertext is a version byte, the 16 bytes of the id of the key, the version of the key (u32, little endian), and
// what [keys.Key.Encrypt] makes of the plain text, with these bytes and the encryption context as additional data.
const (
	blobVersion = 1
	blobHead    = 1 + 16 + 4
)

// additional is what a ciphertext is bound to: its head and the encryption context, in the order of its keys.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html.
func additional(head []byte, bound map[string]string) []byte {
	b := slices.Clone(head)
	for _, k := range slices.Sorted(maps.Keys(bound)) {
		for _, text := range []string{k, bound[k]} {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
			b = append(b, text...)
		}
	}
	return b
}

// options are what the operations of the data plane have in common and what is not supported of it.
type options struct {
	grants    []string
	dryRun    *bool
	recipient *kmsapi.RecipientInfo
	algorithm *kmsapi.EncryptionAlgorithmSpec
}

func (o options) check() error {
	switch {
	case o.recipient != nil:
		return kmsapi.UnsupportedOperationExceptionf("Recipient is not supported: there are no enclaves.")
	case o.algorithm != nil && *o.algorithm != kmsapi.EncryptionAlgorithmSpecSymmetricDefault:
		return kmsapi.InvalidKeyUsageExceptionf("Algorithm %s is incompatible with key spec %s.", *o.algorithm, kmsapi.KeySpecSymmetricDefault)
	}
	return noGrants(o.grants)
}

// dry ends an operation that is only tried.
func (o options) dry() error {
	if deref(o.dryRun) {
		return kmsapi.DryRunOperationExceptionf("The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

// encrypt encrypts with a key as operations name it.
func (s *Service) encrypt(ctx context.Context, ref string, plain []byte, bound map[string]string, o options) (k key, blob []byte, err error) {
	if err := o.check(); err != nil {
		return k, nil, err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if k, err = find(ctx, tx, ref, ""); err != nil {
			return err
		}
		if err := k.usable(); err != nil {
			return err
		}
		opened, err := s.open(ctx, tx, k, k.version)
		if err != nil {
			return err
		}
		id, err := uuid.Parse(k.id)
		if err != nil {
			return err
		}
		head := binary.LittleEndian.AppendUint32(append([]byte{blobVersion}, id[:]...), k.version)
		blob = append(head, opened.Encrypt(plain, additional(head, bound))...)
		return o.dry()
	})
	return k, blob, err
}

// keyIn returns the id of the key that made a ciphertext.
func keyIn(blob []byte) (id string, ok bool) {
	if len(blob) < blobHead || blob[0] != blobVersion {
		return "", false
	}
	return uuid.UUID(blob[1:17]).String(), true
}

// badCiphertext does not tell what is wrong with a ciphertext.
func badCiphertext() error {
	return kmsapi.InvalidCiphertextExceptionf("The ciphertext is not valid for this encryption context, or no key here made it.")
}

// decrypt is the inverse of encrypt. ref, if there is one, has to name the key that encrypted.
func (s *Service) decrypt(ctx context.Context, ref *string, blob []byte, bound map[string]string, o options) (k key, plain []byte, err error) {
	if err := o.check(); err != nil {
		return k, nil, err
	}
	id, ok := keyIn(blob)
	if !ok {
		return k, nil, badCiphertext()
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if k, err = find(ctx, tx, id, ""); err != nil {
			return err
		}
		if ref != nil {
			named, err := find(ctx, tx, *ref, "")
			if err != nil {
				return err
			}
			if named.id != k.id {
				return kmsapi.IncorrectKeyExceptionf("The key ID in the request does not identify a CMK that can perform this operation.")
			}
		}
		if err := k.usable(); err != nil {
			return err
		}
		opened, err := s.open(ctx, tx, k, binary.LittleEndian.Uint32(blob[17:]))
		if err == nil {
			plain, err = opened.Decrypt(blob[blobHead:], additional(blob[:blobHead], bound))
		}
		if errors.Is(err, errNoVersion) || errors.Is(err, repo.ErrDamaged) {
			return badCiphertext()
		}
		if err != nil {
			return err
		}
		return o.dry()
	})
	return k, plain, err
}

// Encrypt encrypts up to 4 KiB.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html.
func (s *Service) Encrypt(ctx context.Context, in *kmsapi.EncryptInput) (*kmsapi.EncryptOutput, error) {
	k, blob, err := s.encrypt(ctx, in.KeyId, in.Plaintext, in.EncryptionContext,
		options{grants: in.GrantTokens, dryRun: in.DryRun, algorithm: in.EncryptionAlgorithm})
	if err != nil {
		return nil, err
	}
	return &kmsapi.EncryptOutput{CiphertextBlob: blob, KeyId: new(k.arn()),
		EncryptionAlgorithm: new(kmsapi.EncryptionAlgorithmSpecSymmetricDefault)}, nil
}

// Decrypt decrypts what a key of the account in the region encrypted, whatever its version then.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html.
func (s *Service) Decrypt(ctx context.Context, in *kmsapi.DecryptInput) (*kmsapi.DecryptOutput, error) {
	if len(in.DryRunModifiers) > 0 {
		return nil, kmsapi.UnsupportedOperationExceptionf("DryRunModifiers is not supported.")
	}
	k, plain, err := s.decrypt(ctx, in.KeyId, in.CiphertextBlob, in.EncryptionContext,
		options{grants: in.GrantTokens, dryRun: in.DryRun, algorithm: in.EncryptionAlgorithm, recipient: in.Recipient})
	if err != nil {
		return nil, err
	}
	return &kmsapi.DecryptOutput{Plaintext: plain, KeyId: new(k.arn()),
		EncryptionAlgorithm: new(kmsapi.EncryptionAlgorithmSpecSymmetricDefault)}, nil
}

// ReEncrypt decrypts with one key and encrypts with another.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ReEncrypt.html.
func (s *Service) ReEncrypt(ctx context.Context, in *kmsapi.ReEncryptInput) (*kmsapi.ReEncryptOutput, error) {
	if len(in.DryRunModifiers) > 0 {
		return nil, kmsapi.UnsupportedOperationExceptionf("DryRunModifiers is not supported.")
	}
	from, plain, err := s.decrypt(ctx, in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext,
		options{grants: in.GrantTokens, algorithm: in.SourceEncryptionAlgorithm})
	if err != nil {
		return nil, err
	}
	to, blob, err := s.encrypt(ctx, in.DestinationKeyId, plain, in.DestinationEncryptionContext,
		options{dryRun: in.DryRun, algorithm: in.DestinationEncryptionAlgorithm})
	if err != nil {
		return nil, err
	}
	symmetric := kmsapi.EncryptionAlgorithmSpecSymmetricDefault
	return &kmsapi.ReEncryptOutput{CiphertextBlob: blob, SourceKeyId: new(from.arn()), KeyId: new(to.arn()),
		SourceEncryptionAlgorithm: &symmetric, DestinationEncryptionAlgorithm: &symmetric}, nil
}

// dataKey draws a data key of the size that is asked for.
func dataKey(spec *kmsapi.DataKeySpec, bytes *int) ([]byte, error) {
	size := 0
	switch {
	case (spec == nil) == (bytes == nil):
		return nil, validation("Please specify either number of bytes or key spec.")
	case bytes != nil:
		size = *bytes
	case *spec == kmsapi.DataKeySpecAes256:
		size = 32
	case *spec == kmsapi.DataKeySpecAes128:
		size = 16
	}
	b := make([]byte, size)
	rand.Read(b) // never fails
	return b, nil
}

// GenerateDataKey draws a key, and answers it in the clear and encrypted.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html.
func (s *Service) GenerateDataKey(ctx context.Context, in *kmsapi.GenerateDataKeyInput) (*kmsapi.GenerateDataKeyOutput, error) {
	plain, err := dataKey(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	k, blob, err := s.encrypt(ctx, in.KeyId, plain, in.EncryptionContext,
		options{grants: in.GrantTokens, dryRun: in.DryRun, recipient: in.Recipient})
	if err != nil {
		return nil, err
	}
	return &kmsapi.GenerateDataKeyOutput{CiphertextBlob: blob, Plaintext: plain, KeyId: new(k.arn())}, nil
}

// GenerateDataKeyWithoutPlaintext draws a key and answers it encrypted.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKeyWithoutPlaintext.html.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) (
	*kmsapi.GenerateDataKeyWithoutPlaintextOutput, error,
) {
	plain, err := dataKey(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	k, blob, err := s.encrypt(ctx, in.KeyId, plain, in.EncryptionContext, options{grants: in.GrantTokens, dryRun: in.DryRun})
	if err != nil {
		return nil, err
	}
	return &kmsapi.GenerateDataKeyWithoutPlaintextOutput{CiphertextBlob: blob, KeyId: new(k.arn())}, nil
}
