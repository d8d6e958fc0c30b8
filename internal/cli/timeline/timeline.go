// Package timeline draws when the parts of a workflow execution ran: its tasks,
// timers, promises and children, as bars below each other on one scale. It knows
// no terminal: it returns lines of text, which the command `workflow timeline`
// prints and the dashboard shows.
package timeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

// A Span is one bar.
type Span struct {
	Label, Status string
	// Sort is workflow, task, timer, promise or child.
	Sort string
	// Began is when it was waiting from, Ran when it was begun to be worked on,
	// and Ended when it was over; Ran and Ended may be zero.
	Began, Ran, Ended time.Time
	// Tries is how often a task was tried.
	Tries int
}

// Spans returns the bars: the execution, and its parts in the order in which they
// began.
func Spans(p *Parts) []Span {
	w := p.Execution
	root := Span{
		Label: w.GetKind(), Status: w.GetStatus(), Sort: "workflow", Began: moment(w.GetCreatedAt()), Ran: moment(w.GetStartedAt()),
		Ended: moment(w.GetCompletedAt()),
	}
	var parts []Span
	for _, t := range p.Tasks {
		parts = append(parts, Span{
			Label: t.GetKind(), Status: t.GetStatus(), Sort: "task", Began: moment(t.GetCreatedAt()), Ran: moment(t.GetStartedAt()),
			Ended: moment(t.GetCompletedAt()), Tries: int(t.GetExecutionCount()),
		})
	}
	for _, c := range p.Children {
		parts = append(parts, Span{
			Label: cmp.Or(c.GetChildExecutionName(), c.GetKind()), Status: c.GetStatus(), Sort: "child", Began: moment(c.GetCreatedAt()),
			Ran: moment(c.GetCreatedAt()), Ended: moment(c.GetCompletedAt()),
		})
	}
	for _, q := range p.Promises {
		parts = append(parts, Span{
			Label: q.GetName(), Status: q.GetStatus(), Sort: "promise", Began: moment(q.GetCreatedAt()), Ended: moment(q.GetSettledAt()),
		})
	}
	parts = append(parts, timers(p.History.GetEvents())...)
	slices.SortStableFunc(parts, func(a, b Span) int { return a.Began.Compare(b.Began) })
	return append([]Span{root}, number(parts)...)
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// timers are only in the history.
func timers(events []*apiv1.WorkflowEvent) []Span {
	var spans []Span
	index := map[string]int{}
	for _, e := range events {
		var data struct{ TimerID string }
		_ = json.Unmarshal(e.GetData(), &data) // an event of another sort has no timer
		at := e.GetTimestamp().AsTime()
		switch e.GetEventType() {
		case "TIMER_STARTED":
			index[data.TimerID] = len(spans)
			spans = append(spans, Span{Label: cmp.Or(data.TimerID, "timer"), Status: "PENDING", Sort: "timer", Began: at})
		case "TIMER_FIRED", "TIMER_CANCELLED":
			if i, ok := index[data.TimerID]; ok {
				spans[i].Ended, spans[i].Status = at, strings.TrimPrefix(e.GetEventType(), "TIMER_")
			}
		}
	}
	return spans
}

// number tells parts of the same name apart.
func number(spans []Span) []Span {
	count := map[string]int{}
	for _, s := range spans {
		count[s.Sort+s.Label]++
	}
	seen := map[string]int{}
	for i, s := range spans {
		if key := s.Sort + s.Label; count[key] > 1 {
			seen[key]++
			spans[i].Label = fmt.Sprintf("%s #%d", s.Label, seen[key])
		}
	}
	return spans
}

// marks are what bars are drawn with: a letter for every sort of time, so that
// they can be told apart without colour.
const (
	waits    = '·' // nobody works on it yet
	runs     = '█'
	open     = '▒' // it goes on
	failed   = '×'
	gone     = '░' // cancelled
	sleeps   = '╌'
	resolves = '═'
)

// The labels take a third of the width, within bounds.
const (
	minLabel = 12
	maxLabel = 35
	minBar   = 10
)

// Legend says what the marks mean.
const Legend = "· queued  █ ran  ▒ goes on  ╌ timer  ═ promise  × failed  ░ cancelled"

// A Line is one line of the drawing, in parts so that they can be coloured.
type Line struct{ Label, Bar, Length, Status string }

// Draw returns a scale and a line for each span, no wider than width.
func Draw(spans []Span, now time.Time, width int) (scale string, lines []Line) {
	begin, end := bounds(spans, now)
	label := minLabel
	for i, s := range spans {
		label = max(label, ansi.StringWidth(title(s, i)))
	}
	label = min(label, maxLabel, max(minLabel, width/3))
	const length = 8
	bar := max(minBar, width-label-length-2)
	scale = strings.Repeat(" ", label+1) + ticks(end.Sub(begin), bar)
	for i, s := range spans {
		text := ansi.Truncate(output.Clean(title(s, i)), label, "…")
		lines = append(lines, Line{
			Label: text + strings.Repeat(" ", label-ansi.StringWidth(text)), Bar: draw(s, begin, end, now, bar),
			Length: fmt.Sprintf("%8s", lengthOf(s, now)), Status: s.Status,
		})
	}
	return scale, lines
}

func title(s Span, i int) string {
	text := s.Label
	if i > 0 {
		text = "  " + text
	}
	if s.Tries > 1 {
		text += fmt.Sprintf(" (%d tries)", s.Tries)
	}
	return text
}

func bounds(spans []Span, now time.Time) (begin, end time.Time) {
	begin, end = spans[0].Began, spans[0].Ended
	for _, s := range spans {
		if s.Began.Before(begin) {
			begin = s.Began
		}
		last := s.Ended
		if last.IsZero() {
			last = now
		}
		if last.After(end) {
			end = last
		}
	}
	if !end.After(begin) {
		end = begin.Add(time.Millisecond)
	}
	return begin, end
}

func lengthOf(s Span, now time.Time) string {
	end := s.Ended
	if end.IsZero() {
		end = now
	}
	return output.Duration(end.Sub(s.Began))
}

func draw(s Span, begin, end, now time.Time, width int) string {
	column := func(t time.Time) int {
		return min(width-1, max(0, int(int64(width)*int64(t.Sub(begin))/int64(max(1, end.Sub(begin))))))
	}
	last := s.Ended
	if last.IsZero() {
		last = now
	}
	from, to := column(s.Began), column(last)
	ran := to + 1
	if !s.Ran.IsZero() {
		ran = min(column(s.Ran), to)
	}
	bar := []rune(strings.Repeat(" ", width))
	for i := from; i <= to; i++ {
		bar[i] = mark(s)
		if i < ran && s.Sort != "timer" && s.Sort != "promise" {
			bar[i] = waits
		}
	}
	switch s.Status {
	case "FAILED", "REJECTED", "TIMED_OUT":
		bar[to] = failed
	}
	return string(bar)
}

func mark(s Span) rune {
	switch {
	case s.Status == "CANCELLED":
		return gone
	case s.Sort == "timer":
		return sleeps
	case s.Sort == "promise":
		return resolves
	case s.Ended.IsZero():
		return open
	default:
		return runs
	}
}

// ticks writes the beginning, the middle and the end of the scale.
func ticks(length time.Duration, width int) string {
	scale := []rune(strings.Repeat(" ", width))
	put := func(at int, text string) {
		copy(scale[min(max(0, at), max(0, width-len([]rune(text)))):], []rune(text))
	}
	put(0, "0")
	if width >= 30 {
		put(width/2, output.Duration(length/2))
	}
	put(width, output.Duration(length))
	return strings.TrimRight(string(scale), " ")
}
