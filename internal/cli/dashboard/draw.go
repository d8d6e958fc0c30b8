package dashboard

import (
	"bytes"
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/cli/timeline"
)

// The lines that are not the list: title, rule, titles of columns, rule, message
// and keys.
const frame = 6

// room is how many lines there are for the list or the thing that is open.
func (m *model) room() int { return max(1, m.height-frame) }

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "flovyn " + output.Clean(m.Org)
	return v
}

// lines are the screen: as many as it is high, none wider than it is.
func (m *model) lines() []string {
	p := m.printer()
	rule := p.Dim(strings.Repeat("─", m.width))
	lines := []string{m.title(p), rule}
	switch {
	case m.help:
		lines = append(lines, helpText...)
	case m.open != nil:
		lines = append(lines, m.drawOpen(p)...)
	default:
		lines = append(lines, m.drawList(p)...)
	}
	for len(lines) < m.height-3 {
		lines = append(lines, "")
	}
	lines = append(lines[:max(0, m.height-3)], rule, m.status(p), p.Dim(m.keys()))
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return lines
}

func (m *model) printer() *output.Printer {
	return &output.Printer{Color: m.Color, Width: m.width, Now: m.Now(), Format: output.Table}
}

func (m *model) title(p *output.Printer) string {
	var b strings.Builder
	b.WriteString(p.Bold("flovyn") + "  ")
	for v := range viewCount {
		name := v.String()
		if v == m.view {
			name = p.Bold("[" + name + "]")
		} else {
			name = " " + name + " "
		}
		b.WriteString(name)
	}
	state := "○ every 2s"
	if m.live {
		state = "● live"
	}
	left := b.String()
	room := m.width - ansi.StringWidth(left) - ansi.StringWidth(state) - 3
	right := ansi.Truncate(output.Clean(m.Org)+" @ "+output.Clean(m.Address), max(0, room), "…") + "  " + state
	return left + strings.Repeat(" ", max(1, m.width-ansi.StringWidth(left)-ansi.StringWidth(right))) + right
}

// columns are the titles of each view's cells, after id and status.
var columns = [viewCount][]string{
	workflows: {"KIND", "QUEUE", "", "AGE"},
	tasks:     {"KIND", "QUEUE", "DONE", "AGE"},
	workers:   {"NAME", "TYPE", "VERSION", "SEEN"},
}

// marks tell statuses apart without colour.
var marks = map[string]string{
	"PENDING": "○", "RUNNING": "▶", "WAITING": "◐", "COMPLETED": "✓", "FAILED": "✗", "CANCELLED": "⊘", "ONLINE": "●", "OFFLINE": "✗", "DEGRADED": "◐",
}

func (m *model) drawList(p *output.Printer) []string {
	shown := m.shown()
	const statusWidth, lastWidth, thirdWidth = 12, 8, 8
	idWidth := 13
	if m.width >= 110 {
		idWidth = 36
	}
	flexible := max(10, m.width-2-idWidth-1-statusWidth-1-thirdWidth-1-lastWidth-1)
	first, second := flexible*3/5, flexible-flexible*3/5-1
	cell := func(s string, width int) string {
		s = ansi.Truncate(output.Clean(s), width, "…")
		return s + strings.Repeat(" ", width-ansi.StringWidth(s))
	}
	line := func(status, id string, cells []string) string {
		return strings.Join([]string{
			status, cell(id, idWidth), cell(cells[0], first), cell(cells[1], second), cell(cells[2], thirdWidth),
			cell(cells[3], lastWidth),
		}, " ")
	}
	lines := []string{p.Dim("  " + line(cell("STATUS", statusWidth), "ID", columns[m.view]))}
	room := m.room()
	start := max(0, min(m.cursor-room/2, len(shown)-room))
	for i := start; i < min(len(shown), start+room); i++ {
		r := shown[i]
		mark := "  "
		if i == m.cursor {
			mark = p.Bold("> ")
		}
		status := p.PaintAs(r.status, cell(marks[r.status]+" "+r.status, statusWidth))
		lines = append(lines, mark+line(status, short(r.id, idWidth), r.cells))
	}
	if len(shown) == 0 {
		lines = append(lines, "", "  "+m.nothing())
	}
	return lines
}

