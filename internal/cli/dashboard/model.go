package dashboard

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

// The tabs of a workflow that is open.
const (
	tabOverview = iota
	tabEvents
	tabTimeline
	tabCount
)

// model is the whole state of the screen.
type model struct {
	Config
	ctx context.Context //nolint:containedctx // tea's commands take none, and end with the program

	width, height int
	live          bool
	view          view
	rows          [viewCount][]row
	total         [viewCount]int64
	loaded        [viewCount]bool
	cursor        int
	filter        string
	filtering     bool

	open   *opened
	tab    int
	scroll int

	// ask is a question that must be answered before anything else happens.
	ask *question
	// pending is a look that is due soon.
	pending bool
	message string
	failed  bool
	help    bool
}

// A question is asked before something is done: y and n answer it, or a line of
// text.
type question struct {
	text string
	// wantsText asks for a line, which is typed into answer.
	wantsText bool
	answer    string
	then      func(answer string) tea.Cmd
}

func newModel(ctx context.Context, config Config) *model {
	return &model{Config: config, ctx: ctx, width: 80, height: 24}
}

func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return output.Moment(t.AsTime())
}

func (m *model) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return output.Duration(m.Now().Sub(t.AsTime()))
}

// Init asks for the first list.
func (m *model) Init() tea.Cmd { return tea.Batch(m.list(m.view), tick()) }

func tick() tea.Cmd { return tea.Tick(refresh, func(time.Time) tea.Msg { return ticked{} }) }

// look again, at the list or at what is open.
func (m *model) reload() tea.Cmd {
	if m.open != nil {
		return m.detail(m.open.view, m.open.id)
	}
	return m.list(m.view)
}

// Update takes a message.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg)
	case connected:
		m.live = bool(msg)
	case changed:
		if m.pending {
			return m, nil
		}
		m.pending = true
		return m, tea.Tick(settle, func(time.Time) tea.Msg { return lookAgain{} })
	case lookAgain:
		m.pending = false
		return m, m.reload()
	case ticked:
		return m, tea.Batch(m.reload(), tick())
	case listed:
		m.took(msg)
	case detailed:
		if msg.err != nil {
			m.say(msg.err.Error(), true)
		} else if m.open != nil && m.open.id == msg.id {
			m.open = msg.open
		}
	case acted:
		if msg.err != nil {
			m.say(msg.err.Error(), true)
		} else {
			m.say(msg.text, false)
		}
		return m, m.reload()
	}
	return m, nil
}

// lookAgain is the end of gathering changes.
type lookAgain struct{}

func (m *model) say(text string, failed bool) { m.message, m.failed = output.Clean(text), failed }

// took takes a list, and keeps the cursor on what it was on.
func (m *model) took(l listed) {
	if l.err != nil {
		m.say(l.err.Error(), true)
		return
	}
	if m.failed {
		m.message, m.failed = "", false
	}
	current := m.current()
	m.rows[l.view], m.total[l.view], m.loaded[l.view] = l.rows, l.total, true
	if l.view != m.view {
		return
	}
	shown := m.shown()
	for i, r := range shown {
		if current != nil && r.id == current.id {
			m.cursor = i
			return
		}
	}
	m.cursor = max(0, min(m.cursor, len(shown)-1))
}

// shown are the rows that pass the filter.
func (m *model) shown() []row {
	if m.filter == "" {
		return m.rows[m.view]
	}
	var found []row
	wanted := strings.ToLower(m.filter)
	for _, r := range m.rows[m.view] {
		if strings.Contains(strings.ToLower(r.id+" "+r.status+" "+strings.Join(r.cells, " ")), wanted) {
			found = append(found, r)
		}
	}
	return found
}

func (m *model) current() *row {
	if shown := m.shown(); m.cursor < len(shown) {
		return &shown[m.cursor]
	}
	return nil
}

func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case m.ask != nil:
		return m.answer(name, k.Text)
	case m.filtering:
		m.typeFilter(name, k.Text)
		return nil
	case m.help:
		m.help = false
		return nil
	}
	m.message = ""
	switch name {
	case "q":
		return tea.Quit
	case "?":
		m.help = true
		return nil
	case "r":
		return m.reload()
	case "c":
		m.askCancel()
		return nil
	case "R":
		m.askRetry()
		return nil
	case "s":
		m.askSignal()
		return nil
	}
	if m.open != nil {
		return m.detailKey(name)
	}
	return m.listKey(name)
}

func (m *model) listKey(name string) tea.Cmd {
	last := max(0, len(m.shown())-1)
	switch name {
	case "w":
		return m.show(workflows)
	case "t":
		return m.show(tasks)
	case "W":
		return m.show(workers)
	case "tab":
		return m.show((m.view + 1) % viewCount)
	case "up", "k":
		m.cursor = max(0, m.cursor-1)
	case "down", "j":
		m.cursor = min(last, m.cursor+1)
	case "pgup":
		m.cursor = max(0, m.cursor-m.room())
	case "pgdown":
		m.cursor = min(last, m.cursor+m.room())
	case "home", "g":
		m.cursor = 0
	case "end", "G":
		m.cursor = last
	case "/":
		m.filtering = true
	case "esc":
		m.filter, m.cursor = "", 0
	case "enter":
		if r := m.current(); r != nil {
			m.open, m.tab, m.scroll = &opened{view: m.view, id: r.id, status: r.status}, tabOverview, 0
			return m.detail(m.view, r.id)
		}
	}
	return nil
}

