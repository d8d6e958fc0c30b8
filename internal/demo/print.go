package demo

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/examples/order/order"
	"github.com/flovyn/flovyn-server/internal/client"
)

// printer writes a history for people, one aligned line per event.
type printer struct {
	out    io.Writer
	start  time.Time
	colour bool
}

func newPrinter(out io.Writer, start time.Time) *printer {
	return &printer{out: out, start: start, colour: terminal(out)}
}

// terminal reports whether out is a terminal whose owner wants colours.
func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The colours, as terminals have them.
const (
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *printer) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *printer) title(kind, id string) {
	fmt.Fprintf(p.out, "\nworkflow %s %s\n\n", kind, p.paint(faint, id))
}

// event prints the sequence number, when it was seen, the type and the gist.
func (p *printer) event(e client.Event, d *client.EventData) {
	seen := time.Since(p.start).Seconds()
	fmt.Fprintf(p.out, "%4d  %s  %s  %s\n", e.Seq, p.paint(faint, fmt.Sprintf("%6.2fs", seen)),
		p.paint(colourOf(e.Type), fmt.Sprintf("%-24s", e.Type)), gist(e.Type, d))
}

func (p *printer) note(text string) {
	fmt.Fprintf(p.out, "%14s%s\n", "", p.paint(yellow, "> "+text))
}

func (p *printer) receipt(r order.Receipt) {
	fmt.Fprintf(p.out, "\n%s order %s, approved by %s, charged %d.%02d, parcel %s\n\n", p.paint(green, "completed:"),
		r.OrderID, r.ApprovedBy, r.ChargedCents/100, r.ChargedCents%100, r.Tracking)
}

func colourOf(t client.EventType) string {
	switch t {
	case client.WorkflowExecutionFailed, client.WorkflowCancelled, client.TaskFailed,
		client.ChildWorkflowFailed, client.PromiseRejected, client.PromiseTimeout:
		return red
	case client.WorkflowStarted, client.WorkflowCompleted:
		return green
	case client.WorkflowSuspended:
		return faint
	default:
		return cyan
	}
}

// gist is what a person wants to know of an event.
func gist(t client.EventType, d *client.EventData) string {
	switch t {
	case client.WorkflowStarted:
		return brief(d.Input)
	case client.WorkflowCompleted:
		return brief(d.Output)
	case client.TaskScheduled:
		return d.Kind + " " + brief(d.Input)
	case client.TaskCompleted:
		return brief(d.Output)
	case client.OperationCompleted:
		return d.OperationName + " = " + brief(d.Result)
	case client.StateSet:
		return d.Key + " = " + brief(d.Value)
	case client.StateCleared:
		return d.Key
	case client.TimerStarted:
		return d.TimerID + " " + (time.Duration(d.DurationMillis) * time.Millisecond).String()
	case client.TimerFired, client.TimerCancelled:
		return d.TimerID
	case client.PromiseCreated:
		return d.PromiseName
	case client.PromiseResolved:
		return strings.TrimSpace(d.PromiseName + " " + brief(d.Value))
	case client.ChildWorkflowInitiated:
		return d.ChildExecutionName + " (" + d.ChildWorkflowKind + ")"
	case client.ChildWorkflowStarted:
		return d.ChildExecutionName
	case client.ChildWorkflowCompleted:
		return d.ChildExecutionName + " " + brief(d.Output)
	case client.SignalReceived:
		return d.SignalName + " " + brief(d.SignalValue)
	default:
		return cmp.Or(d.Error, d.Reason)
	}
}

// brief keeps a value on its line.
func brief(value []byte) string {
	const most = 80
	text := strings.Join(strings.Fields(string(value)), " ")
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most]) + "..."
	}
	return text
}
