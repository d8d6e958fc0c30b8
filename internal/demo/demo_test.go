package demo_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flovyn/flovyn-server/internal/demo"
	"github.com/flovyn/flovyn-server/internal/pgtest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The demonstration must show this, apart from how often it was suspended and
// what differs every time.
const shown = `
WORKFLOW_STARTED          {"id":"1001","item":"lamp","amount":2,"priceCents":4900}
STATE_SET                 status = "reserving"
TASK_SCHEDULED            reserve-stock {"id":"1001","item":"lamp","amount":2,"priceCents":4900}
TASK_COMPLETED            2
STATE_SET                 status = "waiting for approval"
PROMISE_CREATED           approval
TIMER_STARTED             timer-0 24h0m0s
PROMISE_RESOLVED          approval {"approved":true,"by":"the demo"}
TIMER_CANCELLED           timer-0
STATE_SET                 status = "charging"
OPERATION_COMPLETED       payment-key = "KEY"
TASK_SCHEDULED            charge-payment {"key":"KEY","cents":9800}
TASK_COMPLETED            {"id":"pay-KEY","cents":9800}
STATE_SET                 status = "shipping"
CHILD_WORKFLOW_INITIATED  shipping (order-shipping)
CHILD_WORKFLOW_COMPLETED  shipping "TRACK-1001"
STATE_CLEARED             status
WORKFLOW_COMPLETED        {"orderId":"1001","approvedBy":"the demo","chargedCents":9800,"paymentId":"pay-KEY...`

var (
	prefix    = regexp.MustCompile(`^ *\d+ +\d+\.\d\ds  `)
	randomKey = regexp.MustCompile(`[A-Z2-7]{26}`)
	paymentID = regexp.MustCompile(`"paymentId":"pay-.*`)
)

func TestRun(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := demo.Run(ctx, demo.Config{
		URL: server.GRPC, OrgID: servertest.Org.String(),
		UserKey: servertest.AdminKey, WorkerKey: servertest.WorkerKey, Out: &out,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if diff := cmp.Diff(paymentID.ReplaceAllString(shown, `"paymentId"...`), "\n"+history(out.String())); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for _, want := range []string{"> approving from outside", "completed: order 1001, approved by the demo, charged 98.00, parcel TRACK-1001"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demonstration does not say %q", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("there are colours in what is no terminal")
	}
}

// history is the part of the output that is the same every time.
func history(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		event := strings.TrimSpace(prefix.ReplaceAllString(line, ""))
		if !prefix.MatchString(line) || strings.HasPrefix(event, "WORKFLOW_SUSPENDED") || strings.HasPrefix(event, "CHILD_WORKFLOW_STARTED") {
			continue
		}
		event = randomKey.ReplaceAllString(event, "KEY")
		lines = append(lines, paymentID.ReplaceAllString(event, `"paymentId"...`))
	}
	return strings.Join(lines, "\n")
}

func TestRunNeedsAServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := demo.Run(ctx, demo.Config{
		URL: "http://127.0.0.1:1", OrgID: servertest.Org.String(), UserKey: "u", WorkerKey: "w", Out: &bytes.Buffer{},
	})
	if err == nil {
		t.Error("the demonstration succeeded without a server")
	}
}

// A worker that is turned away ends the demonstration, and what waits for it.
func TestWrongWorkerKey(t *testing.T) {
	t.Parallel()
	server := servertest.New(t)
	config := demo.Config{
		URL: server.GRPC, OrgID: servertest.Org.String(),
		UserKey: servertest.AdminKey, WorkerKey: "flovyn_wk_wrong", Out: &bytes.Buffer{},
	}
	if err := demo.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), "worker") {
		t.Errorf("the demonstration ended with: %v", err)
	}
	if err := demo.Work(t.Context(), config); err == nil {
		t.Error("the worker ended without an error")
	}
}
