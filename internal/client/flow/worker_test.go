package flow

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// bench is a real server, a user, and a worker that the test fills.
type bench struct {
	t      *testing.T
	user   *client.Client
	worker *Worker
	stop   func()
}

// newBench makes a bench whose worker reaches the server through httpClient, nil
// for the usual one.
func newBench(t *testing.T, httpClient *http.Client) *bench {
	t.Helper()
	server := servertest.New(t)
	dial := func(config client.Config) *client.Client {
		config.URL = server.GRPC
		c, err := client.New(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	b := &bench{t: t, user: dial(client.Config{Token: servertest.AdminKey})}
	worker, err := NewWorker(dial(client.Config{Token: servertest.WorkerKey, HTTPClient: httpClient}), Options{
		Org: servertest.Org.String(), MaxWorkflows: 3, MaxTasks: 3, HeartbeatInterval: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.worker = worker
	return b
}

// run runs the worker until the test ends or stop is called.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := b.worker.Run(ctx); err != nil {
			b.t.Errorf("the worker ended: %v", err)
		}
	})
	b.stop = func() { cancel(); running.Wait() }
	b.t.Cleanup(b.stop)
}

// on is the bench for a subtest.
func (b *bench) on(t *testing.T) *bench {
	t.Helper()
	sub := *b
	sub.t = t
	return &sub
}

