package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// Config says what to measure.
type Config struct {
	// Server is the server's binary, and Self the benchmark's own, which is also
	// the worker.
	Server, Self string
	// Repeats of every case; their median counts. Scale multiplies the number of
	// operations.
	Repeats int
	Scale   float64
	// Only names the groups to measure; all when empty.
	Only []string
	// Rows are how many finished workflows and pending tasks the growth cases
	// have beside the measured ones.
	Rows int
	// Pollers are how many wait idle.
	Pollers int
	// Progress receives a line for each measurement.
	Progress io.Writer
}

// Groups are what Config.Only may name.
func Groups() []string {
	return []string{"limits", "workflows", "tasks", "starts", "reads", "latency", "cost", "idle", "growth", "replicas", "start"}
}

// suite is a run.
type suite struct {
	Config
	machine *Machine
	report  *Report
}

// Run measures everything that the configuration names.
func Run(ctx context.Context, config Config) (*Report, error) {
	machine, err := NewMachine(ctx)
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	s := &suite{Config: config, machine: machine, report: newReport()}
	for _, group := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"start", s.starting},
		{"limits", s.limits},
		{"workflows", s.workflows},
		{"tasks", s.tasks},
		{"starts", s.starts},
		{"reads", s.reads},
		{"latency", s.latency},
		{"cost", s.cost},
		{"idle", s.idle},
		{"replicas", s.replicas},
		{"growth", s.growth},
	} {
		if len(s.Only) > 0 && !slices.Contains(s.Only, group.name) {
			continue
		}
		if err := group.run(ctx); err != nil {
			return s.report, fmt.Errorf("measuring %s: %w", group.name, err)
		}
	}
	return s.report, nil
}

// stage is servers with a worker, and the load's connections to them.
type stage struct {
	s       *suite
	servers []*Process
	worker  *Process
	users   *wire
	// reported is where the worker writes latencies.
	reported *os.File
}

func (s *suite) open(ctx context.Context, servers, polls int, settings ...string) (_ *stage, err error) {
	st := &stage{s: s}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	var addresses []string
	for range servers {
		server, err := s.machine.Server(ctx, s.Server, settings...)
		if err != nil {
			return nil, err
		}
		st.servers = append(st.servers, server)
		addresses = append(addresses, server.GRPC)
	}
	if st.reported, err = os.CreateTemp(s.machine.dir, "latencies"); err != nil {
		return nil, err
	}
	if polls > 0 {
		arguments := []string{"worker", "--polls", strconv.Itoa(polls)}
		for _, address := range addresses {
			arguments = append(arguments, "--address", address)
		}
		if st.worker, err = start(ctx, os.Environ(), st.reported, s.Self, arguments...); err != nil {
			return nil, err
		}
	}
	if st.users, err = dial(userKey, 2, addresses...); err != nil {
		return nil, err
	}
	return st, nil
}

func (st *stage) close() {
	if st.users != nil {
		st.users.close()
	}
	if st.worker != nil {
		st.worker.Stop()
	}
	for _, server := range st.servers {
		server.Stop()
	}
	if st.reported != nil {
		_ = st.reported.Close()
	}
}

// runs does one workflow after the other, from start to result.
func (st *stage) runs(ctx context.Context, kind string, n, inFlight int) (Measured, error) {
	seconds := int32(120)
	return drive(ctx, n, inFlight, func(ctx context.Context, _ int) error {
		if kind == kindSignal {
			return st.signalled(ctx)
		}
		done := &apiv1.StartAndWaitWorkflowExecutionResponse{}
		err := st.users.call(ctx, callStartAndWait, &apiv1.StartAndWaitWorkflowExecutionRequest{
			Org: orgSlug, Kind: kind, Input: payload, TimeoutSeconds: &seconds,
		}, done)
		if err == nil && done.GetStatus() != "COMPLETED" {
			err = fmt.Errorf("execution %s is %s: %s", done.GetWorkflowExecutionId(), done.GetStatus(), done.GetError())
		}
		return err
	})
}

