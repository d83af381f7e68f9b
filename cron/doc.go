// Package cron reads the schedule expressions of AWS Backup and says when they fire.
//
// An expression is cron(minutes hours day-of-month month day-of-week year), as
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html describes it. Sunday is day 1 of
// the week. One of the two fields for days is "?", the other one counts. Beyond that page,
//
//   - LW is the last weekday of the month,
//   - nW and n beyond the end of a month do not fire in that month,
//   - a range may wrap, except in years: 20-2 are the hours 20 to 23 and 0 to 2 of the same day.
//
// An expression has no time zone; [Schedule.Next] is given one. A local time that daylight saving skips does not fire, and
// one that it repeats fires once, the first time; see
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html.
package cron