func (b *bench) start(kind string, input any) string {
	b.t.Helper()
	id, err := b.user.StartWorkflow(b.t.Context(), client.Start{Org: servertest.Org.String(), Kind: kind, Input: input})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// result is the output of an execution, or its error in words.
func (b *bench) result(id string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	output, err := b.user.WaitResult(ctx, id)
	if failure, ok := errors.AsType[*client.WorkflowError](err); ok {
		return strings.TrimPrefix(failure.FailureType+": "+failure.Message, ": ")
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(output)
}

// count returns how many events of each type an execution has.
func (b *bench) count(id string) map[client.EventType]int {
	b.t.Helper()
	events, err := b.user.Events(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	counts := map[client.EventType]int{}
	for _, e := range events {
		if e.Type != client.WorkflowSuspended {
			counts[e.Type]++
		}
	}
	return counts
}

func TestWorkflowsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.RegisterTask("fails", func(_ context.Context, t *Task) (any, error) { return nil, errors.New("no use") })
	b.worker.RegisterTask("panics", func(context.Context, *Task) (any, error) { panic("boom") })
	b.worker.RegisterTask("unencodable", func(context.Context, *Task) (any, error) { return func() {}, nil })
	b.worker.RegisterTask("third time", TypedTask(func(_ context.Context, t *Task, input string) (string, error) {
		if t.Attempt < 3 {
			return "", errors.New("not yet")
		}
		return input + " there", nil
	}))
	b.worker.RegisterWorkflow("task", Workflow(func(ctx *Context, kind string) (string, error) {
		return Result[string](ctx.ScheduleTask(kind, "nearly", TaskOptions{MaxRetries: new(int32(2))}))
	}))
	b.worker.RegisterWorkflow("child", Workflow(func(ctx *Context, kind string) (string, error) {
		return Result[string](ctx.Child("the child", "task", kind))
	}))
	b.worker.RegisterWorkflow("cancels itself", func(*Context, json.RawMessage) (any, error) { return nil, Cancel("sold out") })
	b.worker.RegisterWorkflow("promise", func(ctx *Context, _ json.RawMessage) (any, error) {
		return nil, ctx.NewPromise("never", 10*time.Millisecond).Get(nil)
	})
	b.run()
	for name, test := range map[string]struct{ kind, input, want string }{
		"a task that succeeds at last":       {"task", "third time", `"nearly there"`},
		"a task that fails for good":         {"task", "fails", "ERROR: task fails failed: no use"},
		"a task that panics":                 {"task", "panics", "ERROR: task panics failed: panic: boom"},
		"a task whose output is no JSON":     {"task", "unencodable", "ERROR: task unencodable failed: encoding the output: json: unsupported type: func()"},
		"a child that completes":             {"child", "third time", `"nearly there"`},
		"a child that fails":                 {"child", "fails", "ERROR: child workflow the child did not complete: task fails failed: no use"},
		"a workflow that cancels itself":     {"cancels itself", "", "sold out"},
		"a promise that nobody settles":      {"promise", "", "ERROR: promise never timed out"},
		"a command that the server declines": {"task", "", "REFUSED: the server refused the workflow's commands"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.on(t)
			id := b.start(test.kind, test.input)
			if got := b.result(id); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestSignalsAndPromisesFromOutside(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.RegisterWorkflow("talks", func(ctx *Context, _ json.RawMessage) (any, error) {
		var heard []string
		for range 2 {
			word, err := Result[string](ctx.Signal("word"))
			if err != nil {
				return nil, err
			}
			heard = append(heard, word)
		}
		word, err := Result[string](ctx.NewPromise("last", 0))
		return append(heard, word), err
	})
	b.run()
	id := b.start("talks", nil)
	for _, word := range []string{"one", "two"} {
		if err := b.user.Signal(t.Context(), servertest.Org.String(), id, "word", word); err != nil {
			t.Fatal(err)
		}
	}
	for b.count(id)[client.PromiseCreated] == 0 {
		pause(t.Context(), 5*time.Millisecond)
	}
	if err := b.user.ResolvePromiseByName(t.Context(), id, "last", "three"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.result(id), `["one","two","three"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The task's own calls reach the server, and its state outlives an attempt.
func TestTaskTalksToTheServer(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.RegisterTask("talks", func(ctx context.Context, t *Task) (any, error) {
		if t.Attempt == 1 {
			return nil, errors.Join(errors.New("again"), t.SetState(ctx, "seen", 41), t.SetState(ctx, "gone", 1), t.ClearState(ctx, "gone"))
		}
		var seen int
		ok, err := t.State(ctx, "seen", &seen)
		gone, goneErr := t.State(ctx, "gone", &seen)
		return []any{seen + 1, ok, gone}, errors.Join(err, goneErr, t.Progress(ctx, 0.5, "half"), t.Log(ctx, slog.LevelInfo, "on it"),
			t.StreamToken(ctx, "word"), t.StreamData(ctx, 1))
	})
	b.worker.RegisterWorkflow("asks", func(ctx *Context, _ json.RawMessage) (any, error) {
		return Result[[]any](ctx.ScheduleTask("talks", nil, TaskOptions{}))
	})
	b.run()
	if got, want := b.result(b.start("asks", nil)), `[42,true,false]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// lossy lets one call in three of each method pass. Of the others, one is carried
// out by the server and its answer lost, one never reaches it.
type lossy struct {
	next  http.RoundTripper
	calls sync.Map // from path to *atomic.Int64
}

var errLost = errors.New("the connection broke")

func (l *lossy) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.Path, "/Poll") { // the work of a lost poll comes back only after a while
		return l.next.RoundTrip(req)
	}
	made, _ := l.calls.LoadOrStore(req.URL.Path, new(atomic.Int64))
	counter, ok := made.(*atomic.Int64)
	if !ok {
		return nil, errors.New("no counter")
	}
	switch counter.Add(1) % 3 {
	case 2:
		return nil, errors.Join(errLost, req.Body.Close())
	case 1:
		resp, err := l.next.RoundTrip(req)
		if err == nil {
			err = errors.Join(errLost, resp.Body.Close())
		}
		return nil, err
	default:
		return l.next.RoundTrip(req)
	}
}

func TestLostAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	b := newBench(t, &http.Client{Transport: &lossy{next: transport}})
	b.worker.RegisterTask("echo", TypedTask(func(_ context.Context, _ *Task, n int) (int, error) { return n, nil }))
	b.worker.RegisterWorkflow("sums", func(ctx *Context, _ json.RawMessage) (any, error) {
		sum := SideEffect(ctx, "seed", func() int { return 100 })
		if err := ctx.SetState("seed", sum); err != nil {
			return nil, err
		}
		one, two := ctx.ScheduleTask("echo", 1, TaskOptions{}), ctx.ScheduleTask("echo", 2, TaskOptions{})
		if err := All(one, two, ctx.NewTimer(time.Millisecond)); err != nil {
			return nil, err
		}
		for _, f := range []*Future{one, two} {
			n, err := Result[int](f)
			if err != nil {
				return nil, err
			}
			sum += n
		}
		return sum, nil
	})
	b.run()
	id := b.start("sums", nil)
	if got := b.result(id); got != "103" {
		t.Errorf("got %s", got)
	}
	want := map[client.EventType]int{
		client.WorkflowStarted: 1, client.OperationCompleted: 1, client.StateSet: 1, client.TaskScheduled: 2,
		client.TaskCompleted: 2, client.TimerStarted: 1, client.TimerFired: 1, client.WorkflowCompleted: 1,
	}
	if diff := cmp.Diff(want, b.count(id)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// A worker that is stopped finishes and reports what it has begun.
func TestStopFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	b.worker.RegisterTask("slow", func(ctx context.Context, _ *Task) (any, error) {
		close(begun)
		<-goOn
		return "done", ctx.Err()
	})
	b.worker.RegisterWorkflow("asks", func(ctx *Context, _ json.RawMessage) (any, error) {
		return Result[string](ctx.ScheduleTask("slow", nil, TaskOptions{}))
	})
	b.run()
	id := b.start("asks", nil)
	<-begun
	var stopped sync.WaitGroup
	stopped.Go(b.stop)
	close(goOn)
	stopped.Wait()
	if got := b.count(id)[client.TaskCompleted]; got != 1 {
		t.Errorf("the task completed %d times", got)
	}
}

// The grace period ends what does not finish.
func TestGraceEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.worker.opts.GracePeriod = time.Millisecond
	begun, ended := make(chan struct{}), make(chan struct{})
	b.worker.RegisterTask("endless", func(ctx context.Context, _ *Task) (any, error) {
		close(begun)
		defer close(ended)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	b.worker.RegisterWorkflow("asks", func(ctx *Context, _ json.RawMessage) (any, error) {
		return nil, ctx.ScheduleTask("endless", nil, TaskOptions{}).Get(nil)
	})
	b.run()
	b.start("asks", nil)
	<-begun
	b.stop()
	<-ended
}

// A task that is cancelled on the server ends with the next heartbeat.
func TestCancelledTaskEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	cause := make(chan error, 1)
	b.worker.RegisterTask("endless", func(ctx context.Context, task *Task) (any, error) {
		if err := cancelTask(ctx, b.user, task.ID); err != nil {
			return nil, err
		}
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	b.worker.RegisterWorkflow("asks", func(ctx *Context, _ json.RawMessage) (any, error) {
		return nil, ctx.ScheduleTask("endless", nil, TaskOptions{}).Get(nil)
	})
	b.run()
	if got := b.result(b.start("asks", nil)); !strings.HasPrefix(got, "ERROR: task endless was cancelled") {
		t.Errorf("got %s", got)
	}
	if err := <-cause; !errors.Is(err, ErrTaskGone) {
		t.Errorf("the task ended because of %v", err)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := NewWorker(c, Options{Org: "acme"}); err == nil {
		t.Error("a worker was made for an organization that is no UUID")
	}
	worker, err := NewWorker(c, Options{Org: servertest.Org.String()})
	if err != nil {
		t.Fatal(err)
	}
	worker.RegisterWorkflow("twice", oneTask)
	worker.RegisterWorkflow("twice", oneTask)
	if err := worker.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("running with two functions for one kind: %v", err)
	}
}

// The server must know the worker, and let it poll.
func TestRunEndsWhenTurnedAway(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	for name, token := range map[string]string{"an unknown token": "flovyn_wk_wrong", "a user, who may not poll": servertest.AdminKey} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := client.New(client.Config{URL: server.GRPC, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			worker, err := NewWorker(c, Options{Org: servertest.Org.String()})
			if err != nil {
				t.Fatal(err)
			}
			worker.RegisterWorkflow("task", oneTask)
			if err := worker.Run(t.Context()); err == nil {
				t.Error("the worker ended without an error")
			}
		})
	}
}

func cancelTask(ctx context.Context, c *client.Client, id string) error {
	_, err := c.Tasks.CancelTask(ctx, &flovynv1.CancelTaskRequest{TaskExecutionId: id})
	return err
}
