package cron_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/cron"
)

const minute = "2006-01-02T15:04"

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(minute, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// runs returns the next n times at which an expression fires.
func runs(t *testing.T, text, zoneName, after string, n int) []string {
	t.Helper()
	s, err := cron.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	now, list := at(t, after), []string{}
	for range n {
		next, ok := s.Next(now, zone(t, zoneName))
		if !ok {
			break
		}
		list, now = append(list, next.Format(minute)), next
	}
	return list
}

func TestNext(t *testing.T) {
	t.Parallel()
	const utc, pacific = "UTC", "America/Los_Angeles"
	for _, c := range []struct {
		expression, zone, after string
		want                    string
	}{
		{"cron(0 5 ? * * *)", utc, "2026-01-01T00:00", "2026-01-01T05:00 2026-01-02T05:00"},
		{"cron(0 5 ? * * *)", utc, "2026-01-01T05:00", "2026-01-02T05:00"},
		{"cron(15 * ? * * *)", utc, "2026-01-01T00:00", "2026-01-01T00:15 2026-01-01T01:15 2026-01-01T02:15"},
		{"cron(0 14/12 * * ? *)", utc, "2026-01-01T00:00", "2026-01-01T14:00 2026-01-02T14:00"},
		{"cron(0 0/12 * * ? *)", utc, "2026-01-01T00:00", "2026-01-01T12:00 2026-01-02T00:00 2026-01-02T12:00"},
		{
			"cron(15 10 ? * 6L 2026-2027)", utc, "2026-01-01T00:00",
			"2026-01-30T10:15 2026-02-27T10:15 2026-03-27T10:15 2026-04-24T10:15",
		},
		{
			"cron(0 9 ? * 3#2 *)", utc, "2026-01-01T00:00",
			"2026-01-13T09:00 2026-02-10T09:00 2026-03-10T09:00 2026-04-14T09:00",
		},
		{
			"cron(0 3 ? * mon#5 *)", utc, "2026-01-01T00:00",
			"2026-03-30T03:00 2026-06-29T03:00 2026-08-31T03:00 2026-11-30T03:00",
		},
		{
			"cron(0 3 L * ? *)", utc, "2026-01-01T00:00",
			"2026-01-31T03:00 2026-02-28T03:00 2026-03-31T03:00 2026-04-30T03:00",
		},
		{
			"cron(0 3 15W * ? *)", utc, "2026-01-01T00:00",
			"2026-01-15T03:00 2026-02-16T03:00 2026-03-16T03:00 2026-04-15T03:00",
		},
		{
			"cron(0 3 1W * ? *)", utc, "2026-01-01T00:00",
			"2026-01-01T03:00 2026-02-02T03:00 2026-03-02T03:00 2026-04-01T03:00",
		},
		{
			"cron(0 3 LW * ? *)", utc, "2026-01-01T00:00",
			"2026-01-30T03:00 2026-02-27T03:00 2026-03-31T03:00 2026-04-30T03:00",
		},
		{"cron(0 3 31W * ? *)", utc, "2026-01-31T00:00", "2026-03-31T03:00 2026-05-29T03:00"},
		{"cron(0 3 1,15-16,LW 2 ? *)", utc, "2026-01-31T00:00", "2026-02-01T03:00 2026-02-15T03:00 2026-02-16T03:00 2026-02-27T03:00"},
		{"cron(0 0 ? * L *)", utc, "2026-01-01T00:00", "2026-01-03T00:00 2026-01-10T00:00 2026-01-17T00:00"},
		{"cron(0 0 ? * FRI-MON *)", utc, "2026-01-01T00:00", "2026-01-02T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-05T00:00 2026-01-09T00:00"},
		{"cron(0 6 29 2 ? *)", utc, "2026-01-01T00:00", "2028-02-29T06:00 2032-02-29T06:00"},
		{
			"cron(0 6 31 * ? *)", utc, "2026-01-01T00:00",
			"2026-01-31T06:00 2026-03-31T06:00 2026-05-31T06:00 2026-07-31T06:00",
		},
		{"cron(0 20-2/3 1 JAN ? *)", utc, "2026-01-01T00:00", "2026-01-01T02:00 2026-01-01T20:00 2026-01-01T23:00 2027-01-01T02:00"},
		{"cron(0 1 ? * * *)", pacific, "2026-03-07T00:00", "2026-03-07T09:00 2026-03-08T09:00 2026-03-09T08:00"},
		{"cron(30 2 * * ? *)", pacific, "2026-03-07T00:00", "2026-03-07T10:30 2026-03-09T09:30"},
		{"cron(30 1 * * ? *)", pacific, "2026-10-31T00:00", "2026-10-31T08:30 2026-11-01T08:30 2026-11-02T09:30"},
		// Samoa went over the date line, and had no 30 December.
		{"cron(0 12 ? * * 2011)", "Pacific/Apia", "2011-12-28T00:00", "2011-12-28T22:00 2011-12-29T22:00 2011-12-30T22:00"},
		// Here the clocks go back from midnight to 23:00 of the day before.
		{"cron(30 23 * * ? *)", "America/Havana", "2026-10-31T12:00", "2026-11-01T03:30 2026-11-02T04:30"},
		{"cron(0 5 ? * SUN 2025)", utc, "2026-01-01T00:00", ""},
		{"cron(0 5 30 2 ? *)", utc, "2026-01-01T00:00", ""},
		{"cron(0 5 31 12 ? 2199)", utc, "2026-01-01T00:00", "2199-12-31T05:00"},
		{"cron(0 0 1 1 ? 1970)", utc, "1950-01-01T00:00", "1970-01-01T00:00"},
	} {
		want := strings.Fields(c.want)
		got := runs(t, c.expression, c.zone, c.after, max(len(want), 1))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s in %s after %s (-want +got):\n%s", c.expression, c.zone, c.after, diff)
		}
	}
}