func (m *model) nothing() string {
	switch {
	case !m.loaded[m.view]:
		return "Asking the server…"
	case m.filter != "":
		return "Nothing matches the filter."
	case m.view == workers:
		return "No worker has registered yet."
	default:
		return "Nothing has been started yet."
	}
}

// short keeps the end of an id, where ids that were made together differ.
func short(id string, width int) string {
	if len(id) <= width {
		return id
	}
	return "…" + id[len(id)-width+1:]
}

func (m *model) drawOpen(p *output.Printer) []string {
	o := m.open
	title := p.PaintAs(o.status, marks[o.status]+" "+o.status) + "  " + short(o.id, max(13, m.width-60))
	if o.view == workflows {
		var tabs strings.Builder
		for i, name := range []string{"Overview", "Events", "Timeline"} {
			if i == m.tab {
				name = p.Bold("[" + name + "]")
			} else {
				name = " " + name + " "
			}
			fmt.Fprintf(&tabs, "  %d%s", i+1, name)
		}
		title += tabs.String()
	}
	body := m.body(p)
	m.scroll = max(0, min(m.scroll, len(body)-m.room()))
	return append([]string{title}, body[m.scroll:min(len(body), m.scroll+m.room())]...)
}

func (m *model) body(p *output.Printer) []string {
	o := m.open
	switch {
	case o.view == workflows && m.tab == tabEvents:
		lines := make([]string, 0, len(o.events))
		for _, e := range o.events {
			lines = append(lines, p.Fit(fmt.Sprintf("%5d  %s  %-26s  %s", e.GetSequence(), e.GetTimestamp().AsTime().UTC().Format("15:04:05.000"),
				e.GetEventType(), e.GetData()), 0))
		}
		return lines
	case o.view == workflows && m.tab == tabTimeline:
		if len(o.spans) == 0 {
			return nil
		}
		scale, drawn := timeline.Draw(o.spans, m.Now(), m.width)
		lines := []string{p.Dim(scale)}
		for _, line := range drawn {
			lines = append(lines, line.Label+" "+p.PaintAs(line.Status, line.Bar)+" "+line.Length)
		}
		return append(lines, "", p.Dim(timeline.Legend))
	default:
		var b bytes.Buffer
		p.W = &b
		p.Fields(o.fields...)
		return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	}
}

func (m *model) status(p *output.Printer) string {
	switch {
	case m.ask != nil && m.ask.wantsText:
		return p.Bold(m.ask.text) + " " + m.ask.answer + "▏"
	case m.ask != nil:
		return p.Bold(m.ask.text) + " (y/n)"
	case m.filtering:
		return "Filter: " + m.filter + "▏"
	case m.failed:
		return p.PaintAs("FAILED", m.message)
	case m.message != "":
		return m.message
	case m.open != nil:
		return ""
	case m.filter != "":
		return fmt.Sprintf("%d of %d match %q; esc shows all", len(m.shown()), len(m.rows[m.view]), m.filter)
	default:
		return fmt.Sprintf("%d of %d", len(m.rows[m.view]), m.total[m.view])
	}
}

func (m *model) keys() string {
	switch {
	case m.ask != nil && m.ask.wantsText:
		return "enter: go on  esc: do nothing"
	case m.ask != nil:
		return "y: do it  n: do nothing"
	case m.filtering:
		return "enter: keep the filter  esc: show all"
	case m.open != nil && m.open.view == workflows:
		return "esc: back  tab/1-3: tabs  c: cancel  R: retry  s: signal  ?: help  q: quit"
	case m.open != nil:
		return "esc: back  c: cancel  ?: help  q: quit"
	default:
		return "enter: open  w/t/W: views  /: filter  c: cancel  R: retry  s: signal  ?: help"
	}
}

var helpText = []string{
	"",
	"  w t W      workflows, tasks, workers; tab goes round",
	"  up down    move, also with j and k; pgup, pgdn, home, end",
	"  enter      open; esc goes back",
	"  1 2 3      of a workflow: overview, events, timeline",
	"  /          filter by kind, status, queue or id; esc shows all",
	"  c          cancel; you are asked first",
	"  R          retry a workflow that failed; you are asked first",
	"  s          send a signal; you are asked for name and value, and then once more",
	"  r          look again now",
	"  q          quit",
	"",
	"  ● live     the server tells of what happens; ○ it is asked every two seconds",
	"",
	"  Any key closes this help.",
}
