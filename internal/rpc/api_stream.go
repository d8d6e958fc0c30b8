package rpc

import (
	"context"
	"strconv"
	"strings"
	"time"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/live"
)

// streams serves flovyn.api.v1.StreamService.
type streams struct {
	apiv1connect.UnimplementedStreamServiceHandler
	door
}

const (
	// streamIdle is how long a stream stays open on which nothing happens.
	streamIdle = 5 * time.Minute
	// streamGrace is how long a stream goes on after the end of what it follows:
	// tasks may still be saying something.
	streamGrace = time.Second
)

// out is where frames go.
type out interface {
	SendHeaders() error
	Send(*apiv1.LiveFrame) error
}

// watched are the types of frame that a request asks for.
type watched map[string]bool

// typesOf are the names of requests for the events of frames.
var typesOf = map[string]string{live.Token: "tokens", live.Progress: "progress", live.Data: "data", live.Error: "errors"}

func watchedOf(types *string) (watched, error) {
	if types == nil || *types == "" {
		return nil, nil //nolint:nilnil // everything, and no error
	}
	wanted := watched{}
	for name := range strings.SplitSeq(*types, ",") {
		switch name = strings.TrimSpace(name); name {
		case "events", "tokens", "progress", "data", "errors":
			wanted[name] = true
		default:
			return nil, fault.InvalidField("types", "%q is none of events, tokens, progress, data and errors", name)
		}
	}
	return wanted, nil
}

// has reports whether a frame is asked for. That frames were missed is told to
// everybody.
func (w watched) has(f *live.Frame) bool {
	switch {
	case w == nil, f.Event == live.Missed:
		return true
	case f.Name != "":
		return w["events"]
	default:
		return w[typesOf[f.Event]]
	}
}

// StreamWorkflowExecution follows one execution.
func (h streams) StreamWorkflowExecution(
	ctx context.Context, req *apiv1.StreamWorkflowExecutionRequest, stream apiv1connect.StreamServiceStreamWorkflowExecutionServerStream,
) error {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return err
	}
	if _, err := h.engine.Execution(ctx, org, id); err != nil {
		return err
	}
	return h.single(ctx, live.Workflow(org, id), req.Types, req.LastEventId, stream)
}

// StreamTaskExecution follows a task that belongs to no workflow.
func (h streams) StreamTaskExecution(
	ctx context.Context, req *apiv1.StreamTaskExecutionRequest, stream apiv1connect.StreamServiceStreamTaskExecutionServerStream,
) error {
	org, id, err := h.oneTask(ctx, req)
	if err != nil {
		return err
	}
	if _, err := h.tasks.ViewStandalone(ctx, org, id); err != nil {
		return err
	}
	return h.single(ctx, live.Task(org, id), req.Types, req.LastEventId, stream)
}

// single follows one topic; the ids of its frames are their places.
func (h streams) single(ctx context.Context, topic live.Topic, types, lastEventID *string, stream out) error {
	wanted, err := watchedOf(types)
	if err != nil {
		return err
	}
	after, err := placeOf(lastEventID)
	if err != nil {
		return err
	}
	watch, err := h.live.Watch(topic, after)
	if err != nil {
		return err
	}
	defer watch.Close()
	if err := stream.SendHeaders(); err != nil {
		return err
	}
	return h.follow(ctx, watch, func(f *live.Frame) error {
		if !wanted.has(f) {
			return nil
		}
		id := ""
		if f.Seq > 0 {
			id = strconv.Itoa(int(f.Seq))
		}
		return stream.Send(frameOut(f, id))
	})
}

// placeOf reads the id of a frame. One of another server's making is no failure:
// the stream then begins at the beginning.
func placeOf(id *string) (flovyn.Seq, error) {
	if id == nil || *id == "" {
		return 0, nil
	}
	place := *id
	if _, last, ok := strings.Cut(place, ":"); ok {
		place = last
	}
	n, err := strconv.ParseInt(place, 10, 32)
	if err != nil || n < 0 {
		return 0, fault.InvalidField("last_event_id", "is not the id of an event of this stream")
	}
	return flovyn.Seq(n), nil
}

