package seal

import "fmt"

// NewPack draws nothing itself: it derives the key of a new pack with the given id and salt under the current epoch
// and returns it with the header that goes to the beginning of the pack.
func (k *Keys) NewPack(t Type, id [16]byte, salt [32]byte) (PackKey, Header, error) {
	key, err := k.PackKey(t, k.current, id, salt)
	if err != nil {
		return PackKey{}, Header{}, err
	}
	return key, Header{Type: t, Epoch: k.current, Salt: salt, Commitment: key.Commitment}, nil
}

// OpenPack derives the key of a pack from its header and compares the commitment.
func (k *Keys) OpenPack(h Header, id [16]byte) (PackKey, error) {
	key, err := k.PackKey(h.Type, h.Epoch, id, h.Salt)
	if err != nil {
		return PackKey{}, err
	}
	if !h.committed(key.Commitment) {
		return PackKey{}, wrongKey(fmt.Sprintf("pack %x", id))
	}
	return key, nil
}
