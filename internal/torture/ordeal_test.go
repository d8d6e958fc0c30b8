package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/client/flow"
)

// ordeal is the input of the workflow under torture, which waits for everything
// there is to wait for: tasks that fail at first, a timer, a promise, a child, a
// signal, and a side effect that must keep the value it had first.
type ordeal struct {
	N int `json:"n"`
	// Ballast makes histories as large as they are in practice.
	Ballast string `json:"ballast,omitempty"`
}

// The parts of an ordeal's result, all of which must have been kept.
const (
	gateValue   = 1_000_000
	signalValue = 10_000_000
)

// result is what an ordeal must lead to.
func (o ordeal) result() int {
	tasks := 3*o.N + 1 + 2 + 3
	child := 2 * (o.N + 100)
	return tasks + child + gateValue + signalValue
}

func register(w *flow.Worker, effects *os.File) {
	w.RegisterWorkflow("ordeal", runOrdeal)
	w.RegisterWorkflow("leg", func(ctx *flow.Context, input json.RawMessage) (any, error) {
		if err := ctx.Sleep(20 * time.Millisecond); err != nil {
			return nil, err
		}
		return flow.Result[int](ctx.ScheduleTask("double", input, flow.TaskOptions{MaxRetries: &retries}))
	})
	// A task's effect is a line in a file: it is there when the write returns,
	// whoever dies next.
	effect := func(t *flow.Task) error {
		_, err := fmt.Fprintf(effects, "%s %s\n", t.WorkflowID, t.ID)
		return err
	}
	w.RegisterTask("add", flow.TypedTask(func(_ context.Context, t *flow.Task, in addition) (int, error) {
		if in.FailFirst && t.Attempt == 1 {
			return 0, errors.New("the first attempt always fails")
		}
		return in.A + in.B, effect(t)
	}))
	w.RegisterTask("double", flow.TypedTask(func(_ context.Context, t *flow.Task, in int) (int, error) {
		return 2 * in, effect(t)
	}))
}

type addition struct {
	A, B      int
	FailFirst bool
	Ballast   string `json:",omitempty"`
}

// retries outlive every worker that dies with the task.
var retries = int32(100)

func runOrdeal(ctx *flow.Context, input json.RawMessage) (any, error) {
	var in ordeal
	if err := json.Unmarshal(input, &in); err != nil {
		return nil, err
	}
	begun := flow.SideEffect(ctx, "begin", func() int64 { return time.Now().UnixNano() })
	if err := ctx.SetState("begun", begun); err != nil {
		return nil, err
	}
	var tasks []*flow.Future
	for i := range 3 {
		tasks = append(tasks, ctx.ScheduleTask("add", addition{in.N, i + 1, i == 0 && in.N%5 == 0, in.Ballast},
			flow.TaskOptions{MaxRetries: &retries}))
	}
	timer := ctx.NewTimer(time.Duration(30+in.N%200) * time.Millisecond)
	child := ctx.Child("leg", "leg", in.N+100)
	gate := ctx.NewPromise("gate", time.Hour)
	sum := 0
	for _, f := range append(tasks, child, gate, ctx.Signal("go")) {
		n, err := flow.Result[int](f)
		if err != nil {
			return nil, err
		}
		sum += n
	}
	var kept int64
	if ok, err := ctx.State("begun", &kept); err != nil {
		return nil, err
	} else if !ok || kept != begun {
		return nil, fmt.Errorf("the state holds %d (%v) where %d was set", kept, ok, begun)
	}
	return sum, timer.Get(nil)
}

// effectsIn returns how often each task had its effect, by task id.
func effectsIn(files []string) (map[string]int, error) {
	effects := map[string]int{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if _, task, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				effects[task]++
			}
		}
	}
	return effects, nil
}
