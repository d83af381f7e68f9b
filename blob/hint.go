package blob

import "context"

type pastCacheKey struct{}

// PastCache returns a context for the Put of a blob that nobody will read soon. It asks the store to leave the memory in which the system
// keeps files to those that are in use, and to spare the work of copying the bytes there. A store that cannot do so takes no notice; what a
// Put promises is the same.
func PastCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, pastCacheKey{}, true)
}

// IsPastCache reports whether the context is of [PastCache].
func IsPastCache(ctx context.Context) bool {
	is, _ := ctx.Value(pastCacheKey{}).(bool)
	return is
}
