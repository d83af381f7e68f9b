package meta_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// killedURL tells the test binary to be the process that is killed.
const killedURL = "META_TEST_KILLED_URL"

func TestMain(m *testing.M) {
	if url := os.Getenv(killedURL); url != "" {
		fmt.Println(countForEver(url))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// countForEver counts up and enqueues in one transaction, and prints each number
// that is committed.
func countForEver(url string) error {
	ctx := context.Background()
	db, err := meta.Open(ctx, meta.Options{URL: url})
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx, counters()); err != nil {
		return err
	}
	for {
		var n int
		err := db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			if err := add(ctx, tx, "a"); err != nil {
				return err
			}
			if err := tx.Enqueue(ctx, task{1}, nil); err != nil {
				return err
			}
			return tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = 'a'").Scan(&n)
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// rounds multiplies n by LOCKFAST_SOAK.
func rounds(n int) int {
	if k, err := strconv.Atoi(os.Getenv("LOCKFAST_SOAK")); err == nil {
		return n * k
	}
	return n
}

func TestUpdate_SurvivesKill(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		for range rounds(3) {
			last := countAndKill(t, url, 1+rand.IntN(30))
			db, err := meta.Open(t.Context(), meta.Options{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			n, jobs := read(t, db, "a"), countJobs(t, db)
			if n != jobs || n < last || n > last+1 {
				t.Errorf("after the kill: n = %d, %d jobs, want equal and %d, or one more", n, jobs, last)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// countAndKill kills a counting process after some numbers and returns the last
// one it printed.
func countAndKill(t *testing.T, url string, numbers int) (last int64) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), killedURL+"="+url)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("counting process: %s", lines.Text())
			break
		}
		last = n
		if numbers--; numbers == 0 {
			if err := c.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("counting process: %v", err)
	}
	return last
}

func countJobs(t *testing.T, db *meta.DB) (n int64) {
	t.Helper()
	err := db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM river_job").Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
