// Package dashboard is the CLI's screen: workflows, tasks and workers of an
// organization, live.
//
// It is one model in the manner of Elm, which package tea runs: messages come in,
// the state changes, and the state alone decides what is drawn. Whatever asks the
// server is a command that ends in a message, so the screen never waits. A stream
// of the organization's events says when to look again; what is shown always
// comes from asking, so an event that was missed costs a second of age and no
// truth.
//
// It needs 80 columns and 24 lines to be comfortable, no colours, and no mouse.
package dashboard

import (
	"context"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/cli/timeline"
	"github.com/flovyn/flovyn-server/internal/client"
)

// Config is what the dashboard shows, and where.
type Config struct {
	Server *client.Management
	// Org is the organization's slug, and Address the server's, for the title.
	Org, Address string
	Input        io.Reader
	Output       io.Writer
	Environ      []string
	Color        bool
	// Now is the clock.
	Now func() time.Time
}

const (
	// pageSize is how many rows are shown at most; a filter of the server's, in
	// the other commands, finds what is further back.
	pageSize = 200
	// refresh is how often to look without having been told.
	refresh = 2 * time.Second
	// settle is how long to gather events before looking, so that a busy server
	// is not asked for each of them.
	settle = 150 * time.Millisecond
	// patience bounds one question.
	patience = 15 * time.Second
)

// Run shows the dashboard until its user leaves.
func Run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, config)
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(config.Input), tea.WithOutput(config.Output),
		tea.WithEnvironment(config.Environ))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(ctx, config, p.Send)
	}()
	_, err := p.Run()
	cancel()
	<-watched
	if err != nil {
		return fmt.Errorf("showing the dashboard: %w", err)
	}
	return nil
}

// Messages of the model.
type (
	// changed says that something happened in the organization.
	changed struct{}
	// connected says whether the stream of events is there.
	connected bool
	// ticked says that time has passed.
	ticked struct{}
	// listed is an answer to the question for the rows of a view.
	listed struct {
		view  view
		rows  []row
		total int64
		err   error
	}
	// detailed is an answer to the question for the thing that is open.
	detailed struct {
		id   string
		open *opened
		err  error
	}
	// acted is the end of something that the user did.
	acted struct {
		text string
		err  error
	}
)

// watch tells of what happens in the organization, as long as ctx lasts.
func watch(ctx context.Context, config Config, send func(tea.Msg)) {
	for ctx.Err() == nil {
		stream, err := config.Server.Streams.StreamOrganization(ctx, &apiv1.StreamOrganizationRequest{Org: config.Org})
		if err == nil {
			send(connected(true))
			for err == nil {
				if _, err = stream.Receive(); err == nil {
					send(changed{})
				}
			}
			_ = stream.Close()
		}
		send(connected(false))
		wait := time.NewTimer(refresh)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}

// A view is one of the lists.
type view int

const (
	workflows view = iota
	tasks
	workers
	viewCount
)

func (v view) String() string { return [...]string{"Workflows", "Tasks", "Workers"}[v] }

// A row is one thing in a list.
type row struct {
	id, status string
	cells      []string
}

// opened is the thing that is looked at.
type opened struct {
	view   view
	id     string
	status string
	fields []output.Field
	events []*apiv1.WorkflowEvent
	spans  []timeline.Span
}

// list asks for the rows of a view.
func (m *model) list(v view) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		rows, total, err := m.fetch(ctx, v)
		return listed{view: v, rows: rows, total: total, err: err}
	}
}

func (m *model) fetch(ctx context.Context, v view) (rows []row, total int64, err error) {
	limit := int32(pageSize)
	switch v {
	case tasks:
		answer, err := m.Server.Tasks.ListTaskExecutions(ctx, &apiv1.ListTaskExecutionsRequest{Org: m.Org, Limit: &limit})
		for _, t := range answer.GetTasks() {
			progress := ""
			if t.Progress != nil {
				progress = fmt.Sprintf("%d%%", int(t.GetProgress()*100))
			}
			rows = append(rows, row{id: t.GetId(), status: t.GetStatus(), cells: []string{
				t.GetKind(), t.GetQueue(), progress,
				m.age(t.GetCreatedAt()),
			}})
		}
		return rows, answer.GetTotal(), err
	case workers:
		limit = 100
		answer, err := m.Server.Workers.ListWorkers(ctx, &apiv1.ListWorkersRequest{Org: m.Org, Limit: &limit})
		for _, w := range answer.GetWorkers() {
			rows = append(rows, row{id: w.GetId(), status: w.GetStatus(), cells: []string{
				w.GetName(), w.GetType(), w.GetVersion(),
				m.age(w.GetLastHeartbeatAt()),
			}})
		}
		return rows, int64(len(rows)), err
	default:
		answer, err := m.Server.Executions.ListWorkflowExecutions(ctx, &apiv1.ListWorkflowExecutionsRequest{Org: m.Org, Limit: &limit})
		for _, w := range answer.GetWorkflows() {
			rows = append(rows, row{id: w.GetId(), status: w.GetStatus(), cells: []string{w.GetKind(), w.GetQueue(), "", m.age(w.GetCreatedAt())}})
		}
		return rows, answer.GetTotal(), err
	}
}

