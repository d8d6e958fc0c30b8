// Command order is a worker for the example workflow of package order.
//
//	export FLOVYN_GRPC_SERVER_URL=http://127.0.0.1:9090 FLOVYN_WORKER_TOKEN=... FLOVYN_ORG_ID=...
//	go run ./examples/order
//
// `flovyn-server dev` prints these variables for its own server. FLOVYN_SERVER
// and FLOVYN_API_KEY are other names of the first two, and win.
//
// Start orders with curl, buf curl or any client, for the workflow "order" with an
// input like
//
//	{"id": "1001", "item": "lamp", "amount": 2, "priceCents": 4900}
//
// and settle the promise "approval" with {"approved": true, "by": "you"}.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/flovyn/flovyn-server/examples/order/order"
	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/client/flow"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "order:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	flags := flag.NewFlagSet("order", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("server", cmp.Or(getenv("FLOVYN_SERVER"), getenv("FLOVYN_GRPC_SERVER_URL"), "http://localhost:9090"),
		"the server's gRPC address (FLOVYN_SERVER or FLOVYN_GRPC_SERVER_URL)")
	key := flags.String("api-key", cmp.Or(getenv("FLOVYN_API_KEY"), getenv("FLOVYN_WORKER_TOKEN")),
		"a worker token or an API key (FLOVYN_API_KEY or FLOVYN_WORKER_TOKEN)")
	org := flags.String("org", getenv("FLOVYN_ORG_ID"), "the organization's id (FLOVYN_ORG_ID)")
	queue := flags.String("queue", "", "the queue to work on (the default one)")
	if err := flags.Parse(args); err != nil {
		return err
	}

	c, err := client.New(client.Config{URL: *url, Token: *key})
	if err != nil {
		return err
	}
	defer c.Close()
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	worker, err := flow.NewWorker(c, flow.Options{Org: *org, Queue: *queue, Logger: logger})
	if err != nil {
		return err
	}
	order.Register(worker)
	logger.InfoContext(ctx, "working; press Ctrl+C to stop", "server", *url)
	return worker.Run(ctx) // until the signal, and until what runs has finished
}
