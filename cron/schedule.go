package cron

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Schedule is an expression that has been read. It is immutable. The zero value never fires.
type Schedule struct {
	text     string
	minutes  uint64 // a bit for each
	hours    uint32
	months   uint16 // bit 1 is January
	years    [(lastYear-firstYear)/64 + 1]uint64
	days     monthDays
	weekdays weekDays
}

// monthDays says which days of a month fire, by their numbers.
type monthDays struct {
	days        uint32 // bit 1 is the first
	nearest     uint32 // days whose nearest weekday is meant
	last        bool
	lastWeekday bool
}

// weekDays says which days of a month fire, by the days of the week; bit 1 is Sunday.
type weekDays struct {
	days    uint8
	last    uint8 // of the month
	nth     uint8 // the day of the week that fires only the count-th time in the month
	count   int
	inForce bool // else monthDays count
}

// Parse reads an expression in the form cron(...). The error says which field is wrong and why.
func Parse(text string) (Schedule, error) {
	s, err := parse(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule expression: %w", err)
	}
	return s, nil
}

func parse(text string) (Schedule, error) {
	inner, ok := strings.CutPrefix(text, "cron(")
	inner, closed := strings.CutSuffix(inner, ")")
	if !ok || !closed {
		return Schedule{}, errors.New("it must have the form cron(minutes hours day-of-month month day-of-week year)")
	}
	fields := strings.Fields(inner)
	if len(fields) != 6 {
		return Schedule{}, fmt.Errorf("cron() takes six fields, got %d", len(fields))
	}
	s := Schedule{text: text}
	err := cmp.Or(
		minuteField().values(fields[0], func(v int) { s.minutes |= 1 << v }, nil),
		hourField().values(fields[1], func(v int) { s.hours |= 1 << v }, nil),
		monthField().values(fields[3], func(v int) { s.months |= 1 << v }, nil),
		yearField().values(fields[5], func(v int) { s.years[(v-firstYear)/64] |= 1 << ((v - firstYear) % 64) }, nil),
		s.parseDays(fields[2], fields[4]),
	)
	return s, err
}

func (s *Schedule) parseDays(day, weekday string) error {
	if (day == "?") == (weekday == "?") {
		return errors.New(`one of day-of-month and day-of-week, and only one, must be "?"`)
	}
	if weekday == "?" {
		return s.days.parse(day)
	}
	s.weekdays.inForce = true
	return s.weekdays.parse(weekday)
}

func (d *monthDays) parse(text string) error {
	return dayField().values(text, func(v int) { d.days |= 1 << v }, func(term string) bool {
		switch upper := strings.ToUpper(term); {
		case upper == "L":
			d.last = true
		case upper == "LW":
			d.lastWeekday = true
		default:
			before, ok := strings.CutSuffix(upper, "W")
			n, err := number(before)
			if !ok || err != nil || n < 1 || n > 31 {
				return false
			}
			d.nearest |= 1 << n
		}
		return true
	})
}

func (d *weekDays) parse(text string) error {
	f := weekdayField()
	if day, count, ok := strings.Cut(text, "#"); ok {
		v, err := f.value(day)
		n, numberErr := number(count)
		if err != nil || numberErr != nil || n < 1 || n > 5 {
			return fmt.Errorf("%s %q: with # the field is one day and a count from 1 to 5, such as 3#2", f.name, text)
		}
		d.nth, d.count = 1<<v, n
		return nil
	}
	return f.values(text, func(v int) { d.days |= 1 << v }, func(term string) bool {
		before, ok := strings.CutSuffix(strings.ToUpper(term), "L")
		if !ok {
			return false
		}
		if before == "" { // the last day of the week
			d.days |= 1 << f.max
			return true
		}
		v, err := f.value(before)
		d.last |= 1 << v
		return err == nil
	})
}

// String returns the expression.
func (s Schedule) String() string { return s.text }

// PerHour returns how many times it fires within an hour in which it fires.
func (s Schedule) PerHour() int { return bits.OnesCount64(s.minutes) }

// Next returns the first time after a moment at which the schedule fires in a time zone, in UTC, and false if it never
// fires again.
func (s Schedule) Next(after time.Time, zone *time.Location) (time.Time, bool) {
	// A day earlier than the local date, because local time may run backwards over midnight.
	year, month, day := after.In(zone).AddDate(0, 0, -1).Date()
	for ; year <= lastYear; year, month, day = year+1, time.January, 1 {
		if !s.inYear(year) {
			continue
		}
		for ; month <= time.December; month, day = month+1, 1 {
			if s.months>>month&1 == 0 {
				continue
			}
			for days := s.daysOf(year, month) >> day << day; days != 0; days &= days - 1 {
				if t, ok := s.within(year, month, bits.TrailingZeros32(days), after, zone); ok {
					return t, true
				}
			}
		}
	}
	return time.Time{}, false
}

func (s Schedule) inYear(year int) bool {
	i := year - firstYear
	return i >= 0 && s.years[i/64]>>(i%64)&1 == 1
}

// within returns the first time after a moment on a day that fires.
func (s Schedule) within(year int, month time.Month, day int, after time.Time, zone *time.Location) (time.Time, bool) {
	for hours := s.hours; hours != 0; hours &= hours - 1 {
		for minutes := s.minutes; minutes != 0; minutes &= minutes - 1 {
			wall := time.Date(year, month, day, bits.TrailingZeros32(hours), bits.TrailingZeros64(minutes), 0, 0, time.UTC)
			if t, ok := instant(wall, zone); ok && t.After(after) {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// instant returns when the clocks of a zone show, for the first time, what wall says as if it were UTC; false if they
// never do.
func instant(wall time.Time, zone *time.Location) (time.Time, bool) {
	var found time.Time
	for _, near := range []time.Duration{-26 * time.Hour, 0, 26 * time.Hour} { // on each side of a transition
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second)
		if _, there := t.In(zone).Zone(); there == offset && (found.IsZero() || t.Before(found)) {
			found = t
		}
	}
	return found, !found.IsZero()
}