// detail asks for all that is shown of one thing.
func (m *model) detail(v view, id string) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		open, err := m.look(ctx, v, id)
		return detailed{id: id, open: open, err: err}
	}
}

func (m *model) look(ctx context.Context, v view, id string) (*opened, error) {
	o := &opened{view: v, id: id}
	switch v {
	case tasks:
		answer, err := m.Server.Tasks.GetTaskExecution(ctx, &apiv1.GetTaskExecutionRequest{Org: m.Org, Id: id})
		t := answer.GetTask()
		o.status = t.GetStatus()
		o.fields = []output.Field{
			{Name: "id", Value: t.GetId()},
			{Name: "kind", Value: t.GetKind()},
			{Name: "status", Value: t.GetStatus(), Status: true},
			{Name: "queue", Value: t.GetQueue()},
			{Name: "tries", Value: fmt.Sprintf("%d, and %d retries at most", t.GetExecutionCount(),
				t.GetMaxRetries())},
			{Name: "created", Value: moment(t.GetCreatedAt())},
			{Name: "completed", Value: moment(t.GetCompletedAt())},
			{
				Name:  "worker",
				Value: t.GetWorkerId(),
			},
			{Name: "input", Value: string(t.GetInput())},
			{Name: "output", Value: string(t.GetOutput())},
			{Name: "error", Value: t.GetError()},
		}
		return o, err
	case workers:
		answer, err := m.Server.Workers.GetWorker(ctx, &apiv1.GetWorkerRequest{Org: m.Org, Id: id})
		w := answer.GetWorker()
		o.status = w.GetStatus()
		o.fields = []output.Field{
			{Name: "id", Value: w.GetId()},
			{Name: "name", Value: w.GetName()},
			{Name: "type", Value: w.GetType()},
			{Name: "status", Value: w.GetStatus(), Status: true},
			{Name: "version", Value: w.GetVersion()},
			{Name: "host", Value: w.GetHostName()},
			{Name: "process", Value: w.GetProcessId()},
			{Name: "registered", Value: moment(w.GetRegisteredAt())},
			{Name: "last heartbeat", Value: moment(w.GetLastHeartbeatAt())},
		}
		for _, d := range answer.GetWorkflowCapabilities() {
			o.fields = append(o.fields, output.Field{Name: "workflow", Value: d.GetKind()})
		}
		for _, d := range answer.GetTaskCapabilities() {
			o.fields = append(o.fields, output.Field{Name: "task", Value: d.GetKind()})
		}
		return o, err
	default:
		parts, err := timeline.Fetch(ctx, m.Server, m.Org, id)
		if err != nil {
			return o, err
		}
		w := parts.Execution
		o.status, o.events, o.spans = w.GetStatus(), parts.History.GetEvents(), timeline.Spans(parts)
		o.fields = []output.Field{
			{Name: "id", Value: w.GetId()},
			{Name: "kind", Value: w.GetKind()},
			{Name: "status", Value: w.GetStatus(), Status: true},
			{Name: "waits for", Value: w.GetSuspendType()},
			{Name: "queue", Value: w.GetQueue()},
			{
				Name:  "parent",
				Value: w.GetParentWorkflowExecutionId(),
			},
			{Name: "created", Value: moment(w.GetCreatedAt())},
			{Name: "started", Value: moment(w.GetStartedAt())},
			{Name: "completed", Value: moment(w.GetCompletedAt())},
			{Name: "parked", Value: w.GetParkedReason()},
			{Name: "input", Value: string(w.GetInput())},
			{Name: "output", Value: string(w.GetOutput())},
			{Name: "error", Value: w.GetError()},
		}
		return o, nil
	}
}

// act does something, and looks again.
func (m *model) act(done string, do func(ctx context.Context) error) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		return acted{text: done, err: do(ctx)}
	}
}
