package parity

// AppendObject adds the parity region over all of b to it.
func AppendObject(b []byte) []byte { return For(len(b)).Append(b, b) }

// CheckObject returns the covered bytes of an object that ends with its parity region, and an error when any byte of
// both is not what was written.
func CheckObject(b []byte) ([]byte, error) {
	l, ok := OfObject(len(b))
	if !ok {
		return nil, damaged("no object has %d bytes", len(b))
	}
	return b[:l.Bytes], l.Check(b[:l.Bytes], b[l.Bytes:])
}

// Covered returns the covered bytes of an object as they are.
func Covered(b []byte) ([]byte, error) {
	l, ok := OfObject(len(b))
	if !ok {
		return nil, damaged("no object has %d bytes", len(b))
	}
	return b[:l.Bytes:l.Bytes], nil
}

// RepairObject returns an object with its parity region as it was written; see [Layout.Repair].
func RepairObject(b []byte) ([]byte, error) {
	l, ok := OfObject(len(b))
	if !ok {
		return nil, damaged("no object has %d bytes", len(b))
	}
	fixed, _, err := l.Repair(b[:l.Bytes], b[l.Bytes:])
	if err != nil {
		return nil, err
	}
	return l.Append(fixed, fixed), nil
}