func (st *stage) signalled(ctx context.Context) error {
	seconds := int32(120)
	started := &flovynv1.StartWorkflowResponse{}
	err := st.users.call(ctx, callStart, &flovynv1.StartWorkflowRequest{OrgId: OrgID, WorkflowKind: kindSignal, Input: payload}, started)
	if err != nil {
		return err
	}
	id := started.GetWorkflowExecutionId()
	err = st.users.call(ctx, callSignal, &flovynv1.SignalWorkflowRequest{
		OrgId: OrgID, WorkflowExecutionId: id, SignalName: "go", SignalValue: payload,
	}, &flovynv1.SignalWorkflowResponse{})
	if err != nil {
		return err
	}
	done := &apiv1.WaitWorkflowExecutionResponse{}
	err = st.users.call(ctx, callWait, &apiv1.WaitWorkflowExecutionRequest{Org: orgSlug, Id: id, TimeoutSeconds: &seconds}, done)
	if err == nil && done.GetResult().GetStatus() != "COMPLETED" {
		err = fmt.Errorf("execution %s is %s", id, done.GetResult().GetStatus())
	}
	return err
}

func (s *suite) scaled(n int) int { return max(1, int(float64(n)*s.Scale)) }

// repeat measures the cases in turn, Repeats times over, after a warm-up of each.
func (s *suite) repeat(ctx context.Context, cases []measurement) error {
	for round := range s.Repeats + 1 {
		for _, c := range cases {
			n := s.scaled(c.operations)
			if round == 0 {
				n = max(1, n/5)
			}
			m, err := c.run(ctx, n)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round == 0 {
				continue
			}
			s.report.add(c.name, m)
			s.progress("%-36s %9.1f/s  p50 %-9v p99 %v", c.name, m.PerSecond(), m.Latencies.Quantile(0.5).Round(time.Microsecond),
				m.Latencies.Quantile(0.99).Round(time.Microsecond))
		}
	}
	return nil
}

type measurement struct {
	name       string
	operations int
	run        func(ctx context.Context, n int) (Measured, error)
}

func (s *suite) progress(format string, arguments ...any) {
	_, _ = fmt.Fprintf(s.Progress, format+"\n", arguments...)
}

// on runs a function on a stage of its own.
func (s *suite) on(ctx context.Context, servers, polls int, run func(*stage) error) error {
	st, err := s.open(ctx, servers, polls)
	if err != nil {
		return err
	}
	defer st.close()
	return run(st)
}

// starting measures how long a server takes to be ready, the first time with a
// database to migrate, and what it occupies when idle.
func (s *suite) starting(ctx context.Context) error {
	for i := range 3 {
		server, err := s.machine.Server(ctx, s.Server)
		if err != nil {
			return err
		}
		name := "start to ready, s"
		if i == 0 {
			name = "start to ready with migration, s"
		}
		s.report.count(name, server.Ready.Seconds())
		if i == 2 {
			if err := pause(ctx, 2*time.Second); err != nil {
				return err
			}
			memory, err := server.Memory()
			if err != nil {
				return err
			}
			s.report.count("idle server, MB", float64(memory)/1e6)
		}
		server.Stop()
	}
	return nil
}

// limits measures what the machine itself allows.
func (s *suite) limits(ctx context.Context) error {
	return s.on(ctx, 1, 0, func(st *stage) error {
		echo := func(inFlight int) func(context.Context, int) (Measured, error) {
			return func(ctx context.Context, n int) (Measured, error) {
				return drive(ctx, n, inFlight, func(ctx context.Context, _ int) error {
					return st.users.call(ctx, callHealth, &grpc_health_v1.HealthCheckRequest{}, &grpc_health_v1.HealthCheckResponse{})
				})
			}
		}
		commit := func(ctx context.Context, n int) (Measured, error) {
			return drive(ctx, n, 1, func(ctx context.Context, _ int) error {
				_, err := s.machine.sql.Exec(ctx, `INSERT INTO bench_row VALUES ($1, 'x')`, flovyn.NewUUID())
				return err
			})
		}
		return s.repeat(ctx, []measurement{
			{"limit: unary echo, 1 in flight", 5000, echo(1)},
			{"limit: unary echo, 50 in flight", 20000, echo(50)},
			{"limit: single-row commit", 1000, commit},
		})
	})
}

