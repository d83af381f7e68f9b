package protocolcheck_test

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
)

// graph is what a search has visited. States are known by their hashes, which are others in each run: that two of four million
// states have one hash has a chance of less than one in a million.
type graph struct {
	known map[uint64]int32
	from  []int32 // the state before, by which it was reached first; -1 for the first one
	step  []uint8 // the step there, counted as next returns them
	done  []bool  // the collector has finished
	edges [][2]int32
}

// progress returns those steps of a state by which the collector is to finish: its own, or, if it waits, those of all
// others, but not the loss of its own lease.
func progress(s *state, steps []edge) (own []edge) {
	for _, e := range steps {
		if e.to.process[collector] != s.process[collector] {
			own = append(own, e)
		}
	}
	if len(own) > 0 {
		return own
	}
	return slices.DeleteFunc(slices.Clone(steps), func(e edge) bool {
		return s.session[collector].status == active && e.to.session[collector].status == fenced
	})
}

// maxStates bounds the memory of a search.
const maxStates = 6_000_000

// search visits every state, the nearest first, and returns the steps to the first one that is wrong; nil if none is.
// keep says that the edges of [progress] are to be kept.
func search(m *model, keep bool) (g graph, wrong []string) {
	g.known = map[uint64]int32{}
	seed := maphash.MakeSeed()
	var queue, next []state
	visit := func(s state, from int32, step int) int32 {
		h := maphash.Comparable(seed, s)
		if n, ok := g.known[h]; ok {
			return n
		}
		n := int32(len(g.from))
		g.known[h] = n
		g.from, g.step, g.done = append(g.from, from), append(g.step, uint8(step)), append(g.done, s.process[collector].at == over)
		next = append(next, s)
		return n
	}
	visit(start(), -1, 0)
	for n := int32(0); len(next) > 0; {
		queue, next = next, queue[:0]
		for _, s := range queue {
			steps := m.next(s)
			for i, e := range steps {
				if e.lost != "" || e.to.broken() != "" {
					return g, g.path(m, n, i)
				}
				visit(e.to, n, i)
			}
			if keep && !g.done[n] {
				for _, e := range progress(&s, steps) {
					g.edges = append(g.edges, [2]int32{n, visit(e.to, n, 0)})
				}
			}
			n++
			if n > maxStates {
				return g, []string{"too many states"}
			}
		}
	}
	return g, nil
}

// path returns the labels of the steps to a state, of one step more, if it is not negative, and of what that shows.
func (g *graph) path(m *model, n int32, last int) (labels []string) {
	var steps []int
	for ; g.from[n] >= 0; n = g.from[n] {
		steps = append(steps, int(g.step[n]))
	}
	slices.Reverse(steps)
	if last >= 0 {
		steps = append(steps, last)
	}
	m.names = true
	s := start()
	why := ""
	for _, i := range steps {
		e := m.next(s)[i]
		labels = append(labels, e.label)
		s, why = e.to, cmp.Or(e.lost, e.to.broken())
	}
	if why != "" {
		labels = append(labels, "so "+why)
	}
	return labels
}

// broken says what is wrong with a state: every committed recovery point has its content.
func (s *state) broken() string {
	for point, st := range s.point {
		if st != committed {
			continue
		}
		pack := s.current(s.refset[point])
		if pack == nobody {
			return fmt.Sprintf("a refset leads nowhere that recovery point %d has, which is committed", point)
		}
		if !s.rows[pack].object {
			return fmt.Sprintf("pack %d is gone that recovery point %d needs, which is committed", pack, point)
		}
	}
	return ""
}

// stuck returns a state from which the collector cannot finish although it keeps its lease; -1 if there is none.
func (g *graph) stuck() int {
	slices.SortFunc(g.edges, func(a, b [2]int32) int { return cmp.Compare(a[1], b[1]) })
	good := slices.Clone(g.done)
	var queue []int32
	for n, done := range good {
		if done {
			queue = append(queue, int32(n))
		}
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		i, _ := slices.BinarySearchFunc(g.edges, n, func(e [2]int32, n int32) int { return cmp.Compare(e[1], n) })
		for ; i < len(g.edges) && g.edges[i][1] == n; i++ {
			if b := g.edges[i][0]; !good[b] {
				good[b] = true
				queue = append(queue, b)
			}
		}
	}
	return slices.Index(good, false)
}

func TestProtocol_LosesNothingAndEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		two  bool
	}{
		{"two writers, a reader and a collector", false},
		{"a writer and two collectors", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := &model{rules: all, two: c.two}
			g, wrong := search(m, true)
			if wrong != nil {
				t.Fatalf("after %d states:\n%s", len(g.from), strings.Join(wrong, "\n"))
			}
			if n := g.stuck(); n >= 0 {
				t.Errorf("the collector cannot finish after:\n%s", strings.Join(g.path(m, int32(n), -1), "\n"))
			}
			t.Logf("%d states, %d steps", len(g.from), len(g.edges))
			if len(g.from) < 10_000 {
				t.Errorf("%d states are too few to mean anything", len(g.from))
			}
		})
	}
}

// TestProtocol_EveryRuleIsNeeded takes rules out and expects data to be lost.
func TestProtocol_EveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		two  bool
		drop func(*rules)
	}{
		{"fence", false, func(r *rules) { r.fence = false }},
		{"fence of collectors", true, func(r *rules) { r.fence = false }},
		{"acknowledgement", false, func(r *rules) { r.ack = false }},
		{"pin of the parent", false, func(r *rules) { r.parentPin = false }},
		{"second mark", false, func(r *rules) { r.remark = false }},
		{"rows of outlived packs", false, func(r *rules) { r.outlive = false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := &model{rules: all, two: c.two}
			c.drop(&m.rules)
			g, wrong := search(m, false)
			if wrong == nil {
				t.Fatalf("nothing is lost in %d states", len(g.from))
			}
			t.Logf("without it, after %d states:\n%s", len(g.from), strings.Join(wrong, "\n"))
		})
	}
}
