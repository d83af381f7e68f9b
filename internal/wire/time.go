package wire

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// AppendEpoch appends a time as seconds since 1970 with up to three decimals, the form of timestamps in JSON bodies.
func AppendEpoch(dst []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		dst = append(dst, '-')
		ms = -ms
	}
	dst = strconv.AppendInt(dst, ms/1000, 10)
	if ms %= 1000; ms != 0 {
		dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return dst
}

// FormatTime returns a time in the form of query strings, headers and XML: RFC 3339 in UTC with milliseconds.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

var errTime = errors.New("not a timestamp")

// ParseTime reads a timestamp in any form that clients send: RFC 3339 with any fraction and offset, or seconds since 1970.
// The result is in UTC and in the years 1 to 9999.
func ParseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
			return time.Time{}, errTime
		}
		return t, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}, errTime
	}
	return epoch(f)
}

// epoch turns seconds since 1970 into a time with a precision of a microsecond.
func epoch(f float64) (time.Time, error) {
	const first, last = -62135596800, 253402300799
	if !(f >= first && f <= last) {
		return time.Time{}, errTime
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(math.Round(frac*1e6))*1000).UTC(), nil
}
