package cron

import (
	"fmt"
	"strconv"
	"strings"
)

// field is what one field of an expression may say.
type field struct {
	name     string
	min, max int
	names    string // of the values from min on, three letters each
	steps    bool   // whether a/n is allowed
	wraps    bool   // whether ranges may wrap
}

const (
	firstYear = 1970
	lastYear  = 2199
)

func minuteField() field { return field{name: "minutes", max: 59, steps: true, wraps: true} }
func hourField() field   { return field{name: "hours", max: 23, steps: true, wraps: true} }
func dayField() field    { return field{name: "day-of-month", min: 1, max: 31, steps: true, wraps: true} }

func monthField() field {
	return field{
		name: "month", min: 1, max: 12, names: "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", steps: true, wraps: true,
	}
}

func weekdayField() field {
	return field{name: "day-of-week", min: 1, max: 7, names: "SUNMONTUEWEDTHUFRISAT", wraps: true}
}

func yearField() field { return field{name: "year", min: firstYear, max: lastYear, steps: true} }

// values reads a list of terms and calls add for each value of each, in no particular order. A term that is none of *, a,
// a-b, each with /n behind it where steps are allowed, goes to special, which reports whether it knows it.
func (f field) values(text string, add func(int), special func(term string) bool) error {
	for term := range strings.SplitSeq(text, ",") {
		if special != nil && special(term) {
			continue
		}
		if err := f.term(term, add); err != nil {
			return fmt.Errorf("%s %q: %w", f.name, text, err)
		}
	}
	return nil
}

func (f field) term(term string, add func(int)) error {
	span, every, stepped := strings.Cut(term, "/")
	step := 1
	if stepped {
		if !f.steps {
			return fmt.Errorf("%q: steps are not allowed here", term)
		}
		n, err := number(every)
		if err != nil || n < 1 || n > f.max-f.min+1 {
			return fmt.Errorf("%q: the step must be from 1 to %d", term, f.max-f.min+1)
		}
		step = n
	}
	from, to, ranged := strings.Cut(span, "-")
	if span == "*" {
		f.each(f.min, f.max, step, add)
		return nil
	}
	a, err := f.value(from)
	if err != nil {
		return err
	}
	b := a
	switch {
	case ranged:
		if b, err = f.value(to); err != nil {
			return err
		}
		if b < a && !f.wraps {
			return fmt.Errorf("%q: the range ends before it begins", term)
		}
	case stepped:
		b = f.max
	}
	f.each(a, b, step, add)
	return nil
}

// each adds every step-th value from a to b, around the end if b is before a.
func (f field) each(a, b, step int, add func(int)) {
	size := f.max - f.min + 1
	if b < a {
		b += size
	}
	for v := a; v <= b; v += step {
		add((v-f.min)%size + f.min)
	}
}

// value reads a number or a name.
func (f field) value(text string) (int, error) {
	if len(text) == 3 {
		if i := strings.Index(f.names, strings.ToUpper(text)); i >= 0 && i%3 == 0 {
			return f.min + i/3, nil
		}
	}
	n, err := number(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fmt.Errorf("%q is not a value from %d to %d", text, f.min, f.max)
	}
	return n, nil
}

// number reads a number of at most four digits, without a sign.
func number(text string) (int, error) {
	if text == "" || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return strconv.Atoi(text)
}