func (s *suite) workflows(ctx context.Context) error {
	for _, inFlight := range []int{1, 10, 50, 200} {
		err := s.on(ctx, 1, min(inFlight, 50), func(st *stage) error {
			var cases []measurement
			for _, kind := range kinds {
				operations := map[int]int{1: 300, 10: 1500, 50: 3000, 200: 4000}[inFlight]
				if kind == kindTen || kind == kindParallel {
					operations /= 5
				}
				cases = append(cases, measurement{
					fmt.Sprintf("workflow %s, %d in flight", kind, inFlight), operations,
					func(ctx context.Context, n int) (Measured, error) { return st.runs(ctx, kind, n, inFlight) },
				})
			}
			return s.repeat(ctx, cases)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tasks measures standalone tasks: submitted, polled and completed. An
// operation is a submission; the time is over when all are completed.
func (s *suite) tasks(ctx context.Context) error {
	return s.on(ctx, 1, 50, func(st *stage) error {
		return s.repeat(ctx, []measurement{{"standalone tasks, 50 in flight", 8000, func(ctx context.Context, n int) (Measured, error) {
			began := time.Now()
			m, err := drive(ctx, n, 50, func(ctx context.Context, _ int) error { return st.submitTask(ctx, payload) })
			if err != nil {
				return m, err
			}
			if err := s.machine.none(ctx, `SELECT count(*) FROM task_execution WHERE ended_at IS NULL`); err != nil {
				return m, err
			}
			m.Elapsed = time.Since(began)
			return m, nil
		}}})
	})
}

func (st *stage) submitTask(ctx context.Context, input []byte) error {
	return st.users.call(ctx, callSubmitTask, &flovynv1.SubmitTaskRequest{OrgId: OrgID, Kind: kindWork, Input: input}, &flovynv1.SubmitTaskResponse{})
}

// none waits until a query counts nothing.
func (m *Machine) none(ctx context.Context, query string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var n int64
		if err := m.sql.QueryRow(ctx, query).Scan(&n); err != nil || n == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still %d left: %w", n, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// starts measures starts alone, with nobody to execute them.
func (s *suite) starts(ctx context.Context) error {
	err := s.on(ctx, 1, 0, func(st *stage) error {
		return s.repeat(ctx, []measurement{{"starts alone, 64 clients", 15000, func(ctx context.Context, n int) (Measured, error) {
			return drive(ctx, n, 64, func(ctx context.Context, _ int) error {
				return st.users.call(ctx, callStart, &flovynv1.StartWorkflowRequest{
					OrgId: OrgID, WorkflowKind: "unattended", Queue: "unattended", Input: payload,
				}, &flovynv1.StartWorkflowResponse{})
			})
		}}})
	})
	if err != nil {
		return err
	}
	return s.machine.exec(ctx, `DELETE FROM ready`, `DELETE FROM workflow_execution WHERE queue = 'unattended'`, `VACUUM ready, workflow_execution`)
}

// reads measures empty polls and histories of several lengths.
func (s *suite) reads(ctx context.Context) error {
	return s.on(ctx, 1, 0, func(st *stage) error {
		workers, err := dial(WorkerKey, 2, st.servers[0].GRPC)
		if err != nil {
			return err
		}
		defer workers.close()
		// A poll whose time is over at once: what asking costs.
		cases := []measurement{{"empty polls, 50 in flight", 10000, func(ctx context.Context, n int) (Measured, error) {
			return drive(ctx, n, 50, func(ctx context.Context, _ int) error {
				return workers.call(ctx, callPollTask, &flovynv1.PollTaskRequest{
					WorkerId: "idle", OrgId: OrgID, Queue: "empty", TimeoutSeconds: 0,
				}, &flovynv1.PollTaskResponse{})
			})
		}}}
		for _, length := range []int{10, 1000, 10000} {
			id, err := s.machine.seedHistory(ctx, length)
			if err != nil {
				return err
			}
			cases = append(cases, measurement{
				fmt.Sprintf("GetEvents of %d events", length), max(50, 20000/length),
				func(ctx context.Context, n int) (Measured, error) {
					return drive(ctx, n, 1, func(ctx context.Context, _ int) error {
						answer := &flovynv1.GetEventsResponse{}
						err := workers.call(ctx, callEvents, &flovynv1.GetEventsRequest{WorkflowExecutionId: id}, answer)
						if err == nil && len(answer.GetEvents()) != length {
							err = fmt.Errorf("%d events instead of %d", len(answer.GetEvents()), length)
						}
						return err
					})
				},
			})
		}
		return s.repeat(ctx, cases)
	})
}
