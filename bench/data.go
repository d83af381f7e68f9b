package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// perFolder is how many of the files that are made share a directory.
const perFolder = 1000

// prose writes text: words that are used as unevenly as in a language.
type prose struct{ words []string }

func newProse() prose {
	random := rand.New(rand.NewPCG(0, 0))
	words := make([]string, 4096)
	for i := range words {
		var b strings.Builder
		for range 1 + random.IntN(4) {
			b.WriteByte("bcdfghklmnprstvw"[random.IntN(16)])
			b.WriteByte("aeiou"[random.IntN(5)])
		}
		b.WriteByte(" \n,.     "[random.IntN(9)])
		words[i] = b.String()
	}
	return prose{words}
}

// fill fills the buffer; the same seeds write the same text.
func (p prose) fill(buffer []byte, seed, number uint64) {
	random := rand.New(rand.NewPCG(seed, number))
	for len(buffer) > 0 {
		u := random.Float64()
		buffer = buffer[copy(buffer, p.words[int(u*u*u*float64(len(p.words)))]):]
	}
}

// writeFiles makes n different files of 4 KiB of text below dir.
func writeFiles(dir string, n int) error {
	text, buffer := newProse(), make([]byte, 4<<10)
	for i := range n {
		text.fill(buffer, 1, uint64(i))
		if err := writeNumbered(dir, i, buffer); err != nil {
			return err
		}
	}
	return nil
}

func writeNumbered(dir string, i int, content []byte) error {
	folder := filepath.Join(dir, fmt.Sprintf("d%05d", i/perFolder))
	if i%perFolder == 0 {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, fmt.Sprintf("f%08d", i)), content, 0o644)
}

// versions is a tree of files of 1 KiB to 4 MiB, as many of each magnitude. Half
// of them hold text, the others what cannot be compressed. Trees of different
// seeds have files of the same sizes, and no contents in common.
type versions struct {
	dir  string
	size int64 // bytes of a version, about
	seed uint64
}

// write makes the first version, or turns version n-1 into n: half of the files,
// chosen anew for each version, get other contents.
func (v versions) write(n int) error {
	text, whole := newProse(), make([]byte, 4<<20)
	sizes := rand.New(rand.NewPCG(0, 1))
	choice := rand.New(rand.NewPCG(v.seed, uint64(n)))
	var total int64
	for i := 0; total < v.size; i++ {
		buffer := whole[:int(1024*math.Exp2(12*sizes.Float64()))]
		total += int64(len(buffer))
		compressible, replaced := sizes.IntN(2) == 0, choice.IntN(2) == 0
		if n > 1 && !replaced {
			continue
		}
		seed := v.seed<<8 | uint64(n)
		if compressible {
			text.fill(buffer, seed, uint64(i))
		} else {
			noise(buffer, seed, uint64(i))
		}
		if err := writeNumbered(v.dir, i, buffer); err != nil {
			return err
		}
	}
	return nil
}

// noise fills the buffer with what cannot be compressed.
func noise(buffer []byte, seed, number uint64) {
	var key [32]byte
	copy(key[:], fmt.Sprintf("%d %d", seed, number))
	_, _ = rand.NewChaCha8(key).Read(buffer) // never fails
}
