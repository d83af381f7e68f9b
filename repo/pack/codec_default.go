//go:build !libzstd

package pack

// ZstdModule is the Go module that compresses and decompresses in this build: here a zstd in Go.
const ZstdModule = "github.com/klauspost/compress"

func newEncoder(level Level) encoder { return newGoEncoder(level) }
func newDecoder(n int) decoder       { return newGoDecoder(n) }
