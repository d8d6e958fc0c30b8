package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Describe says in words when an expression fires.
func (e *Expression) Describe() string {
	return e.describeTime() + e.describeDay() + e.describeMonth()
}

func (e *Expression) describeTime() string {
	second, minute, hour := single(e.seconds), single(e.minutes), single(e.hours)
	switch {
	case hour >= 0 && minute >= 0 && second == 0:
		return fmt.Sprintf("At %02d:%02d", hour, minute)
	case hour >= 0 && minute >= 0 && second > 0:
		return fmt.Sprintf("At %02d:%02d:%02d", hour, minute, second)
	}
	var parts []string
	if second != 0 {
		parts = append(parts, spell("second", e.seconds, 0, 59, nil))
	}
	if e.seconds != 1 && e.minutes == all(0, 59) {
		parts = append(parts, "of every minute")
	} else {
		parts = append(parts, spell("minute", e.minutes, 0, 59, nil))
	}
	if e.hours != all(0, 23) {
		parts = append(parts, "of "+spell("hour", e.hours, 0, 23, nil))
	}
	text := strings.Join(parts, " ")
	return strings.ToUpper(text[:1]) + text[1:]
}

func (e *Expression) describeDay() string {
	var parts []string
	if date := e.days != all(1, 31); date || e.lastDay {
		var days []string
		if e.days != 0 {
			days = append(days, spell("day", e.days, 1, 31, nil)+" of the month")
		}
		if e.lastDay {
			days = append(days, "the last day of the month")
		}
		parts = append(parts, "on "+strings.Join(days, " and "))
	}
	if e.weekdays != all(0, 6) {
		parts = append(parts, "on "+spell("", e.weekdays, 0, 6, []string{
			"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
		}))
	}
	join := " or "
	if e.anyDay || e.anyWeekday {
		join = " if also "
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, join)
}

func (e *Expression) describeMonth() string {
	if e.months == all(1, 12) {
		return ""
	}
	return " in " + spell("", e.months, 1, 12, []string{
		"", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
	})
}

func all(low, high int) (set uint64) {
	for v := low; v <= high; v++ {
		set |= 1 << v
	}
	return set
}

// single returns the one value of a set, -1 when there are more.
func single(set uint64) int {
	if bits.OnesCount64(set) != 1 {
		return -1
	}
	return bits.TrailingZeros64(set)
}

// spell lists a set: every value, every nth, or the values and ranges of it.
func spell(noun string, set uint64, low, high int, names []string) string {
	if set == all(low, high) {
		return "every " + noun
	}
	var values []int
	for v := low; v <= high; v++ {
		if set&(1<<v) != 0 {
			values = append(values, v)
		}
	}
	if step := evenly(values, low, high); step > 1 {
		return fmt.Sprintf("every %d %ss", step, noun)
	}
	name := func(v int) string {
		if names != nil {
			return names[v]
		}
		return strconv.Itoa(v)
	}
	var items []string
	for i := 0; i < len(values); {
		j := i
		for j+1 < len(values) && values[j+1] == values[j]+1 {
			j++
		}
		switch {
		case j > i+1:
			items = append(items, name(values[i])+" to "+name(values[j]))
		case j == i+1:
			items = append(items, name(values[i]), name(values[j]))
		default:
			items = append(items, name(values[i]))
		}
		i = j + 1
	}
	return strings.TrimSpace(noun + " " + strings.Join(items, ", "))
}

// evenly returns the step of values that fill their range evenly, else 0.
func evenly(values []int, low, high int) int {
	if len(values) < 3 || values[0] != low || low != 0 || high == 6 {
		return 0
	}
	step := values[1] - values[0]
	for i := 1; i < len(values); i++ {
		if values[i]-values[i-1] != step {
			return 0
		}
	}
	if values[len(values)-1]+step <= high {
		return 0
	}
	return step
}