func TestParse_OfWhatIsNoExpression(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", "it must have the form"},
		{"rate(1 day)", "it must have the form"},
		{"0 5 ? * * *", "it must have the form"},
		{"cron(0 5 ? * * *", "it must have the form"},
		{"cron(0 5 * * *)", "takes six fields, got 5"},
		{"cron(0 0 5 ? * * *)", "takes six fields, got 7"},
		{"cron(0 5 * * * *)", "one of day-of-month and day-of-week"},
		{"cron(0 5 ? * ? *)", "one of day-of-month and day-of-week"},
		{"cron(0 5 1 * 2 *)", "one of day-of-month and day-of-week"},
		{"cron(0 5 ? * 8 *)", `day-of-week "8": "8" is not a value from 1 to 7`},
		{"cron(0 5 ? * 0 *)", `"0" is not a value from 1 to 7`},
		{"cron(0 5 ? * 3#1,6#3 *)", "with # the field is one day and a count"},
		{"cron(0 5 ? * 3#6 *)", "with # the field is one day and a count"},
		{"cron(0 5 ? * 3#2,5 *)", "with # the field is one day and a count"},
		{"cron(0 5 ? * 2/2 *)", "steps are not allowed here"},
		{"cron(0 5 ? * 8L *)", `"8L" is not a value`},
		{"cron(0 5 ? * LW *)", `"LW" is not a value`},
		{"cron(60 5 ? * * *)", `minutes "60": "60" is not a value from 0 to 59`},
		{"cron(? 5 ? * * *)", `"?" is not a value`},
		{"cron(0 24 ? * * *)", "hours"},
		{"cron(0 5 0 * ? *)", "day-of-month"},
		{"cron(0 5 32W * ? *)", "day-of-month"},
		{"cron(0 5 L-3 * ? *)", "day-of-month"},
		{"cron(0 5 ?,1 * ? *)", "day-of-month"},
		{"cron(0 5 ? 13 * *)", "month"},
		{"cron(0 5 ? ANF * *)", "month"},
		{"cron(0 5 ? * * 1969)", "year"},
		{"cron(0 5 ? * * 2030-2026)", "the range ends before it begins"},
		{"cron(0/0 5 ? * * *)", "the step must be from 1 to 60"},
		{"cron(-1 5 ? * * *)", "minutes"},
		{"cron(0, 5 ? * * *)", "minutes"},
		{"cron(+1 5 ? * * *)", "minutes"},
		{"cron(00000 5 ? * * *)", "minutes"},
		{"cron(0 1-2-3 ? * * *)", "hours"},
		{"cron(0 1/2/3 ? * * *)", "hours"},
	} {
		if _, err := cron.Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", c.text, err, c.want)
		}
	}
}

func TestPerHour(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"cron(5 * ? * * *)": 1, "cron(0/15 5 ? * * *)": 4, "cron(* 5 ? * * *)": 60} {
		s, err := cron.Parse(text)
		if err != nil || s.PerHour() != want || s.String() != text {
			t.Errorf("Parse(%q) = %v, %v with %d an hour, want %d", text, s, err, s.PerHour(), want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s, err := cron.Parse("cron(0 5 ? * 3#2 *)")
	if err != nil {
		b.Fatal(err)
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		s.Next(now, zone)
	}
}
