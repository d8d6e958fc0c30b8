package cron_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flovyn/flovyn-server/internal/cron"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := cron.Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, zone, after, want string }{
		{"* * * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
		{"* * * * *", "", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01:00Z"},
		{"* * * * * *", "", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"},
		{"*/15 * * * * *", "", "2026-01-01T00:00:45Z", "2026-01-01T00:01:00Z"},
		{"0 9 * * MON-FRI", "", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"},
		{"0 9 * * 1-5", "Asia/Kolkata", "2026-01-02T03:29:59Z", "2026-01-02T03:30:00Z"},
		{"5/20 10 * * *", "", "2026-01-01T10:25:00Z", "2026-01-01T10:45:00Z"},
		{"0 0 1 jan ?", "", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"0 0 29 2 *", "", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 L * *", "", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"0 0 15,L 2 ?", "", "2028-02-15T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 * * 7", "", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"0 0 * * 5-7", "", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"},
		// Either day.
		{"0 0 13 * FRI", "", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		{"0 0 13 * FRI", "", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z"},
		// Both days.
		{"0 0 */2 * MON", "", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"},
		// 02:30 does not exist: the run is at 03:00, and the next day's at 02:30.
		{"30 2 * * *", "America/New_York", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"},
		{"30 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		// All of the missing hour is one run, together with that of 03:00.
		{"*/15 * * * *", "America/New_York", "2026-03-08T06:45:00Z", "2026-03-08T07:00:00Z"},
		{"*/15 * * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T07:15:00Z"},
		// 01:30 exists twice, and fires the first time.
		{"30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z"},
		{"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		{"30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", "2026-11-02T06:30:00Z"},
		{"0 * * * *", "America/New_York", "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"},
		// Half an hour.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		// A day that never was.
		{"0 12 * * *", "Pacific/Apia", "2011-12-30T00:00:00Z", "2011-12-30T10:00:00Z"},
		{"0 12 * * *", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"},
		// Midnight that never was.
		{"0 0 * * *", "America/Asuncion", "2023-09-30T12:00:00Z", "2023-10-01T04:00:00Z"},
	} {
		e, err := cron.Parse(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		next, ok := e.Next(after, zone(t, c.zone))
		if got := next.UTC().Format(time.RFC3339); !ok || got != c.want {
			t.Errorf("%s in %s after %s: %s, want %s", c.expression, c.zone, c.after, got, c.want)
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for expression, message := range map[string]string{
		"":                                      "want five fields",
		"* * * *":                               "want five fields",
		"* * * * * * *":                         "want five fields",
		"60 * * * *":                            `minute "60": "60" is not from 0 to 59`,
		"* 24 * * *":                            "hour",
		"* * 0 * *":                             "day of month",
		"* * 32 * *":                            "day of month",
		"* * * 13 *":                            "month",
		"* * * * 8":                             "day of week",
		"* * * FOO *":                           `"FOO" is not from 1 to 12`,
		"5-1 * * * *":                           "ends before it begins",
		"*/0 * * * *":                           "the step",
		"*/x * * * *":                           "the step",
		"*/60 * * * *":                          "the step",
		"1,,2 * * * *":                          `"" is not from`,
		"-1 * * * *":                            "is not from",
		"+1 * * * *":                            "is not from",
		"? * * * *":                             "minute",
		"1-2-3 * * * *":                         "is not from",
		"@daily":                                "want five fields",
		"* * * * 5L":                            "day of week",
		"* * 15W * *":                           "day of month",
		"0 0 30 2 *":                            "there is no such day",
		"0 0 31 4,6,9,11 ?":                     "there is no such day",
		"0 0 31 2 */1":                          "there is no such day",
		strings.Repeat("1,", 200) + "1 * * * *": "longer than",
	} {
		if _, err := cron.Parse(expression); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v, want %s", expression, err, message)
		}
	}
	for _, name := range []string{"Local", "Europe/Nowhere", "../etc/passwd", "CET+1"} {
		if z, err := cron.Zone(name); err == nil {
			t.Errorf("the zone %s is %s", name, z)
		}
	}
	e, err := cron.Parse("0 0 1 1 *")
	if err != nil {
		t.Fatal(err)
	}
	if next, ok := e.Next(time.Date(9999, 12, 1, 0, 0, 0, 0, time.UTC), time.UTC); ok {
		t.Error("fires after all time:", next)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"* * * * *":            "Every minute",
		"*/15 * * * *":         "Every 15 minutes",
		"30 9 * * *":           "At 09:30",
		"15 30 9 * * *":        "At 09:30:15",
		"0 9 * * MON-FRI":      "At 09:00 on Monday to Friday",
		"0 0 1,15 * *":         "At 00:00 on day 1, 15 of the month",
		"0 0 L * *":            "At 00:00 on the last day of the month",
		"0 0 13 * FRI":         "At 00:00 on day 13 of the month or on Friday",
		"0 0 1 JAN,JUL *":      "At 00:00 on day 1 of the month in January, July",
		"0 8-18 * * *":         "Minute 0 of hour 8 to 18",
		"*/10 * * * * *":       "Every 10 seconds of every minute",
		"0,30 */6 * * SAT,SUN": "Minute 0, 30 of every 6 hours on Sunday, Saturday",
	} {
		e, err := cron.Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Describe(); got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

// changes are moments around which clocks change.
var changes = []struct{ zone, at string }{
	{"America/New_York", "2026-03-08T07:00:00Z"},
	{"America/New_York", "2026-11-01T06:00:00Z"},
	{"Europe/Berlin", "2026-03-29T01:00:00Z"},
	{"Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
	{"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	{"Pacific/Apia", "2011-12-30T10:00:00Z"},
	{"America/Asuncion", "2023-10-01T04:00:00Z"},
	{"Africa/Casablanca", "2026-02-15T02:00:00Z"},
	{"Europe/Dublin", "2026-03-29T01:00:00Z"},
	{"America/St_Johns", "2006-10-29T02:31:00Z"},
	{"UTC", "2026-01-01T00:00:00Z"},
}

// Next agrees with looking at every minute of some days.
func TestNextByBruteForce(t *testing.T) {
	t.Parallel()
	calendars := map[string]map[string]time.Time{}
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(changes).Draw(t, "change")
		zone, err := cron.Zone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		change, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		part := func(values ...string) string { return rapid.SampledFrom(values).Draw(t, "part") }
		text := strings.Join([]string{
			part("*", "0", "30", "*/15", "5-10", "59", "7/13"), part("*", "0", "1", "2", "3", "0-3", "12", "*/5", "23"),
			part("*", "*", "1", "L", "8,29,30"), part("*"), part("*", "*", "SUN", "1-5"),
		}, " ")
		e, err := cron.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		from := change.Add(-time.Duration(rapid.IntRange(0, 2*24*3600).Draw(t, "before")) * time.Second)
		if calendars[c.at+c.zone] == nil {
			calendars[c.at+c.zone] = calendar(change, zone)
		}
		want, found := bruteForce(text, from, change.Add(36*time.Hour), zone, calendars[c.at+c.zone])
		got, ok := e.Next(from, zone)
		if found && (!ok || !got.Equal(want)) || !found && ok && got.Before(change.Add(24*time.Hour)) {
			t.Fatalf("%s in %s after %s: %s, want %s (%v)", text, zone, from, got, want.In(zone), found)
		}
	})
}

const wall = "2006-01-02 15:04"

// calendar holds every local minute that exists around a change, with when it
// first is.
func calendar(change time.Time, zone *time.Location) map[string]time.Time {
	first := map[string]time.Time{}
	for at := change.Add(-100 * time.Hour); at.Before(change.Add(100 * time.Hour)); at = at.Add(time.Minute) {
		if text := at.In(zone).Format(wall); first[text].IsZero() {
			first[text] = at
		}
	}
	return first
}

// bruteForce looks at all minutes of the local calendar.
func bruteForce(text string, from, to time.Time, zone *time.Location, first map[string]time.Time) (time.Time, bool) {
	parts := strings.Fields(text)
	best, found := time.Time{}, false
	_, offset := from.In(zone).Zone()
	day := from.UTC().Add(time.Duration(offset) * time.Second).Truncate(time.Minute).Add(-25 * time.Hour)
	for local := day; local.Before(to.Add(25 * time.Hour)); local = local.Add(time.Minute) {
		if !matches(parts, local) {
			continue
		}
		at, exists := first[local.Format(wall)]
		for skipped := local; !exists && skipped.Before(local.Add(30*time.Hour)); skipped = skipped.Add(time.Minute) {
			at, exists = first[skipped.Format(wall)]
		}
		if exists && at.After(from) && at.Before(to) && (!found || at.Before(best)) {
			best, found = at, true
		}
	}
	return best, found
}

func matches(parts []string, local time.Time) bool {
	last := local.AddDate(0, 0, 1).Day() == 1
	day, weekday := in(parts[2], local.Day(), 1) || last && strings.Contains(parts[2], "L"), in(parts[4], int(local.Weekday()), 0)
	days := day && weekday
	if parts[2] != "*" && parts[4] != "*" {
		days = day || weekday
	}
	return in(parts[0], local.Minute(), 0) && in(parts[1], local.Hour(), 0) && days
}

// in is another reading of the few forms that the test uses.
func in(part string, v, low int) bool {
	switch part {
	case "*":
		return true
	case "*/15":
		return v%15 == 0
	case "*/5":
		return v%5 == 0
	case "7/13":
		return v >= 7 && (v-7)%13 == 0
	case "5-10":
		return v >= 5 && v <= 10
	case "0-3":
		return v <= 3
	case "1-5":
		return v >= 1 && v <= 5
	case "SUN":
		return v == 0
	case "8,29,30":
		return v == 8 || v == 29 || v == 30
	case "L":
		return false
	default:
		n := 0
		for _, c := range part {
			n = n*10 + int(c-'0')
		}
		return v == n && v >= low
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"* * * * *", "0 0 29 2 *", "*/5 1-3,7 L JAN-MAR/2 SUN", "1 2 3 4 5 6", "0 0 31 2 MON", "? ? ? ? ?"} {
		f.Add(text, int64(1_780_000_000), 0)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, where int) {
		e, err := cron.Parse(text)
		if err != nil {
			return
		}
		if e.Describe() == "" {
			t.Fatalf("%q has no description", text)
		}
		zone, err := cron.Zone(changes[uint(where)%uint(len(changes))].zone)
		if err != nil {
			t.Fatal(err)
		}
		after := time.Unix(unix%4_000_000_000, 0)
		next, ok := e.Next(after, zone)
		if !ok || !next.After(after) {
			t.Fatalf("%q after %s in %s: %s %v", text, after, zone, next, ok)
		}
		if before, ok := e.Next(next.Add(-time.Second), zone); !ok || !before.Equal(next) && before.After(next) {
			t.Fatalf("%q: %s was passed over for %s", text, next, before)
		}
	})
}
