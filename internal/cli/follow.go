package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

// The history is the truth and the stream only says when to look: a frame that
// was missed costs at most lookAgain.
const lookAgain = 2 * time.Second

// endings are the events that nothing follows.
var endings = []string{"WORKFLOW_COMPLETED", "WORKFLOW_EXECUTION_FAILED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED", "WORKFLOW_TERMINATED"}

func (i *invocation) workflowEvents() *cobra.Command {
	var since, limit int32
	var follow bool
	cmd := &cobra.Command{
		Use: "events ID", Aliases: []string{"history"}, Short: "Show the history of an execution", Args: exact("ID"),
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			if follow {
				return i.follow(ctx, s, args[0], since)
			}
			answer, err := s.Executions.ListWorkflowEvents(ctx, &apiv1.ListWorkflowEventsRequest{
				Org: s.Org, Id: args[0], SinceSequence: optional(cmd.Flags(), "since", since), Limit: optional(cmd.Flags(), "limit", limit),
			})
			if err != nil {
				return err
			}
			var sequences []string
			for _, e := range answer.GetEvents() {
				sequences = append(sequences, strconv.Itoa(int(e.GetSequence())))
			}
			return s.Message(answer, sequences, func() {
				eventTable(s.Printer, answer.GetEvents())
				i.none(len(sequences))
				if answer.GetHasMore() {
					i.say("There are more; see them with: --since %s", sequences[len(sequences)-1])
				}
			})
		}),
	}
	cmd.Flags().Int32Var(&since, "since", 0, "only events after the one with this number")
	cmd.Flags().Int32VarP(&limit, "limit", "n", 0, "how many to show (default: all)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the execution ends")
	return cmd
}

func eventTable(p *output.Printer, events []*apiv1.WorkflowEvent) {
	var rows [][]string
	for _, e := range events {
		rows = append(rows, []string{strconv.Itoa(int(e.GetSequence())), at(e.GetTimestamp()), e.GetEventType(), string(e.GetData())})
	}
	p.Table([]output.Column{{Title: "#"}, {Title: "TIME"}, {Title: "EVENT"}, {Title: "DATA", Long: true}}, rows)
}

// event prints one event as a line.
func (s *server) event(e *apiv1.WorkflowEvent) error {
	return s.Item(e, func() {
		s.Linef("%4d  %s  %s", e.GetSequence(), e.GetTimestamp().AsTime().UTC().Format("15:04:05.000"),
			s.Fit(e.GetEventType()+"  "+string(e.GetData()), 20))
	})
}

// followToEnd prints the events of an execution, and its output in the end.
func (i *invocation) followToEnd(ctx context.Context, s *server, id string, timeout time.Duration) error {
	followed := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		followed, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	err := i.follow(followed, s, id, 0)
	if followed.Err() != nil && ctx.Err() == nil {
		return errTimedOut{id + " has not ended within " + timeout.String()}
	}
	if err != nil {
		return err
	}
	answer, err := i.result(ctx, s, id, time.Minute)
	if err != nil {
		return err
	}
	return i.ending(s, answer)
}

