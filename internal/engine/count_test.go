package engine_test

import (
	"context"
	"testing"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/wake"
)

// TestCostOfAWorkflow holds the engine to its promise: a workflow of one task,
// with pollers that wait for it, is four commits and ten row writes.
func TestCostOfAWorkflow(t *testing.T) {
	t.Parallel()
	b := setUpOn(t, pgtest.NewOn(t, pgtest.Server(t))) // where nobody else uses up transactions
	b.countWrites()
	b.empty()
	if a, err := b.tasks.Poll(t.Context(), b.key(), wake.Poller{Worker: "w"}, 0); err != nil || a != nil {
		t.Fatal(a, err)
	}
	ctx := context.WithoutCancel(t.Context())
	activations, assignments := make(chan *flovyn.Activation), make(chan *flovyn.Assignment)
	go func() {
		for range 2 {
			a, _ := b.engine.Poll(ctx, b.key(), wake.Poller{Worker: "w"}, patience)
			activations <- a
		}
	}()
	go func() {
		a, _ := b.tasks.Poll(ctx, b.key(), wake.Poller{Worker: "t"}, patience)
		assignments <- a
	}()
	waiting := func(n int) func() bool { return func() bool { return b.engine.Waiting() == n } }
	b.until(waiting(2))
	commits, writes := b.cost()
	id := b.start("k", `null`)
	<-activations
	b.until(waiting(2))
	task := newTaskID()
	b.submit(id, history.Suspended, history.ScheduleTask{ID: task, Kind: "t", MaxRetries: 3})
	<-assignments
	b.must(b.tasks.Complete(t.Context(), b.org, task, []byte(`1`)))
	<-activations
	b.submit(id, history.Completed, history.CompleteWorkflow{Output: []byte(`2`)})
	commitsAfter, writesAfter := b.cost()
	if n := commitsAfter - commits; n != 4 {
		t.Errorf("%d commits", n)
	}
	if n := writesAfter - writes; n < 8 || n > 10 {
		t.Errorf("%d row writes", n)
	}
	b.wantStatus(id, flovyn.WorkflowCompleted)
}

// countWrites has the database count every row that is written.
func (b *bench) countWrites() {
	b.Helper()
	b.exec(`CREATE SEQUENCE writes;
		CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''writes''); RETURN NULL; END';
		DO $$ DECLARE t regclass; BEGIN
			FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace LOOP
				EXECUTE format('CREATE TRIGGER count_write AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION count_write()', t);
			END LOOP;
		END $$`)
}

// cost returns how many transactions have got a number so far, which only those
// that write do, and how many rows were written.
func (b *bench) cost() (commits, writes int) {
	b.Helper()
	return b.count("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
		b.count("SELECT last_value - 1 + is_called::int FROM writes")
}
