package oracle_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/oracle"
	"github.com/flovyn/flovyn-server/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	seeds = flag.Int("seeds", 40, "how many random programs TestDifferential runs")
	first = flag.Int("first", 0, "the first seed")
	ops   = flag.Int("ops", 150, "how many operations each of them has")
	quiet = flag.Int("quiet", 0, "go on beyond the seeds until so many operations in a row showed nothing new")
)

// atOnce is how many programs run at the same time, each on servers of its own.
const atOnce = 2

// TestDifferential runs random programs of operations on the engine, with two
// servers on PostgreSQL, and on the model. After each operation what its caller
// learned, all histories and all tables must be the same.
//
// `make oracle SEEDS=1000 OPS=200` runs the long form.
func TestDifferential(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t)
	index(t, dsn)
	found := &behaviour{signatures: map[string]int{}, reached: map[string]bool{}}
	numbers := make(chan int)
	var group sync.WaitGroup
	for range atOnce {
		r := newRig(t, dsn)
		group.Go(func() {
			for seed := range numbers {
				if !t.Failed() {
					r.differ(t, uint64(seed), found)
				}
			}
		})
	}
	for seed := *first; !t.Failed() && (seed < *first+*seeds || *quiet > 0 && found.quietFor() < *quiet); seed++ {
		numbers <- seed
	}
	close(numbers)
	group.Wait()
	found.report(t)
}

// index lets the comparison find an organization's rows, which the engine never
// looks for.
func index(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, table := range []string{"task_execution", "task_payload", "task_attempt", "promise", "timer", "ready"} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("CREATE INDEX ON %s (org_id)", table)); err != nil {
			t.Fatal(err)
		}
	}
}

// group is one operation, or some that are asked for at the same time.
type group []oracle.Op

func (g group) String() string {
	lines := make([]string, len(g))
	for i, op := range g {
		lines[i] = op.String()
	}
	return strings.Join(lines, "\n  & ")
}

// differ writes and runs one program. A difference is made smaller and reported.
func (r *rig) differ(t *testing.T, seed uint64, found *behaviour) {
	t.Helper()
	run := r.newRun(t.Context())
	g := newWriter(seed, run.model)
	var program []group
	var err error
	for n := 0; n < *ops && err == nil; {
		step := g.group()
		program, n = append(program, step), n+len(step)
		err = run.step(step, found)
		g.model = run.model
	}
	if err == nil {
		err = run.compareReaders()
	}
	run.close()
	if err == nil {
		return
	}
	t.Logf("seed %d differs after %d steps: %v", seed, len(program), err)
	program, err = r.shrink(t.Context(), program, err)
	var text strings.Builder
	for i, step := range program {
		fmt.Fprintf(&text, "%3d %s\n", i, step)
	}
	t.Errorf("seed %d, as few operations as will do:\n%s%v", seed, text.String(), err)
}

// step does one operation, or some at once, on both sides and compares.
func (r *run) step(step group, found *behaviour) error {
	if len(step) > 1 {
		return r.together(step, found)
	}
	op := step[0]
	before := lengths(r.model)
	want := r.model.Do(op)
	r.log = append(r.log, op)
	got, err := r.do(op, want)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := sameAnswer(op, want, got); err != nil {
		return err
	}
	if err := r.compare(); err != nil {
		return fmt.Errorf("after %s\n%w", op, err)
	}
	if found != nil {
		found.add(op, want, before, r.model)
	}
	return nil
}

func sameAnswer(op oracle.Op, want, got oracle.Answer) error {
	if want.Failure != "" {
		want = oracle.Answer{Failure: want.Failure, Served: want.Served}
	}
	if !reflect.DeepEqual(normalAnswer(want), normalAnswer(got)) {
		return fmt.Errorf("%s\nis answered %+v by the engine, %+v by the model", op, got, want)
	}
	return nil
}