// follow prints the events of an execution until it ends.
func (i *invocation) follow(ctx context.Context, s *server, id string, since int32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan struct{}, 1)
	go s.watch(ctx, id, news)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		answer, err := s.Executions.ListWorkflowEvents(ctx, &apiv1.ListWorkflowEventsRequest{Org: s.Org, Id: id, SinceSequence: &since})
		if err != nil {
			return err
		}
		ended := false
		for _, e := range answer.GetEvents() {
			if err := s.event(e); err != nil {
				return err
			}
			since, ended = e.GetSequence(), slices.Contains(endings, e.GetEventType())
		}
		if ended {
			return nil
		}
		select {
		case <-news:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch tells that something happened to an execution. When the stream breaks it
// begins another, and meanwhile the ticking of its listener has to do.
func (s *server) watch(ctx context.Context, id string, news chan<- struct{}) {
	types := "events"
	for ctx.Err() == nil {
		stream, err := s.Streams.StreamWorkflowExecution(ctx, &apiv1.StreamWorkflowExecutionRequest{Org: s.Org, Id: id, Types: &types})
		opened := err == nil // otherwise there is nothing to close
		for err == nil {
			if _, err = stream.Receive(); err == nil {
				select {
				case news <- struct{}{}:
				default:
				}
			}
		}
		if opened {
			_ = stream.Close()
		}
		pause(ctx, lookAgain)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (i *invocation) workflowLogs() *cobra.Command {
	var follow, tree bool
	var types string
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what happens in an execution, tokens and progress of its tasks too", Args: exact("ID"),
		Long: "Logs shows the events there are. With --follow it shows what comes, live, with what the\n" +
			"tasks stream: tokens, progress, data and errors.",
		RunE: i.command(func(ctx context.Context, s *server, cmd *cobra.Command, args []string) error {
			if !follow {
				answer, err := s.Executions.ListWorkflowEvents(ctx, &apiv1.ListWorkflowEventsRequest{Org: s.Org, Id: args[0]})
				if err != nil {
					return err
				}
				return s.Message(answer, nil, func() {
					for _, e := range answer.GetEvents() {
						s.Linef("%s  %s", at(e.GetTimestamp()), s.Fit("[EVENT] "+e.GetEventType()+" "+string(e.GetData()), 22))
					}
				})
			}
			only := optional(cmd.Flags(), "types", types)
			return s.frames(ctx, func(ctx context.Context, last *string) (frameStream, error) {
				if tree {
					return s.Streams.StreamWorkflowExecutionTree(ctx, &apiv1.StreamWorkflowExecutionTreeRequest{
						Org: s.Org, Id: args[0], Types: only, LastEventId: last,
					})
				}
				return s.Streams.StreamWorkflowExecution(ctx, &apiv1.StreamWorkflowExecutionRequest{
					Org: s.Org, Id: args[0], Types: only, LastEventId: last,
				})
			}, func() bool {
				answer, err := s.get(ctx, args[0])
				return err == nil && answer.GetExecution().GetCompletedAt() != nil
			})
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show what comes, until the execution ends")
	cmd.Flags().BoolVar(&tree, "tree", false, "with --follow: of the children too")
	cmd.Flags().StringVar(&types, "types", "", "with --follow: some of events, tokens, progress, data and errors, with commas")
	return cmd
}

// A frameStream is any of the live streams.
type frameStream interface {
	Receive() (*apiv1.LiveFrame, error)
	Close() error
}

// frames prints what a stream carries, and opens it again where it broke off,
// until what it is about has ended.
func (s *server) frames(ctx context.Context, open func(context.Context, *string) (frameStream, error), ended func() bool) error {
	var last *string
	for {
		stream, err := open(ctx, last)
		opened := err == nil // otherwise there is nothing to close
		for err == nil {
			var frame *apiv1.LiveFrame
			if frame, err = stream.Receive(); err != nil {
				break
			}
			if frame.GetId() != "" {
				id := frame.GetId()
				last = &id
			}
			if err := s.Item(frame, func() { s.frame(frame) }); err != nil {
				_ = stream.Close()
				return err
			}
			if frame.GetEvent() == "data" && ends(frame.GetData()) && ended() {
				return stream.Close()
			}
		}
		if opened {
			_ = stream.Close()
		}
		switch code := connect.CodeOf(err); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF), code == connect.CodeUnavailable, code == connect.CodeDeadlineExceeded:
			if ended() {
				return nil
			}
			pause(ctx, lookAgain) // the server closes a stream that is silent for long
		default:
			return err
		}
	}
}

// lifecycle is a frame that tells of a change of state.
type lifecycle struct {
	Type, Event string
	Data        json.RawMessage
}

// ends reports whether a frame may be the last one.
func ends(data string) bool {
	var change lifecycle
	return json.Unmarshal([]byte(data), &change) == nil && change.Type == "Event" &&
		slices.Contains([]string{
			"WORKFLOW_COMPLETED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED", "TASK_COMPLETED", "TASK_FAILED",
			"TASK_CANCELLED",
		}, change.Event)
}

// frame prints a frame as a line.
func (s *server) frame(f *apiv1.LiveFrame) {
	label, text := "DATA", f.GetData()
	switch f.GetEvent() {
	case "token":
		label = "TOKEN"
	case "progress":
		label = "PROGRESS"
		if n, err := strconv.ParseFloat(f.GetData(), 64); err == nil {
			text = strconv.Itoa(int(n*100)) + "%"
		}
	case "error":
		label = "ERROR"
	case "missed":
		label = "MISSED"
	default:
		var change lifecycle
		if json.Unmarshal([]byte(f.GetData()), &change) == nil && change.Type == "Event" {
			label, text = "EVENT", change.Event+" "+string(change.Data)
		}
	}
	s.Linef("%s", s.Fit("["+label+"] "+text, 0))
}
