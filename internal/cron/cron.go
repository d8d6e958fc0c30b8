// Package cron reads cron expressions and says when they fire next.
//
// # Expressions
//
//	[second] minute hour day-of-month month day-of-week
//
// Five fields fire at second 0. A field is a list of values, ranges (a-b) and
// steps (*/n, a/n, a-b/n); * and, for days, ? stand for every value. Months and
// weekdays may be named by their first three letters, Sunday is 0 and 7, and L is
// the last day of the month. When both day fields are restricted, a day counts
// that either names, as it always was; a day field that begins with * does not
// count as restricted.
//
// # Changes of the clock
//
// Expressions are about local time, which skips and repeats:
//
//   - a time that does not exist on a day moves to the next moment that does;
//   - a time that exists twice fires once, the first time;
//   - whatever falls on the same moment fires once.
//
// So every day has its daily run, whatever the clock does, and an expression that
// fires every minute pauses for the hour that is repeated.
package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones do not depend on the machine
)

// maxLength bounds an expression, in bytes.
const maxLength = 256

// horizon is after how many years without a match an expression never fires: a
// 29th of February is eight years away at most.
const horizon = 9

// lastYear is the last in which anything fires.
const lastYear = 9999

// Expression is a cron expression that was read.
type Expression struct {
	seconds, minutes, hours, days, months, weekdays uint64
	// lastDay is set for L.
	lastDay bool
	// anyDay and anyWeekday are set for fields that do not restrict.
	anyDay, anyWeekday bool
}

// field is what a field may hold.
type field struct {
	name     string
	min, max int
	names    []string
	question bool
}

var fields = []field{
	{name: "second", max: 59},
	{name: "minute", max: 59},
	{name: "hour", max: 23},
	{name: "day of month", min: 1, max: 31, question: true},
	{name: "month", min: 1, max: 12, names: []string{"", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{name: "day of week", max: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}, question: true},
}

// Parse reads an expression.
func Parse(text string) (Expression, error) {
	if len(text) > maxLength {
		return Expression{}, fmt.Errorf("longer than %d bytes", maxLength)
	}
	parts := strings.Fields(text)
	switch len(parts) {
	case len(fields):
	case len(fields) - 1:
		parts = append([]string{"0"}, parts...)
	default:
		return Expression{}, fmt.Errorf("want five fields, or six with leading seconds, got %d", len(parts))
	}
	var e Expression
	for i, set := range []*uint64{&e.seconds, &e.minutes, &e.hours, &e.days, &e.months, &e.weekdays} {
		var err error
		if *set, err = e.read(fields[i], parts[i]); err != nil {
			return Expression{}, fmt.Errorf("%s %q: %w", fields[i].name, parts[i], err)
		}
	}
	if e.weekdays&(1<<7) != 0 {
		e.weekdays = e.weekdays&^(1<<7) | 1
	}
	e.anyDay, e.anyWeekday = every(parts[3]), every(parts[5])
	if !e.happens() {
		return Expression{}, errors.New("there is no such day in any year")
	}
	return e, nil
}

func every(part string) bool { return part[0] == '*' || part[0] == '?' }

// happens reports whether there is a day that matches.
func (e *Expression) happens() bool {
	if !e.anyWeekday && !e.anyDay || e.lastDay {
		return true
	}
	least := bits.TrailingZeros64(e.days)
	for m := time.January; m <= time.December; m++ {
		const leapYear = 2000
		if e.months&(1<<m) != 0 && least <= daysIn(leapYear, m) {
			return true
		}
	}
	return false
}

func (e *Expression) read(f field, text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		if f.min == 1 && f.max == 31 && strings.EqualFold(item, "L") {
			e.lastDay = true
			continue
		}
		one, err := f.item(item)
		if err != nil {
			return 0, err
		}
		set |= one
	}
	return set, nil
}

