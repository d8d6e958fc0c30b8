// Command hello is the smallest worker: it takes tasks of the kind "hello" from a
// queue and answers each with a greeting. It uses nothing but the generated
// client of the worker protocol, so it shows what every worker does on the wire:
// register, poll, work, report. hello.py beside it is the same in Python.
//
//	export FLOVYN_GRPC_SERVER_URL=http://127.0.0.1:9090 FLOVYN_WORKER_TOKEN=... FLOVYN_ORG_ID=...
//	go run ./examples/hello
//	flovyn task create hello --input '"Ada"'
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/client"
)

const (
	kind  = "hello"
	queue = "default"
	// hold is how long the server may keep a poll waiting for work.
	hold = 30 * time.Second
	// pause is how long to wait after a call that failed.
	pause = time.Second
	// alive is how often to say that the worker is there.
	alive = 30 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	c, err := client.New(client.Config{
		URL:   cmp.Or(getenv("FLOVYN_GRPC_SERVER_URL"), "http://localhost:9090"),
		Token: cmp.Or(getenv("FLOVYN_WORKER_TOKEN"), getenv("FLOVYN_API_KEY")),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	org := getenv("FLOVYN_ORG_ID")
	registered, err := c.Workers.RegisterWorker(ctx, &flovynv1.WorkerRegistrationRequest{
		WorkerName: "hello", WorkerVersion: "1.0.0", WorkerType: "TASK", OrgId: org,
		Tasks: []*flovynv1.TaskCapability{{Kind: kind, Name: "Hello"}},
	})
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	id := registered.GetWorkerId()
	fmt.Fprintln(out, "worker", id, "waits for tasks of the kind", kind)
	go stayAlive(ctx, c, id)
	for {
		switch err := once(ctx, c, org, id, out); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintln(out, "trying again:", err)
			wait(ctx, pause)
		}
	}
}

// once takes one task, if there is one, and reports how it went.
func once(ctx context.Context, c *client.Client, org, id string, out io.Writer) error {
	answer, err := c.Tasks.PollTask(ctx, &flovynv1.PollTaskRequest{
		WorkerId: id, OrgId: org, Queue: queue, TimeoutSeconds: int64(hold / time.Second),
	})
	task := answer.GetTask()
	if err != nil || task == nil {
		return err
	}
	output, err := hello(task.GetInput())
	if err != nil {
		_, err = c.Tasks.FailTask(ctx, &flovynv1.FailTaskRequest{TaskExecutionId: task.GetTaskExecutionId(), Error: err.Error()})
		return err
	}
	fmt.Fprintf(out, "task %s: %s\n", task.GetTaskExecutionId(), output)
	_, err = c.Tasks.CompleteTask(ctx, &flovynv1.CompleteTaskRequest{TaskExecutionId: task.GetTaskExecutionId(), Output: output})
	return err
}

// hello is the work: JSON in, JSON out.
func hello(input []byte) ([]byte, error) {
	var name string
	if err := json.Unmarshal(input, &name); err != nil {
		return nil, errors.New("the input of hello is a name, such as \"Ada\"")
	}
	return json.Marshal("Hello, " + name + "!")
}

// stayAlive tells the server that the worker is there, so that it is shown as
// ONLINE.
func stayAlive(ctx context.Context, c *client.Client, id string) {
	for ctx.Err() == nil {
		wait(ctx, alive)
		_, _ = c.Workers.SendHeartbeat(ctx, &flovynv1.WorkerHeartbeatRequest{WorkerId: id}) // the next one may get through
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
