package directory_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// benchFiles is the number of files of the benchmarks' tree; LOCKFAST_BENCH_FILES changes it. The kernel's source has
// 84,000.
func benchFiles(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("LOCKFAST_BENCH_FILES"))
	if err != nil {
		return 10_000
	}
	return n
}

// sourceTree makes a tree shaped like source code: 15 files a directory, sizes around 15 KiB, text that compresses to a
// quarter.
func sourceTree(b *testing.B, files int) string {
	b.Helper()
	if path := os.Getenv("LOCKFAST_BENCH_TREE"); path != "" {
		return path
	}
	root := b.TempDir()
	random := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprintf("%x", random.Uint64N(1<<uint(8+random.IntN(40))))
	}
	var text []byte
	for i := range files {
		size := int(min(2e6, 5000*math.Exp(1.45*random.NormFloat64())))
		text = text[:0]
		for len(text) < size {
			text = append(append(text, words[min(2999, int(random.ExpFloat64()*300))]...), " \t\n(;"[random.IntN(5)])
		}
		dir := filepath.Join(root, fmt.Sprint(i/15/400), fmt.Sprint(i/15/20), fmt.Sprint(i/15))
		if i%15 == 0 {
			must(b, os.MkdirAll(dir, 0o755))
		}
		must(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("file%d.c", i)), text[:size], 0o644))
	}
	return root
}

func benchVault(b *testing.B) *repo.Vault {
	return resourcetest.OpenVault(b, mem.New(), repo.CreateOptions{})
}

func perFile(b *testing.B, report int64) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(report), "ns/item")
}

func BenchmarkCapture_First(b *testing.B) {
	root := sourceTree(b, benchFiles(b))
	var report resource.Report
	for b.Loop() {
		b.StopTimer()
		v := benchVault(b)
		b.StartTimer()
		_, report = capture(b, v, settled(), root, "")
	}
	b.SetBytes(report.LogicalBytes)
	perFile(b, report.Items)
}

func BenchmarkCapture_Unchanged(b *testing.B) {
	root, v := sourceTree(b, benchFiles(b)), benchVault(b)
	id, report := capture(b, v, settled(), root, "")
	b.ResetTimer()
	for b.Loop() {
		if id, report = capture(b, v, settled(), root, id); report.BytesRead > 0 {
			b.Fatal("it was read")
		}
	}
	perFile(b, report.Items)
}

func BenchmarkRestore(b *testing.B) {
	root := sourceTree(b, benchFiles(b))
	store, err := fs.Open(b.TempDir(), fs.Options{})
	must(b, err)
	v := resourcetest.OpenVault(b, store, repo.CreateOptions{})
	id, report := capture(b, v, settled(), root, "")
	target := b.TempDir()
	n := 0
	b.ResetTimer()
	for b.Loop() {
		n++
		o := resourcetest.Restore(b, v, settled(), id, resource.Restore{Directory: target, Name: fmt.Sprint(n)})
		b.StopTimer()
		must(b, os.RemoveAll(o.Path))
		b.StartTimer()
	}
	b.SetBytes(report.LogicalBytes)
	perFile(b, report.Items)
}
