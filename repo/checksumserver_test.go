package repo_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestCheck_ChecksumsOfAServer asks a real server, of objects that are in order, locked, copied, replaced and damaged.
func TestCheck_ChecksumsOfAServer(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	location, l := g.Location(t), localledger.New(localledger.Options{})
	s := s3test.Open(t, location, s3.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(900_000)}, nil)
	packs := names(t, s)
	n := count(t, s)
	wantSound(t, v, l, repo.CheckHeads, coverage{n, n, 0})

	// An object that was copied onto itself, as when its class is changed, is as it was.
	g.CopyOntoItself(t, location, packs["d"][0])
	if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads}); r.Damages != nil || r.PacksSummed < n-1 {
		t.Errorf("Check after a copy = %+v", r)
	}
	// Put again by another tool, without a checksum of the kind: unknown.
	g.PutOtherwise(t, location, packs["d"][0], raw(t, s, packs["d"][0]))
	if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads}); r.Damages != nil || r.PacksSummed != n-1 || r.PacksRead != 0 {
		t.Errorf("Check of an object without a checksum = %+v", r)
	}
	// A bit that flips beneath the server is not found so, and is by reading.
	file := filepath.Join(g.Dir, location.Bucket, location.Prefix, string(packs["d"][1]))
	change(t, file)
	wantSound(t, v, l, repo.CheckHeads, coverage{n, n - 1, 0})
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})); !slices.Equal(got, []string{string(packs["d"][1])}) {
		t.Errorf("Check of all bytes = %v, want %s", got, packs["d"][1])
	}
	change(t, file) // back
	wantSound(t, v, l, repo.CheckBytes, coverage{n, 0, n})
	// One that is replaced through the server is found, and a short one is by its size.
	overwrite(t, s, packs["d"][1], flip(5000))
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !slices.Equal(got, []string{string(packs["d"][1])}) {
		t.Errorf("Check of headers and checksums = %v, want %s", got, packs["d"][1])
	}
	if err := os.Truncate(filepath.Join(g.Dir, location.Bucket, location.Prefix, string(packs["d"][0])), 1000); err != nil {
		t.Fatal(err)
	}
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckNames})); !slices.Contains(got, string(packs["d"][0])) {
		t.Errorf("Check of names = %v, want %s", got, packs["d"][0])
	}
}

func TestCheck_ChecksumsOfLockedPacks(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := localledger.New(localledger.Options{})
	s := s3test.Open(t, g.Locked(t), s3.Options{Retain: func(blob.Name) time.Time { return time.Now().Add(time.Hour) }})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(900_000)}, nil)
	wantSound(t, v, l, repo.CheckHeads, coverage{count(t, s), count(t, s), 0})
}

// TestRound_RequestsToAServer counts what a round of a bucket costs: a HEAD for each pack and no byte of it, a HEAD and a GET for each
// other object, and lists. It finds packs that were replaced, cut or removed behind its back without reading what is sound.
func TestRound_RequestsToAServer(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := s3test.StartProxy(t, g)
	location := g.Location(t)
	direct := s3test.Open(t, location, s3.Options{})
	location.Endpoint = p.URL
	s := s3test.Open(t, location, s3.Options{})
	l, pass := days()
	v := create(t, s, l, foreign())
	fillAll(t, v, l)
	before := names(t, direct)["d"]
	id := mustBackup(t, v, "", files{"a": randomBytes(3_000_000)}, nil)
	var requests map[string]int // by method and object; used by calls that do not overlap
	count := func(r *http.Request) s3test.Disturbance {
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"+location.Bucket), "/"+location.Prefix+"/")
		requests[r.Method+" "+name]++
		return s3test.None
	}
	round := func() repo.ScrubReport {
		t.Helper()
		requests = map[string]int{}
		p.Disturb(count)
		r, err := v.Round(t.Context(), repo.ScrubOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Disturb(func(*http.Request) s3test.Disturbance { return s3test.None })
		return r
	}
	packs, others := []blob.Name{}, 0
	for kind, of := range names(t, direct) {
		if strings.Contains("d m a", kind) {
			packs = append(packs, of...)
		} else {
			others += len(of)
		}
	}
	cost := func(but ...blob.Name) {
		t.Helper()
		for _, name := range packs {
			if head, get := requests["HEAD "+string(name)], requests["GET "+string(name)]; !slices.Contains(but, name) && (head != 1 || get != 0) {
				t.Errorf("%s costs %d HEAD and %d GET, want one HEAD", name, head, get)
			}
		}
	}
	r := round()
	cost()
	if r.Damages != nil || r.Packs != 0 || r.Summed != int64(len(packs)) {
		t.Errorf("Round of a sound bucket = %+v, want the checksums of %d packs", r, len(packs))
	}
	all, most := 0, 0 // most for an object
	for request, n := range requests {
		all += n
		if _, name, _ := strings.Cut(request, " "); name != "" { // else of the bucket
			most = max(most, n)
		}
	}
	const lists = 20
	if all > len(packs)+2*others+lists || most > 1 {
		t.Errorf("%d requests for %d packs and %d other objects: %v", all, len(packs), others, requests)
	}
	if r = round(); len(requests) > 0 {
		t.Errorf("a second round on the same day makes requests: %v", requests)
	}

	pass()
	d := slices.DeleteFunc(names(t, direct)["d"], func(name blob.Name) bool { return slices.Contains(before, name) })
	gone, short, replaced := d[0], d[1], d[2]
	overwrite(t, direct, replaced, flip(5000))
	overwrite(t, direct, short, cut)
	overwrite(t, direct, gone, vanish)
	r = round()
	cost(append(names(t, direct)["m"], replaced, short, gone)...) // trees tell which file is lost
	want := []string{string(gone), string(short), string(replaced)}
	if got := objects(repo.CheckReport{Damages: r.Damages}); !slices.Equal(got, want) {
		t.Errorf("Round names %q, want %q", got, want)
	}
	if !slices.ContainsFunc(r.DamagedPoints, func(p repo.DamagedPoint) bool { return p.ID == id && len(p.Paths) == 1 }) {
		t.Errorf("damaged points are %+v, want %s with its file", r.DamagedPoints, id)
	}
	pass()
	if r = round(); r.Damages != nil {
		t.Errorf("Round of the next day names %q again", objects(repo.CheckReport{Damages: r.Damages}))
	}
}

// change flips a bit in the middle of a file, in place.
func change(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, flip(len(b)/2)(b), 0o600); err != nil {
		t.Fatal(err)
	}
}