// together asks for some operations at the same time. They may share a commit or
// wait for each other; whatever happens, it must be as if they had come one after
// the other, in some order.
func (r *run) together(step group, found *behaviour) error {
	step = slices.DeleteFunc(slices.Clone(step), func(op oracle.Op) bool { return r.replay(nil).Do(op).Skipped })
	for _, op := range step {
		r.commands(op) // gives names to what it makes, while nothing runs
	}
	answers, failures := make([]oracle.Answer, len(step)), make([]error, len(step))
	ready := make(chan struct{})
	var asking sync.WaitGroup
	for i, op := range step {
		asking.Go(func() {
			<-ready
			answers[i], failures[i] = r.askOnly(op)
		})
	}
	close(ready)
	asking.Wait()
	r.quiet()
	for i, err := range failures {
		if err != nil {
			return fmt.Errorf("%s: %w", step[i], err)
		}
	}
	for i, op := range step { // names are given here, where nothing runs any more
		if id, err := uuid.Parse(answers[i].Name); err == nil {
			answers[i].Name = r.named(id, op.New)
		}
	}
	var reasons []string
	for _, order := range orders(len(step)) {
		err := r.inOrder(step, answers, order, found)
		if err == nil {
			return nil
		}
		reasons = append(reasons, fmt.Sprintf("in the order %v: %v", order, err))
	}
	return fmt.Errorf("at once\n    %s\nlead to what no order of them explains:\n%s", step, strings.Join(reasons, "\n"))
}

// inOrder compares with the model after the operations in one order, and keeps
// that model if it is the same.
func (r *run) inOrder(step group, answers []oracle.Answer, order []int, found *behaviour) error {
	kept, ids, names, seen := r.model, maps.Clone(r.ids), maps.Clone(r.names), maps.Clone(r.seen)
	r.model = r.replay(nil)
	before := lengths(r.model)
	compared := func() error {
		for _, i := range order {
			if err := sameAnswer(step[i], r.model.Do(step[i]), answers[i]); err != nil {
				return err
			}
		}
		return r.compare()
	}
	if err := compared(); err != nil {
		r.model, r.ids, r.names, r.seen = kept, ids, names, seen
		return err
	}
	for _, i := range order {
		r.log = append(r.log, step[i])
	}
	if found != nil {
		found.add(oracle.Op{Kind: "together"}, oracle.Answer{}, before, r.model)
		found.count(len(step) - 1)
	}
	return nil
}

// replay returns a model of what has happened so far, and more.
func (r *run) replay(more []oracle.Op) *oracle.Model {
	m := oracle.New()
	for _, op := range slices.Concat(r.log, more) {
		m.Do(op)
	}
	return m
}

// orders returns all orders of n things.
func orders(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, shorter := range orders(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(shorter), at, n-1))
		}
	}
	return all
}

func normalAnswer(a oracle.Answer) oracle.Answer {
	if len(a.State) == 0 {
		a.State = nil
	}
	slices.SortFunc(a.Served, func(x, y oracle.Served) int { return strings.Compare(x.Claim, y.Claim) })
	return a
}

// again runs a program that is given.
func (r *rig) again(ctx context.Context, program []group) (err error) {
	run := r.newRun(ctx)
	defer run.close()
	for _, step := range program {
		if err := run.step(step, nil); err != nil {
			return err
		}
	}
	return run.compareReaders()
}

// shrink takes operations and commands out of a program as long as it fails.
func (r *rig) shrink(ctx context.Context, program []group, failure error) ([]group, error) {
	left := 800
	still := func(candidate []group) bool {
		left--
		err := r.again(ctx, candidate)
		if err != nil {
			program, failure = candidate, err
		}
		return err != nil
	}
	for size := len(program) / 2; size > 0 && left > 0; {
		smaller := false
		for i := 0; i < len(program) && left > 0; {
			end := min(i+size, len(program))
			if still(slices.Concat(program[:i], program[end:])) {
				smaller = true
			} else {
				i += size
			}
		}
		if !smaller || size > 1 {
			size /= 2
		}
	}
	with := func(i int, step group) []group {
		candidate := slices.Clone(program)
		candidate[i] = step
		return candidate
	}
	for i := range program {
		for j := 0; j < len(program[i]) && len(program[i]) > 1 && left > 0; {
			if !still(with(i, slices.Delete(slices.Clone(program[i]), j, j+1))) {
				j++
			}
		}
		for j := range program[i] {
			for k := 0; k < len(program[i][j].Commands) && left > 0; {
				step := slices.Clone(program[i])
				step[j].Commands = slices.Delete(slices.Clone(step[j].Commands), k, k+1)
				if !still(with(i, step)) {
					k++
				}
			}
		}
	}
	return program, failure
}

