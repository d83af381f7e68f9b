//go:build unix

package pack_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// corpus returns the first 64 MiB of the files below the directory $LOCKFAST_CORPUS, in pieces of 1 MiB, as bundles are.
func corpus(b *testing.B) [][]byte {
	b.Helper()
	root := os.Getenv("LOCKFAST_CORPUS")
	if root == "" {
		b.Skip("LOCKFAST_CORPUS names no directory")
	}
	data := make([]byte, 0, 64<<20)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		file, err := os.ReadFile(path)
		data = append(data, file[:min(len(file), cap(data)-len(data))]...)
		if err == nil && len(data) == cap(data) {
			err = fs.SkipAll
		}
		return err
	})
	if err == nil && len(data) < 1<<20 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.Fatal(err)
	}
	var pieces [][]byte
	for ; len(data) >= 1<<20; data = data[1<<20:] {
		pieces = append(pieces, data[:1<<20])
	}
	return pieces
}

// userTime is the processor time of the process outside of the kernel, in seconds.
func userTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec) + float64(u.Utime.Usec)/1e6
}

// eachLevel runs a benchmark of one pass over the pieces and reports its user time.
func eachLevel(b *testing.B, pieces [][]byte, run func(b *testing.B, level pack.Level)) {
	for _, level := range []pack.Level{pack.Fast, pack.Small} {
		b.Run(fmt.Sprintf("%s/%d", filepath.Base(pack.ZstdModule), level), func(b *testing.B) {
			b.SetBytes(int64(len(pieces)) << 20)
			run(b, level)
		})
	}
}

// BenchmarkCompress compresses the corpus once.
func BenchmarkCompress(b *testing.B) {
	pieces := corpus(b)
	eachLevel(b, pieces, func(b *testing.B, level pack.Level) {
		comp := pack.NewCompressor(level)
		buf := make([]byte, 0, 2<<20)
		size, began := 0, userTime(b)
		for b.Loop() {
			size = 0
			for _, p := range pieces {
				stored, _ := comp.Compress(buf, p)
				size += len(stored)
			}
		}
		b.ReportMetric((userTime(b)-began)/float64(b.N), "user-s/op")
		b.ReportMetric(float64(size)/float64(len(pieces)<<20)*100, "%stored")
	})
}

// BenchmarkDecompress decompresses what each level makes of the corpus.
func BenchmarkDecompress(b *testing.B) {
	pieces := corpus(b)
	eachLevel(b, pieces, func(b *testing.B, level pack.Level) {
		comp, dec := pack.NewCompressor(level), pack.NewDecompressor(1)
		stored, codecs := make([][]byte, len(pieces)), make([]chunk.Codec, len(pieces))
		for i, p := range pieces {
			stored[i], codecs[i] = comp.Compress(nil, p)
		}
		buf, began := make([]byte, 0, 1<<20), userTime(b)
		for b.Loop() {
			for i, s := range stored {
				if _, err := dec.Decompress(buf, codecs[i], s, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric((userTime(b)-began)/float64(b.N), "user-s/op")
	})
}
