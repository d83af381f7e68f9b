package cron

import "time"

// daysOf returns the days of a month that fire, a bit for each; bit 1 is the first.
func (s Schedule) daysOf(year int, month time.Month) uint32 {
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	m := calendar{first: first.Weekday(), last: first.AddDate(0, 1, -1).Day()}
	if s.weekdays.inForce {
		return s.weekdays.of(m)
	}
	return s.days.of(m)
}

// calendar is a month: the day of the week of its first day, and how many days it has.
type calendar struct {
	first time.Weekday
	last  int
}

// weekday returns the day of the week of a day, 1 is Sunday.
func (m calendar) weekday(day int) int { return (int(m.first)+day-1)%7 + 1 }

// nearest returns the day from Monday to Friday that is nearest to a day and in the same month.
func (m calendar) nearest(day int) int {
	const sunday, saturday = 1, 7
	switch m.weekday(day) {
	case saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case sunday:
		if day == m.last {
			return day - 2
		}
		return day + 1
	}
	return day
}

func (d monthDays) of(m calendar) uint32 {
	var set uint32
	for day := 1; day <= m.last; day++ {
		set |= d.days & (1 << day)
		if d.nearest>>day&1 == 1 {
			set |= 1 << m.nearest(day)
		}
	}
	if d.last {
		set |= 1 << m.last
	}
	if d.lastWeekday {
		set |= 1 << m.nearest(m.last)
	}
	return set
}

func (d weekDays) of(m calendar) uint32 {
	var set uint32
	for day := 1; day <= m.last; day++ {
		bit := uint8(1) << m.weekday(day)
		if d.days&bit != 0 || d.last&bit != 0 && day+7 > m.last || d.nth&bit != 0 && (day+6)/7 == d.count {
			set |= 1 << day
		}
	}
	return set
}