// item reads a value, a range or a step.
func (f field) item(text string) (uint64, error) {
	span, step, stepped := strings.Cut(text, "/")
	low, high := f.min, f.max
	if span != "*" && (span != "?" || !f.question) {
		from, to, ranged := strings.Cut(span, "-")
		var err error
		if low, err = f.value(from); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if high, err = f.value(to); err != nil {
				return 0, err
			}
		case !stepped:
			high = low
		}
	}
	if low > high {
		return 0, fmt.Errorf("the range %s ends before it begins", span)
	}
	by := 1
	if stepped {
		n, err := number(step)
		if err != nil || n < 1 || n > f.max {
			return 0, fmt.Errorf("the step %q is not a number from 1 to %d", step, f.max)
		}
		by = n
	}
	var set uint64
	for v := low; v <= high; v += by {
		set |= 1 << v
	}
	return set, nil
}

func (f field) value(text string) (int, error) {
	for i, name := range f.names {
		if name != "" && strings.EqualFold(name, text) {
			return i, nil
		}
	}
	n, err := number(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fmt.Errorf("%q is not from %d to %d", text, f.min, f.max)
	}
	return n, nil
}

// number reads digits alone: no sign.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), err
}

// Zone returns a time zone by its IANA name; UTC when the name is empty.
func Zone(name string) (*time.Location, error) {
	// The machine's own zone is nobody's business.
	if name == "Local" {
		return nil, errors.New("unknown time zone Local")
	}
	return time.LoadLocation(name)
}

// Next returns the first moment after a given one at which the expression fires
// in a zone; ok is false when there is none.
func (e *Expression) Next(after time.Time, zone *time.Location) (next time.Time, ok bool) {
	// Local times are walked through as if the clock never changed, and each is
	// then looked up in the zone. Later ones never come before earlier ones.
	local := civil(after.In(zone))
	for {
		if local, ok = e.following(local); !ok {
			return time.Time{}, false
		}
		if next = moment(local, zone); next.After(after) {
			return next, true
		}
	}
}

// civil is a local time without its zone, as UTC and to the second.
func civil(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// moment is when a local time is: the first time it is, and when it never is, the
// moment at which the clock leaps over it.
func moment(local time.Time, zone *time.Location) time.Time {
	// Right in one of the offsets around the change, whichever.
	near := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, zone)
	start, end := near.ZoneBounds()
	found := time.Time{}
	for _, at := range []time.Time{near, start.Add(-1), end} {
		if at.IsZero() {
			continue
		}
		_, offset := at.In(zone).Zone()
		t := local.Add(-time.Duration(offset) * time.Second).In(zone)
		if civil(t).Equal(local) && (found.IsZero() || t.Before(found)) {
			found = t
		}
	}
	if !found.IsZero() {
		return found
	}
	for _, change := range []time.Time{start, end} {
		if !change.IsZero() && civil(change.Add(-1).In(zone)).Before(local) && civil(change.In(zone)).After(local) {
			return change.In(zone)
		}
	}
	return near
}

// following returns the first matching local time after a given one.
func (e *Expression) following(local time.Time) (time.Time, bool) {
	t := local.Add(time.Second)
	limit := min(t.Year()+horizon, lastYear)
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	clock := t.Hour()*3600 + t.Minute()*60 + t.Second()
	for day.Year() <= limit {
		switch {
		case e.months&(1<<day.Month()) == 0:
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			clock = 0
			continue
		case e.onDay(day):
			if at, ok := e.inDay(clock); ok {
				return day.Add(time.Duration(at) * time.Second), true
			}
		}
		day, clock = day.AddDate(0, 0, 1), 0
	}
	return time.Time{}, false
}

func (e *Expression) onDay(day time.Time) bool {
	date := e.days&(1<<day.Day()) != 0 || e.lastDay && day.Day() == daysIn(day.Year(), day.Month())
	weekday := e.weekdays&(1<<day.Weekday()) != 0
	if e.anyDay || e.anyWeekday {
		return date && weekday
	}
	return date || weekday
}

// inDay returns the first matching second of a day that is not before a given one.
func (e *Expression) inDay(from int) (int, bool) {
	h, m, s := from/3600, from/60%60, from%60
	for ; h < 24; h, m, s = h+1, 0, 0 {
		if e.hours&(1<<h) == 0 {
			continue
		}
		for ; m < 60; m, s = m+1, 0 {
			if e.minutes&(1<<m) == 0 {
				continue
			}
			if rest := e.seconds >> s << s; rest != 0 {
				return h*3600 + m*60 + bits.TrailingZeros64(rest), true
			}
		}
	}
	return 0, false
}

func daysIn(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
