package kms

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/json11"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// Routes registers the operations of KMS and of Lockfast.
func (s *Service) Routes(r *json11.Router, own *restjson.Router) {
	json11.Handle(r, kmsapi.CreateKey, s.CreateKey, creates)
	json11.Handle(r, kmsapi.ListKeys, s.ListKeys, all[kmsapi.ListKeysInput]("kms:ListKeys"))
	json11.Handle(r, kmsapi.ListAliases, s.ListAliases, all[kmsapi.ListAliasesInput]("kms:ListAliases"))
	onKey(s, r, kmsapi.DescribeKey, s.DescribeKey, func(in *kmsapi.DescribeKeyInput) string { return in.KeyId })
	onKey(s, r, kmsapi.UpdateKeyDescription, s.UpdateKeyDescription, func(in *kmsapi.UpdateKeyDescriptionInput) string { return in.KeyId })
	onKey(s, r, kmsapi.EnableKey, s.EnableKey, func(in *kmsapi.EnableKeyInput) string { return in.KeyId })
	onKey(s, r, kmsapi.DisableKey, s.DisableKey, func(in *kmsapi.DisableKeyInput) string { return in.KeyId })
	onKey(s, r, kmsapi.ScheduleKeyDeletion, s.ScheduleKeyDeletion, func(in *kmsapi.ScheduleKeyDeletionInput) string { return in.KeyId })
	onKey(s, r, kmsapi.CancelKeyDeletion, s.CancelKeyDeletion, func(in *kmsapi.CancelKeyDeletionInput) string { return in.KeyId })
	onKey(s, r, kmsapi.GetKeyPolicy, s.GetKeyPolicy, func(in *kmsapi.GetKeyPolicyInput) string { return in.KeyId })
	onKey(s, r, kmsapi.PutKeyPolicy, s.PutKeyPolicy, func(in *kmsapi.PutKeyPolicyInput) string { return in.KeyId })
	onKey(s, r, kmsapi.ListKeyPolicies, s.ListKeyPolicies, func(in *kmsapi.ListKeyPoliciesInput) string { return in.KeyId })
	onKey(s, r, kmsapi.EnableKeyRotation, s.EnableKeyRotation, func(in *kmsapi.EnableKeyRotationInput) string { return in.KeyId })
	onKey(s, r, kmsapi.DisableKeyRotation, s.DisableKeyRotation, func(in *kmsapi.DisableKeyRotationInput) string { return in.KeyId })
	onKey(s, r, kmsapi.GetKeyRotationStatus, s.GetKeyRotationStatus, func(in *kmsapi.GetKeyRotationStatusInput) string { return in.KeyId })
	onKey(s, r, kmsapi.ListResourceTags, s.ListResourceTags, func(in *kmsapi.ListResourceTagsInput) string { return in.KeyId })
	json11.HandleOn(r, kmsapi.TagResource, s.TagResource,
		func(ctx context.Context, in *kmsapi.TagResourceInput) ([]json11.Access, error) {
			asked, err := s.on(ctx, "kms:TagResource", in.KeyId, nil)
			if err != nil {
				return nil, err
			}
			maps.Copy(asked[0].Keys, caller.Tagging("", "", tagMap(in.Tags))[0].Keys)
			return asked, nil
		})
	onKey(s, r, kmsapi.UntagResource, s.UntagResource, func(in *kmsapi.UntagResourceInput) string { return in.KeyId })
	s.aliasRoutes(r)
	s.dataRoutes(r)
	restjson.Handle(own, lockfastapi.ListKeyUse, s.ListKeyUse,
		func(caller.Caller, *lockfastapi.ListKeyUseInput) []restjson.Access {
			return caller.OnAll("lockfast:ListKeyUse")
		})
	restjson.HandleOn(own, lockfastapi.RotateKey, s.RotateKey,
		func(ctx context.Context, in *lockfastapi.RotateKeyInput) ([]restjson.Access, error) {
			name, err := s.resolve(ctx, in.KeyId)
			return caller.On("lockfast:RotateKey", name), ownError(err)
		})
}

func (s *Service) aliasRoutes(r *json11.Router) {
	json11.HandleOn(r, kmsapi.CreateAlias, s.CreateAlias,
		func(ctx context.Context, in *kmsapi.CreateAliasInput) ([]json11.Access, error) {
			return s.onAlias(ctx, "kms:CreateAlias", in.AliasName, in.TargetKeyId)
		})
	json11.HandleOn(r, kmsapi.UpdateAlias, s.UpdateAlias,
		func(ctx context.Context, in *kmsapi.UpdateAliasInput) ([]json11.Access, error) {
			return s.onAlias(ctx, "kms:UpdateAlias", in.AliasName, in.AliasName, in.TargetKeyId)
		})
	json11.HandleOn(r, kmsapi.DeleteAlias, s.DeleteAlias,
		func(ctx context.Context, in *kmsapi.DeleteAliasInput) ([]json11.Access, error) {
			return s.onAlias(ctx, "kms:DeleteAlias", in.AliasName, in.AliasName)
		})
}