// behaviour is what was seen of the engine.
type behaviour struct {
	mu         sync.Mutex
	signatures map[string]int
	reached    map[string]bool
	ops, last  int
}

// lengths is what can change in an operation: statuses, and how long the histories
// are.
func lengths(m *oracle.Model) map[string]snapshot {
	all := map[string]snapshot{}
	for name, w := range m.Executions {
		all["w"+name] = snapshot{w.Status, len(w.Events)}
	}
	for name, t := range m.Tasks {
		all["t"+name] = snapshot{t.Status, 0}
	}
	for name, p := range m.Promises {
		all["p"+name] = snapshot{p.Status, 0}
	}
	return all
}

type snapshot struct {
	status string
	events int
}

func (b *behaviour) add(op oracle.Op, answer oracle.Answer, before map[string]snapshot, m *oracle.Model) {
	outcome := answer.Failure
	switch {
	case answer.Skipped:
		outcome = "skipped"
	case outcome == "" && (op.Kind == oracle.Poll || op.Kind == oracle.PollTask) && answer.Name == "":
		outcome = "empty"
	case outcome == "":
		outcome = "ok"
	}
	changes := map[string]bool{}
	for key, now := range lengths(m) {
		if was := before[key]; was.status != now.status {
			changes[key[:1]+" "+was.status+">"+now.status] = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, w := range m.Executions {
		for _, e := range w.Events[before["w"+name].events:] {
			changes[e.Type] = true
			b.reached["event "+e.Type] = true
		}
	}
	b.reached[string(op.Kind)+" "+outcome] = true
	if op.Kind == oracle.Submit && outcome == "ok" && before["w"+op.On].status == oracle.Running {
		for _, c := range op.Commands {
			b.reached["command "+c.Kind] = true
		}
	}
	signature := fmt.Sprint(op.Kind, " ", outcome, " served ", len(answer.Served), " ", slices.Sorted(maps.Keys(changes)))
	b.ops++
	if b.signatures[signature]++; b.signatures[signature] == 1 {
		b.last = b.ops
	}
}

// count counts operations that were compared together with others.
func (b *behaviour) count(more int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops += more
}

// quietFor is for how many operations nothing new was seen.
func (b *behaviour) quietFor() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ops - b.last
}

// report says what was reached, and fails for what was not.
func (b *behaviour) report(t *testing.T) {
	t.Helper()
	t.Logf("%d operations, %d signatures of behaviour, the last new one %d operations ago", b.ops, len(b.signatures), b.ops-b.last)
	if t.Failed() {
		return
	}
	for _, wanted := range outcomes() {
		if !b.reached[wanted] {
			t.Errorf("never reached: %s", wanted)
		}
	}
}

// outcomes are all that a run of the test must reach.
func outcomes() (all []string) {
	for _, kind := range oracle.OpKinds() {
		all = append(all, string(kind)+" ok")
	}
	for _, c := range oracle.CommandKinds() {
		all = append(all, "command "+c)
	}
	for _, e := range history.EventTypes() {
		// One is never written. The other comes of an operation that the model does
		// not know; the engine's tests of retries are about it.
		if e != history.ChildWorkflowCancelled && e != history.RetryRequested {
			all = append(all, "event "+string(e))
		}
	}
	for _, kind := range []oracle.OpKind{
		oracle.StartChild, oracle.Submit, oracle.Signal, oracle.Cancel, oracle.Resolve, oracle.Reject, oracle.Complete, oracle.Fail,
		oracle.CancelTask, oracle.Heartbeat, oracle.Query,
	} {
		all = append(all, string(kind)+" "+oracle.NotFound)
	}
	for _, kind := range []oracle.OpKind{oracle.StartChild, oracle.Submit, oracle.Signal, oracle.Cancel, oracle.CancelTask, oracle.Heartbeat} {
		all = append(all, string(kind)+" "+oracle.Precondition)
	}
	return append(all, "together ok", "poll empty", "poll-task empty", "signal-with-start "+oracle.Invalid)
}