func frameOut(f *live.Frame, id string) *apiv1.LiveFrame {
	message := &apiv1.LiveFrame{Id: id, Event: f.Event, Data: text(f.Data), TaskExecutionId: maybeID(f.Task.UUID())}
	if f.Topic.Class == flovyn.ClassWorkflow {
		message.WorkflowExecutionId = maybeID(f.Topic.ID)
	}
	return message
}

// follow passes frames on until the topic has ended, nothing has happened for a
// while, or the client or the server ends. That a stream ends with its credential
// is seen to by lifetime.
func (d door) follow(ctx context.Context, watch *live.Watch, send func(*live.Frame) error) error {
	idle := time.NewTimer(streamIdle)
	defer idle.Stop()
	var grace <-chan time.Time
	for {
		f, news, loaded, ended := watch.Next()
		if f != nil {
			if err := send(f); err != nil {
				return err
			}
			idle.Reset(streamIdle)
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		if grace == nil && loaded && ended {
			grace = time.After(streamGrace)
		}
		if !ended {
			grace = nil // it may have been retried
		}
		select {
		case <-news:
		case <-grace:
			return nil
		case <-idle.C:
			return nil
		case <-d.stopping:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// StreamWorkflowExecutionTree follows an execution, its children, and theirs.
func (h streams) StreamWorkflowExecutionTree(
	ctx context.Context, req *apiv1.StreamWorkflowExecutionTreeRequest,
	stream apiv1connect.StreamServiceStreamWorkflowExecutionTreeServerStream,
) error {
	org, id, err := h.one(ctx, req)
	if err != nil {
		return err
	}
	wanted, err := watchedOf(req.Types)
	if err != nil {
		return err
	}
	if _, err := h.engine.Execution(ctx, org, id); err != nil {
		return err
	}
	since, err := h.since(ctx, org, req.LastEventId)
	if err != nil {
		return err
	}
	if err := stream.SendHeaders(); err != nil {
		return err
	}
	t := &tree{door: h.door, frames: make(chan *live.Frame), ends: make(chan error)}
	return t.follow(ctx, live.Workflow(org, id), func(f *live.Frame) error {
		if !wanted.has(f) || since.told(f) {
			return nil
		}
		return stream.Send(frameOut(f, treeID(f)))
	})
}

func treeID(f *live.Frame) string {
	if f.Seq == 0 {
		return ""
	}
	return f.Topic.ID.String() + ":" + strconv.Itoa(int(f.Seq))
}

// moment is a place in a stream of several topics: a place in one of them, and
// when that was, which is what counts for the others.
type moment struct {
	topic live.Topic
	seq   flovyn.Seq
	at    time.Time
}

// told reports whether a frame was told before the moment. What happened at the
// very same time elsewhere is told again rather than not at all.
func (m moment) told(f *live.Frame) bool {
	switch {
	case m.seq == 0 || f.Seq == 0:
		return false
	case f.Topic == m.topic:
		return f.Seq <= m.seq
	default:
		return f.At.Before(m.at)
	}
}

// since reads the id of a frame of several topics: an execution, a colon, and the
// place in its history.
func (d door) since(ctx context.Context, org flovyn.OrgID, id *string) (moment, error) {
	if id == nil || *id == "" {
		return moment{}, nil
	}
	name, _, _ := strings.Cut(*id, ":")
	execution, err := parseExecution("last_event_id", name)
	if err != nil {
		return moment{}, err
	}
	seq, err := placeOf(id)
	if err != nil || seq == 0 {
		return moment{}, err
	}
	events, _, err := d.engine.EventsAfter(ctx, org, execution, seq-1, 1)
	if err != nil || len(events) == 0 {
		return moment{}, err
	}
	return moment{live.Workflow(org, execution), seq, events[0].At}, nil
}

// tree follows several topics at once.
type tree struct {
	door
	frames chan *live.Frame
	ends   chan error
	open   int
	known  map[live.Topic]bool
}

// follow begins with one execution and adds the children that it hears of.
func (t *tree) follow(ctx context.Context, root live.Topic, send func(*live.Frame) error) error {
	ctx, cancel := context.WithCancel(ctx)
	t.known = map[live.Topic]bool{}
	if err := t.add(ctx, root); err != nil {
		cancel()
		return err
	}
	var failure error
	for t.open > 0 {
		select {
		case f := <-t.frames:
			if failure != nil {
				continue
			}
			if failure = send(f); failure == nil && !f.Child.IsZero() {
				t.child(ctx, live.Workflow(f.Topic.Org, f.Child), send)
			}
			if failure != nil {
				cancel()
			}
		case err := <-t.ends:
			t.open--
			if failure == nil && err != nil {
				failure = err
				cancel()
			}
		}
	}
	cancel()
	return failure
}

// child adds a child. One that is too many is told of, and not followed.
func (t *tree) child(ctx context.Context, name live.Topic, send func(*live.Frame) error) {
	if t.known[name] {
		return
	}
	if len(t.known) >= flovyn.MaxTreeWatched || t.add(ctx, name) != nil {
		_ = send(live.MissedFrame(name, 1)) // the next frame finds a client that has gone
	}
}

func (t *tree) add(ctx context.Context, name live.Topic) error {
	watch, err := t.live.Watch(name, 0)
	if err != nil {
		return err
	}
	t.known[name] = true
	t.open++
	go func() {
		defer watch.Close()
		t.ends <- t.door.follow(ctx, watch, func(f *live.Frame) error {
			select {
			case t.frames <- f:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return nil
}

// StreamOrganization follows everything that changes in the organization.
func (h streams) StreamOrganization(
	ctx context.Context, req *apiv1.StreamOrganizationRequest, stream apiv1connect.StreamServiceStreamOrganizationServerStream,
) error {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return err
	}
	wanted, err := namesOf(req.Types)
	if err != nil {
		return err
	}
	since, err := sinceOf(org, req.LastEventId)
	if err != nil {
		return err
	}
	watch, err := h.live.Watch(live.Organization(org), 0)
	if err != nil {
		return err
	}
	defer watch.Close()
	if since.seq > 0 {
		watch.Resume(since.topic, since.seq)
	} else {
		watch.Next() // from here on
	}
	if err := stream.SendHeaders(); err != nil {
		return err
	}
	return h.follow(ctx, watch, func(f *live.Frame) error {
		if f.Event != live.Missed && !wanted.match(f.Name) {
			return nil
		}
		return stream.Send(frameOut(f, orgID(f)))
	})
}

func orgID(f *live.Frame) string {
	if f.Seq == 0 {
		return ""
	}
	return string(f.Topic.Class) + ":" + f.Topic.ID.String() + ":" + strconv.Itoa(int(f.Seq))
}

// sinceOf reads the id of a frame of an organization.
func sinceOf(org flovyn.OrgID, id *string) (moment, error) {
	if id == nil || *id == "" {
		return moment{}, nil
	}
	parts := strings.Split(*id, ":")
	if len(parts) != 3 || (parts[0] != string(flovyn.ClassWorkflow) && parts[0] != string(flovyn.ClassTask)) {
		return moment{}, fault.InvalidField("last_event_id", "is not the id of an event of this stream")
	}
	parsed, err := parseUUID("last_event_id", parts[1])
	if err != nil {
		return moment{}, err
	}
	seq, err := placeOf(&parts[2])
	return moment{topic: live.Topic{Org: org, Class: flovyn.Class(parts[0]), ID: parsed}, seq: seq}, err
}

// names are the dotted names of changes that a request asks for.
type names []string

func namesOf(types *string) (names, error) {
	if types == nil || *types == "" {
		return nil, nil
	}
	var wanted names
	for name := range strings.SplitSeq(*types, ",") {
		name = strings.TrimSpace(name)
		if area, what, ok := strings.Cut(name, "."); !ok || area == "" || what == "" {
			return nil, fault.InvalidField("types", "%q is no name such as workflow.completed or task.*", name)
		}
		wanted = append(wanted, name)
	}
	return wanted, nil
}

// match reports whether a change such as WORKFLOW_COMPLETED goes by one of the
// names.
func (n names) match(change string) bool {
	if n == nil {
		return true
	}
	dotted := strings.Replace(strings.ToLower(change), "_", ".", 1)
	for _, name := range n {
		if area, ok := strings.CutSuffix(name, "*"); name == dotted || (ok && strings.HasPrefix(dotted, area)) {
			return true
		}
	}
	return false
}