func (s *Service) dataRoutes(r *json11.Router) {
	json11.HandleOn(r, kmsapi.Encrypt, s.Encrypt,
		func(ctx context.Context, in *kmsapi.EncryptInput) ([]json11.Access, error) {
			return s.on(ctx, "kms:Encrypt", in.KeyId, in.EncryptionContext)
		})
	json11.HandleOn(r, kmsapi.Decrypt, s.Decrypt,
		func(ctx context.Context, in *kmsapi.DecryptInput) ([]json11.Access, error) {
			return s.onCiphertext(ctx, "kms:Decrypt", in.KeyId, in.CiphertextBlob, in.EncryptionContext)
		})
	json11.HandleOn(r, kmsapi.GenerateDataKey, s.GenerateDataKey,
		func(ctx context.Context, in *kmsapi.GenerateDataKeyInput) ([]json11.Access, error) {
			return s.on(ctx, "kms:GenerateDataKey", in.KeyId, in.EncryptionContext)
		})
	json11.HandleOn(r, kmsapi.GenerateDataKeyWithoutPlaintext, s.GenerateDataKeyWithoutPlaintext,
		func(ctx context.Context, in *kmsapi.GenerateDataKeyWithoutPlaintextInput) ([]json11.Access, error) {
			return s.on(ctx, "kms:GenerateDataKeyWithoutPlaintext", in.KeyId, in.EncryptionContext)
		})
	json11.HandleOn(r, kmsapi.ReEncrypt, s.ReEncrypt,
		func(ctx context.Context, in *kmsapi.ReEncryptInput) ([]json11.Access, error) {
			from, err := s.onCiphertext(ctx, "kms:ReEncryptFrom", in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionContext)
			if err != nil {
				return nil, err
			}
			to, err := s.on(ctx, "kms:ReEncryptTo", in.DestinationKeyId, in.DestinationEncryptionContext)
			return append(from, to...), err
		})
}

// all is the access of an operation that is about no key.
func all[In any](action string) func(caller.Caller, *In) []json11.Access {
	return func(caller.Caller, *In) []json11.Access { return caller.OnAll(action) }
}

// creates asks for the right to make a key and, if it is made with tags, to give it tags.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html.
func creates(_ caller.Caller, in *kmsapi.CreateKeyInput) []json11.Access {
	asked := caller.Tagging("kms:CreateKey", "*", tagMap(in.Tags))
	if len(in.Tags) > 0 {
		asked = append(asked, caller.Tagging("kms:TagResource", "*", tagMap(in.Tags))...)
	}
	return asked
}

func tagMap(tags []kmsapi.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[t.TagKey] = t.TagValue
	}
	return m
}

// onKey registers an operation on a key, for which it asks under the operation's name.
func onKey[In, Out any](s *Service, r *json11.Router, op wire.Operation[In, Out], fn func(context.Context, *In) (*Out, error),
	ref func(*In) string) {
	json11.HandleOn(r, op, fn, func(ctx context.Context, in *In) ([]json11.Access, error) {
		return s.on(ctx, "kms:"+op.Name, ref(in), nil)
	})
}

// on is an action on a key, however it is named, with an encryption context.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html.
func (s *Service) on(ctx context.Context, action, ref string, bound map[string]string) ([]json11.Access, error) {
	name, err := s.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	a := json11.Access{Action: action, Resource: name, Keys: map[string][]string{"kms:calleraccount": {caller.From(ctx).Account}}}
	for k, v := range bound {
		a.Keys["kms:encryptioncontext:"+strings.ToLower(k)] = []string{v}
		a.Keys["kms:encryptioncontextkeys"] = append(a.Keys["kms:encryptioncontextkeys"], k)
	}
	return []json11.Access{a}, nil
}

// onAlias is an action on an alias and on keys.
func (s *Service) onAlias(ctx context.Context, action, alias string, refs ...string) ([]json11.Access, error) {
	c := caller.From(ctx)
	asked := caller.On(action, aliasARN(c.Account, c.Region, alias))
	for _, ref := range refs {
		more, err := s.on(ctx, action, ref, nil)
		if err != nil {
			return nil, err
		}
		if more[0].Resource != asked[0].Resource { // an alias that does not exist stands for itself
			asked = append(asked, more...)
		}
	}
	return asked, nil
}

// onCiphertext is an action on the key that made a ciphertext; on the key that is named, or on all, if no key here did.
func (s *Service) onCiphertext(ctx context.Context, action string, ref *string, blob []byte, bound map[string]string) ([]json11.Access, error) {
	id, ok := keyIn(blob)
	switch {
	case ok:
		return s.on(ctx, action, id, bound)
	case ref != nil:
		return s.on(ctx, action, *ref, bound)
	}
	return caller.OnAll(action), nil
}

// resolve returns the ARN of the key that a caller names. What does not exist keeps its own name, so that permission is
// asked before its absence is told.
func (s *Service) resolve(ctx context.Context, ref string) (name string, err error) {
	c := caller.From(ctx)
	where, args, _, err := parseRef(c, ref)
	if err != nil {
		return "", err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found, err := selectKeys(ctx, tx, where, args...)
		switch last := args[len(args)-1].(string); {
		case err != nil:
			return err
		case len(found) > 0:
			name = found[0].arn()
		case byKeyOnly(last) != nil:
			name = aliasARN(c.Account, c.Region, last)
		default:
			name = key{id: last, account: c.Account, region: c.Region}.arn()
		}
		return nil
	})
	return name, err
}

// validation is an error that the model does not list.
func validation(format string, args ...any) *wire.Error {
	return wire.Errorf(http.StatusBadRequest, "ValidationException", format, args...)
}

// ownError words an error of KMS for an operation of Lockfast.
func ownError(err error) error {
	api, ok := errors.AsType[wire.APIError](err)
	if !ok {
		return err
	}
	if none, ok := api.(*kmsapi.NotFoundException); ok {
		return lockfastapi.ResourceNotFoundExceptionf("%s", none.Message)
	}
	if bad, ok := api.(*kmsapi.InvalidArnException); ok {
		return lockfastapi.InvalidParameterValueExceptionf("%s", bad.Message)
	}
	return lockfastapi.InvalidRequestExceptionf("%s", operation.Message(api))
}
