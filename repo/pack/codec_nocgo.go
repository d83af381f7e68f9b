//go:build libzstd && !cgo

package pack

// A build with libzstd that lacks cgo fails here, rather than use the other library.

const ZstdModule = ""

func newEncoder(Level) encoder { return tag_libzstd_needs_CGO_ENABLED_1_and_a_C_compiler }
func newDecoder(int) decoder   { return tag_libzstd_needs_CGO_ENABLED_1_and_a_C_compiler }
