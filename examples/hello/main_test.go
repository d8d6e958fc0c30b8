package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The worker answers a name with a greeting, and fails on anything else.
func TestHello(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.New(client.Config{URL: s.GRPC, Token: servertest.AdminKey})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, input := range []string{`"Ada"`, `{}`} {
		_, err := c.Tasks.SubmitTask(ctx, &flovynv1.SubmitTaskRequest{
			OrgId: servertest.Org.String(), Kind: kind, Input: []byte(input), Queue: queue,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	environ := map[string]string{
		"FLOVYN_GRPC_SERVER_URL": s.GRPC, "FLOVYN_WORKER_TOKEN": servertest.WorkerKey, "FLOVYN_ORG_ID": servertest.Org.String(),
	}
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, func(name string) string { return environ[name] }, w)
		_ = w.CloseWithError(io.EOF)
		ended <- err
	}()
	go func() { // a test must not hang on what is not written
		<-ctx.Done()
		_ = out.CloseWithError(context.Cause(ctx))
	}()
	var seen strings.Builder
	buffer := make([]byte, 256)
	for !strings.Contains(seen.String(), `"Hello, Ada!"`) {
		n, err := out.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			t.Fatalf("the worker wrote only %q: %v", seen.String(), err)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
