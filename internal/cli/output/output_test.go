package output_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
)

var columns = []output.Column{{Title: "ID"}, {Title: "KIND", Long: true}, {Title: "STATUS", Status: true}, {Title: "TRIES", Right: true}, {Title: "NOTE"}}

var rows = [][]string{
	{"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a4", "a-rather-long-kind-of-workflow", "COMPLETED", "1", ""},
	{"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a5", "short", "FAILED", "12", ""},
}

func table(width int, color bool) string {
	var b bytes.Buffer
	p := &output.Printer{W: &b, Format: output.Table, Width: width, Color: color}
	p.Table(columns, rows)
	return b.String()
}

// What is piped is whole, what does not fit is shortened, and what cannot be
// becomes a few lines. Columns without anything are left out.
func TestTable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		width int
		want  string
	}{
		"piped": {0, "" +
			"ID                                    KIND                            STATUS     TRIES\n" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a4  a-rather-long-kind-of-workflow  COMPLETED      1\n" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a5  short                           FAILED        12\n"},
		"80 columns": {80, "" +
			"ID                                    KIND                      STATUS     TRIES\n" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a4  a-rather-long-kind-of-w…  COMPLETED      1\n" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a5  short                     FAILED        12\n"},
		"40 columns": {40, "" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a4\n  kind    a-rather-long-kind-of-workflow\n  status  COMPLETED\n  tries   1\n\n" +
			"0199c9e4-7a52-7d53-9a4e-5ac1f6a2d0a5\n  kind    short\n  status  FAILED\n  tries   12\n"},
	} {
		got := table(test.width, false)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if colored := table(test.width, true); ansi.Strip(colored) != got || colored == got {
			t.Errorf("%s: in colour it is\n%q", name, colored)
		}
	}
}

// What others wrote does nothing to a terminal.
func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain ÄÖ 漢字 🙂": "plain ÄÖ 漢字 🙂", "a\x1b[31mb": `a\u001b[31mb`, "two\nlines\t": `two\nlines\t`, "c1\u009b31m": `c1\u009b31m`,
		"turned\u202earound": `turned\u202earound`, "\x7f": `\u007f`,
	} {
		if got := output.Clean(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

var list = &apiv1.ListWorkflowEventsResponse{Events: []*apiv1.WorkflowEvent{
	{
		Sequence: 1, EventType: "WORKFLOW_STARTED", Timestamp: timestamppb.New(time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)),
		Data: []byte("{ \"big\": 12345678901234567890.10,\n \"a\": 1, \"a\": 2}"),
	},
	{Sequence: 2, EventType: "<&>\u2028", Data: nil},
}}

func message(t *testing.T, format output.Format) string {
	t.Helper()
	var b bytes.Buffer
	p := &output.Printer{W: &b, Format: format}
	if err := p.Message(list, nil, func() { t.Error("it was written for people") }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Payloads stay what they are, byte for byte, where lines may be broken.
func TestForPrograms(t *testing.T) {
	t.Parallel()
	pretty := message(t, output.JSON)
	if !json.Valid([]byte(pretty)) || !strings.Contains(pretty, `"data": `+string(list.GetEvents()[0].GetData())) ||
		!strings.Contains(pretty, `"timestamp": "2026-01-31T12:00:00.005Z"`) || !strings.Contains(pretty, `"hasMore": false`) {
		t.Errorf("as JSON:\n%s", pretty)
	}
	want := `{"sequence":1,"eventType":"WORKFLOW_STARTED","timestamp":"2026-01-31T12:00:00.005Z","data":{"big":12345678901234567890.10,"a":1,"a":2}}` +
		"\n" + `{"sequence":2,"eventType":"<&>\u2028","timestamp":null,"data":null}` + "\n"
	if diff := cmp.Diff(want, message(t, output.JSONL)); diff != "" {
		t.Errorf("as lines (-want +got):\n%s", diff)
	}
	if text := message(t, output.YAML); !strings.HasPrefix(text, "events:\n  - sequence: 1\n    eventType: WORKFLOW_STARTED\n") {
		t.Errorf("as YAML:\n%s", text)
	}
}

// The field that REST answers with is what programs get, be it a thing or a list.
func TestTheBodyOfREST(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := &output.Printer{W: &b, Format: output.JSONL}
	for _, err := range []error{
		p.Message(&apiv1.GetOrganizationResponse{Organization: &apiv1.Organization{Id: "1", Slug: "acme"}}, nil, nil),
		p.Message(&apiv1.ListWorkersResponse{Workers: []*apiv1.Worker{{Id: "w1"}, {Id: "w2"}}}, nil, nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], `{"id":"1","name":"","slug":"acme"`) || !strings.HasPrefix(lines[2], `{"id":"w2"`) {
		t.Errorf("%q", lines)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1500 * time.Microsecond: "2ms", 2340 * time.Millisecond: "2.3s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		90 * time.Minute: "1h30m", 49 * time.Hour: "2d01h",
	} {
		if got := output.Duration(d); got != want {
			t.Errorf("%s becomes %q, want %q", d, got, want)
		}
	}
}