func (m *model) show(v view) tea.Cmd {
	m.view, m.cursor, m.filter = v, 0, ""
	return m.list(v)
}

func (m *model) detailKey(name string) tea.Cmd {
	switch name {
	case "esc", "backspace", "h", "left":
		m.open = nil
		return m.list(m.view)
	case "tab":
		m.tab, m.scroll = (m.tab+1)%tabCount, 0
	case "1", "2", "3":
		m.tab, m.scroll = int(name[0]-'1'), 0
	case "up", "k":
		m.scroll = max(0, m.scroll-1)
	case "down", "j":
		m.scroll++ // drawing bounds it
	case "pgup":
		m.scroll = max(0, m.scroll-m.room())
	case "pgdown":
		m.scroll += m.room()
	case "home", "g":
		m.scroll = 0
	case "end", "G":
		m.scroll = 1 << 20
	}
	return nil
}

func (m *model) typeFilter(name, text string) {
	switch name {
	case "enter":
		m.filtering = false
	case "esc":
		m.filtering, m.filter = false, ""
	default:
		m.filter = edited(m.filter, name, text)
	}
	m.cursor = 0
}

// edited is a line after a key.
func edited(line, name, text string) string {
	switch name {
	case "backspace":
		runes := []rune(line)
		return string(runes[:max(0, len(runes)-1)])
	case "ctrl+u":
		return ""
	default:
		return line + output.Clean(text)
	}
}

func (m *model) answer(name, text string) tea.Cmd {
	q := m.ask
	switch {
	case name == "esc", !q.wantsText && (name == "n" || name == "q"):
		m.ask = nil
		m.say("Nothing was done.", false)
	case q.wantsText && name == "enter":
		m.ask = nil
		return q.then(strings.TrimSpace(q.answer))
	case q.wantsText:
		q.answer = edited(q.answer, name, text)
	case name == "y":
		m.ask = nil
		return q.then("")
	}
	return nil
}

// target is what an action is about: what is open, or the row under the cursor.
func (m *model) target() (v view, id, status string) {
	if m.open != nil {
		return m.open.view, m.open.id, m.open.status
	}
	if r := m.current(); r != nil {
		return m.view, r.id, r.status
	}
	return m.view, "", ""
}

func over(status string) bool {
	return status == "COMPLETED" || status == "FAILED" || status == "CANCELLED"
}

func (m *model) askCancel() {
	v, id, status := m.target()
	switch {
	case id == "" || v == workers:
		m.say("There is nothing to cancel here.", false)
	case over(status):
		m.say("It has ended already.", false)
	default:
		m.ask = &question{text: "Cancel " + id + "?", then: func(string) tea.Cmd {
			return m.act("Cancelled "+id, func(ctx context.Context) error {
				if v == tasks {
					_, err := m.Server.Tasks.CancelTaskExecution(ctx, &apiv1.CancelTaskExecutionRequest{Org: m.Org, Id: id})
					return err
				}
				_, err := m.Server.Executions.CancelWorkflowExecution(ctx, &apiv1.CancelWorkflowExecutionRequest{Org: m.Org, Id: id})
				return err
			})
		}}
	}
}

func (m *model) askRetry() {
	v, id, status := m.target()
	if v != workflows || status != "FAILED" {
		m.say("Only a workflow that failed can be retried.", false)
		return
	}
	m.ask = &question{text: "Retry " + id + "?", then: func(string) tea.Cmd {
		return m.act("Retrying "+id, func(ctx context.Context) error {
			_, err := m.Server.Executions.RetryWorkflowExecution(ctx, &apiv1.RetryWorkflowExecutionRequest{Org: m.Org, Id: id})
			return err
		})
	}}
}

// askSignal asks for a name, a value and a confirmation, one after the other.
func (m *model) askSignal() {
	v, id, status := m.target()
	if v != workflows || id == "" || over(status) {
		m.say("Only a workflow that has not ended takes signals.", false)
		return
	}
	send := func(name, value string) tea.Cmd {
		return m.act("Sent signal "+name, func(ctx context.Context) error {
			_, err := m.Server.Executions.SignalWorkflowExecution(ctx, &apiv1.SignalWorkflowExecutionRequest{
				Org: m.Org, Id: id, SignalName: name, SignalValue: []byte(value),
			})
			return err
		})
	}
	m.ask = &question{text: "Name of the signal:", wantsText: true, then: func(name string) tea.Cmd {
		if name == "" {
			m.say("Nothing was done.", false)
			return nil
		}
		m.ask = &question{text: "Value, as JSON:", wantsText: true, answer: "null", then: func(value string) tea.Cmd {
			if !json.Valid([]byte(value)) {
				m.say("That is not JSON. Nothing was done.", true)
				return nil
			}
			m.ask = &question{text: "Send " + name + " " + value + "?", then: func(string) tea.Cmd { return send(name, value) }}
			return nil
		}}
		return nil
	}}
}
