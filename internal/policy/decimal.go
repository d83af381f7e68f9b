package policy

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// decimal is the exact value of a number in decimal notation: 0.digits times ten to the power exp. The digits neither
// begin nor end with 0; zero has none.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

const (
	maxNumber   = 128  // characters of a number
	maxExponent = 1000 // of ten, either way
)

func parseDecimal(text string) (decimal, bool) {
	if len(text) > maxNumber {
		return decimal{}, false
	}
	var d decimal
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		d.negative, text = text[0] == '-', text[1:]
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exp, err := strconv.Atoi(text[i+1:])
		if err != nil || exp < -maxExponent || exp > maxExponent {
			return decimal{}, false
		}
		d.exp, text = exp, text[:i]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if whole == "" && fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return decimal{}, false
	}
	digits := whole + fraction
	d.digits = strings.TrimLeft(digits, "0")
	d.exp += len(whole) - (len(digits) - len(d.digits))
	d.digits = strings.TrimRight(d.digits, "0")
	if d.digits == "" {
		return decimal{}, true
	}
	return d, true
}

// allDigits reports whether text has only digits, which is so if it is empty.
func allDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) compare(o decimal) int {
	if s := cmp.Compare(d.sign(), o.sign()); s != 0 {
		return s
	}
	size := cmp.Or(cmp.Compare(d.exp, o.exp), strings.Compare(d.digits, o.digits))
	return size * d.sign()
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// parseDate reads a date in the forms of https://www.w3.org/TR/NOTE-datetime, or seconds since 1970. Four digits are a
// year. More digits than twelve are refused, because they are milliseconds.
func parseDate(text string) (time.Time, bool) {
	if digits := strings.TrimPrefix(text, "-"); digits != "" && allDigits(digits) && len(text) != len("2006") {
		seconds, err := strconv.ParseInt(text, 10, 64)
		return time.Unix(seconds, 0), err == nil && len(digits) <= 12
	}
	const withoutSeconds = "2006-01-02T15:04Z07:00"
	for _, layout := range [...]string{time.RFC3339, withoutSeconds, time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
