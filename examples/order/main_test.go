package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/flovyn/flovyn-server/examples/order/order"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type environment map[string]string

func (e environment) get(name string) string { return e[name] }

// The example works as its documentation says, also when the order is declined.
func TestOrderIsDeclined(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	var stderr bytes.Buffer
	variables := environment{ // as `flovyn-server dev` prints them
		"FLOVYN_GRPC_SERVER_URL": server.GRPC, "FLOVYN_WORKER_TOKEN": servertest.WorkerKey, "FLOVYN_ORG_ID": servertest.Org.String(),
	}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, nil, variables.get, &stderr)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(client.Config{URL: server.GRPC, Token: servertest.AdminKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	id, err := c.StartWorkflow(ctx, client.Start{
		Org: servertest.Org.String(), Kind: order.Kind, Input: order.Order{ID: "7", Item: "lamp", Amount: 1, PriceCents: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err = c.ResolvePromiseByName(ctx, id, order.ApprovalPromise, order.Approval{By: "Ann"})
		if !fault.Is(err, fault.NotFound) {
			break
		}
		<-ticker.C
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitResult(ctx, id); err == nil || !strings.HasSuffix(err.Error(), "was cancelled: declined by Ann") {
		t.Errorf("the declined order ended with: %v", err)
	}
}

func TestRunWithoutOrganization(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-org", "acme"}, environment{}.get, &bytes.Buffer{}); err == nil {
		t.Error("the example ran without an organization")
	}
}
