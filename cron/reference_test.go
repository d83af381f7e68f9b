package cron_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/cron"
)

// fires is a slow second reading of the rules: it looks at one local minute and at the text of the expression.
func fires(expression string, t time.Time) bool {
	f := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(expression, "cron("), ")"))
	year, month, day := t.Date()
	return one(f[0], t.Minute(), 0, 59) && one(f[1], t.Hour(), 0, 23) && one(f[3], int(month), 1, 12) &&
		one(f[5], year, 1970, 2199) && (f[2] == "?" || dayFires(f[2], t)) && (f[4] == "?" || weekdayFires(f[4], t, day))
}

func one(list string, v, low, high int) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(term string) bool {
		span, step, stepped := strings.Cut(term, "/")
		from, to, ranged := strings.Cut(span, "-")
		a, b, n := low, high, 1
		if span != "*" {
			a = number(from)
		}
		switch {
		case ranged:
			b = number(to)
		case span != "*" && !stepped:
			b = a
		}
		if stepped {
			n = number(step)
		}
		for at, count := a, 0; ; at, count = at+1, count+1 { // one value at a time, around the end
			if at > high {
				at = low
			}
			if at == v && count%n == 0 {
				return true
			}
			if at == b {
				return false
			}
		}
	})
}

func number(text string) int {
	names := []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	if i := slices.Index(names, text); i >= 0 {
		return i + 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// weekend reports whether a day is one on which nobody works.
func weekend(t time.Time) bool { return t.Weekday() == time.Saturday || t.Weekday() == time.Sunday }

func dayFires(list string, t time.Time) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(term string) bool {
		last := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
		before, nearest := strings.CutSuffix(term, "W")
		switch {
		case term == "L":
			return t.Day() == last
		case term == "LW":
			before = strconv.Itoa(last)
		case !nearest:
			return one(term, t.Day(), 1, 31)
		}
		target := number(before)
		if target > last {
			return false
		}
		for away := range 3 { // the nearest first; at most two days away, when the month ends at a weekend
			for _, day := range []int{target - away, target + away} {
				d := time.Date(t.Year(), t.Month(), day, 0, 0, 0, 0, time.UTC)
				if d.Month() == t.Month() && !weekend(d) {
					return day == t.Day()
				}
			}
		}
		return false
	})
}

func weekdayFires(text string, t time.Time, day int) bool {
	weekday := int(t.Weekday()) + 1
	if d, n, ok := strings.Cut(text, "#"); ok {
		count := 0
		for i := 1; i <= day; i++ {
			if time.Date(t.Year(), t.Month(), i, 0, 0, 0, 0, time.UTC).Weekday() == t.Weekday() {
				count++
			}
		}
		return weekday == number(d) && count == number(n)
	}
	return slices.ContainsFunc(strings.Split(text, ","), func(term string) bool {
		before, last := strings.CutSuffix(term, "L")
		switch {
		case term == "L":
			return weekday == 7
		case last:
			next := time.Date(t.Year(), t.Month(), day+7, 0, 0, 0, 0, time.UTC)
			return weekday == number(before) && next.Month() != t.Month()
		}
		return one(term, weekday, 1, 7)
	})
}

// next walks minute by minute. A wall clock that has been seen within the last day does not fire again.
func next(expression string, after time.Time, zone *time.Location, limit time.Time) (time.Time, bool) {
	const wall = "2006-01-02 15:04"
	for t := after.Truncate(time.Minute).Add(time.Minute); !t.After(limit); t = t.Add(time.Minute) {
		local := t.In(zone)
		if !fires(expression, local) {
			continue
		}
		again := false
		for back := t.Add(-25 * time.Hour); back.Before(t) && !again; back = back.Add(time.Minute) {
			again = back.In(zone).Format(wall) == local.Format(wall)
		}
		if !again {
			return t, true
		}
	}
	return time.Time{}, false
}

func term(low, high int, steps, wraps bool) *rapid.Generator[string] {
	value := rapid.IntRange(low, high)
	return rapid.Custom(func(t *rapid.T) string {
		text := "*"
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			text = fmt.Sprint(value.Draw(t, "value"))
		case 2:
			a, b := value.Draw(t, "from"), value.Draw(t, "to")
			if b < a && !wraps {
				a, b = b, a
			}
			text = fmt.Sprintf("%d-%d", a, b)
		}
		if steps && rapid.Bool().Draw(t, "stepped") {
			text += fmt.Sprintf("/%d", rapid.IntRange(1, high-low+1).Draw(t, "step"))
		}
		return text
	})
}

func list(g *rapid.Generator[string]) *rapid.Generator[string] {
	return rapid.Map(rapid.SliceOfN(g, 1, 3), func(terms []string) string { return strings.Join(terms, ",") })
}

func expression() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		days, weekdays := "?", "?"
		if rapid.Bool().Draw(t, "by day") {
			days = list(rapid.OneOf(term(1, 31, true, true), rapid.SampledFrom([]string{"L", "LW", "1W", "15W", "28W", "30W", "31W"}))).
				Draw(t, "days")
		} else {
			weekdays = rapid.OneOf(
				list(rapid.OneOf(term(1, 7, false, true), rapid.SampledFrom([]string{"L", "SUN", "6L", "TUEL", "MON-FRI"}))),
				rapid.SampledFrom([]string{"1#1", "WED#5", "7#4"}),
			).Draw(t, "weekdays")
		}
		return fmt.Sprintf("cron(%s %s %s %s %s %s)",
			list(term(0, 59, true, true)).Draw(t, "minutes"), list(term(0, 23, true, true)).Draw(t, "hours"), days,
			list(term(1, 12, true, true)).Draw(t, "months"), weekdays, list(term(2024, 2030, false, false)).Draw(t, "years"))
	})
}

func TestNext_IsThatOfASlowReading(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu"}
	rapid.Check(t, func(rt *rapid.T) {
		text := expression().Draw(rt, "expression")
		name := rapid.SampledFrom(zones).Draw(rt, "zone")
		// Half of the times are near a change of the clocks.
		after := rapid.OneOf(
			rapid.Map(rapid.IntRange(0, 3*365*24*60), func(m int) time.Time {
				return time.Date(2025, 1, 1, 0, m, 0, 0, time.UTC)
			}),
			rapid.Map(rapid.IntRange(0, 4*24*60), func(m int) time.Time {
				return time.Date(2026, 3, 28, 0, m, 0, 0, time.UTC)
			}),
			rapid.Map(rapid.IntRange(0, 10*24*60), func(m int) time.Time {
				return time.Date(2026, 10, 24, 0, m, 0, 0, time.UTC)
			}),
		).Draw(rt, "after")
		s, err := cron.Parse(text)
		if err != nil {
			rt.Fatalf("Parse(%q): %v", text, err)
		}
		limit := after.AddDate(0, 0, 12)
		z := zone(t, name)
		want, fires := next(text, after, z, limit)
		got, ok := s.Next(after, z)
		if ok && got.After(limit) {
			ok = false
		}
		if ok != fires || ok && !got.Equal(want) {
			rt.Errorf("%s in %s after %v: got %v %v, want %v %v", text, name, after, got, ok, want, fires)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("cron(0 5 ? * * *)")
	f.Add("cron(0/15 20-2 LW,15W,L JAN-MAR ? 2026)")
	f.Add("cron(0 3 ? * 3#2 *)")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := cron.Parse(text)
		if err != nil {
			return
		}
		after := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if got, ok := s.Next(after, time.UTC); ok && !got.After(after) {
			t.Errorf("%q fires at %v, not after %v", text, got, after)
		}
	})
}
