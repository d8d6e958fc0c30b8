// Package audit keeps a record of what was refused and of what was changed, and
// by whom.
//
// Each record goes to the log at once, and to the database soon after: records
// are collected and written in batches, in the background, so that no call waits
// for its record and none fails because of it. While the database does not take
// them they wait here, up to a bound; what is beyond it is in the log alone, and
// the log says how many there were. What has been collected when the server
// stops is written before the store closes.
//
// # Floods
//
// Whoever sends refused requests by the thousand must not fill the table. Only so
// many refusals are written of one address, and of all together; the rest goes
// to the log alone. Changes are not held back: who makes them is known.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/loop"
	"github.com/flovyn/flovyn-server/internal/postgres"
	"github.com/flovyn/flovyn-server/internal/telemetry"
)

const (
	// writeEvery is how often what was collected is written.
	writeEvery = time.Second
	// batch bounds one statement, and writeTimeout how long it may take.
	batch        = 1000
	writeTimeout = 10 * time.Second
	// maxWaiting bounds the records that wait for the database.
	maxWaiting = 20_000
	// maxText bounds each text of a record. Callers choose some of them.
	maxText = 1024
	// Refusals of one address, and of all: so many at once, and so many more each
	// second.
	addressBurst, addressRate = 50, 1
	refusalBurst, refusalRate = 1000, 50
	// addresses bounds how many addresses are told apart.
	addresses = 10_000
)

// Event is what happened.
type Event struct {
	// Caller is who asked; nil when nobody was recognized.
	Caller *caller.Caller
	// Procedure is what was called, or the path.
	Procedure string
	// Action and ResourceType are in the words of the policies.
	Action, ResourceType, ResourceID string
	Outcome                          flovyn.AuditOutcome
	// Reason says why, if not allowed; it holds no secret.
	Reason string
}

// Config is what a Trail needs.
type Config struct {
	Store *postgres.Store
	Log   *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Trail takes records. Its methods are safe for concurrent use.
type Trail struct {
	cfg       Config
	writer    *loop.Loop
	refusals  *rate.Limiter
	perSource *lru.Cache[string, *rate.Limiter]

	writing sync.Mutex // one batch at a time, so that records go in order
	mu      sync.Mutex
	waiting []flovyn.AuditRecord
	// dropped and held count the records that went to the log alone since it was
	// last said: for want of room, and because there were too many refusals.
	dropped, held int
}

// New makes a trail. It writes nothing until its Part runs or Flush is called.
func New(cfg Config) (*Trail, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	perSource, err := lru.New[string, *rate.Limiter](addresses)
	if err != nil {
		return nil, fmt.Errorf("making the memory of addresses: %w", err)
	}
	t := &Trail{cfg: cfg, refusals: rate.NewLimiter(refusalRate, refusalBurst), perSource: perSource}
	t.writer = loop.New("audit records", writeEvery, writeEvery/10, t.Flush, cfg.Log)
	return t, nil
}

// Parts returns what has to run in the background.
func (t *Trail) Parts() []loop.Part { return []loop.Part{t.writer} }

// Note keeps a record of an event. It never waits, and cannot fail.
func (t *Trail) Note(ctx context.Context, remote string, e Event) {
	now := t.cfg.Now()
	r := flovyn.AuditRecord{
		ID: flovyn.AuditID(flovyn.NewUUID()), At: now.UTC().Truncate(time.Microsecond), // as the database keeps it
		Procedure: short(e.Procedure), Action: short(e.Action), ResourceType: short(e.ResourceType), ResourceID: short(e.ResourceID),
		Outcome: e.Outcome, Reason: short(e.Reason), RequestID: short(telemetry.RequestID(ctx)), RemoteAddress: short(hostOf(remote)),
	}
	if e.Caller != nil {
		r.Org, r.Principal = e.Caller.Org, short(e.Caller.Label())
	}
	t.log(ctx, &r)
	if r.Outcome == flovyn.AuditDenied && !t.admit(r.RemoteAddress, now) {
		t.mu.Lock()
		t.held++
		t.mu.Unlock()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= maxWaiting {
		t.dropped++
		return
	}
	t.waiting = append(t.waiting, r)
	if len(t.waiting) == batch {
		t.writer.Nudge()
	}
}

// log writes the record to the log. The request's id comes with the context.
func (t *Trail) log(ctx context.Context, r *flovyn.AuditRecord) {
	org := ""
	if !r.Org.IsZero() {
		org = r.Org.String()
	}
	t.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "audit",
		slog.String("audit_id", r.ID.String()), slog.String("outcome", string(r.Outcome)), slog.String("principal", r.Principal),
		slog.String("org", org), slog.String("procedure", r.Procedure), slog.String("action", r.Action),
		slog.String("resource_type", r.ResourceType), slog.String("resource_id", r.ResourceID),
		slog.String("reason", r.Reason), slog.String("remote", r.RemoteAddress))
}

// admit reports whether one more refusal is written: first of the address, so
// that one which floods takes little of what there is for all.
func (t *Trail) admit(address string, now time.Time) bool {
	limiter, known := t.perSource.Get(address)
	if !known {
		limiter = rate.NewLimiter(addressRate, addressBurst)
		if earlier, there, _ := t.perSource.PeekOrAdd(address, limiter); there {
			limiter = earlier
		}
	}
	return limiter.AllowN(now, 1) && t.refusals.AllowN(now, 1)
}

// Flush writes everything that has been collected. What cannot be written stays.
func (t *Trail) Flush(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.tell(ctx)
	for {
		t.mu.Lock()
		records := t.waiting[:min(batch, len(t.waiting))]
		t.mu.Unlock()
		if len(records) == 0 {
			return nil
		}
		if err := t.write(ctx, records); err != nil {
			return err
		}
		t.mu.Lock()
		t.waiting = t.waiting[len(records):] // only ever appended to meanwhile
		if len(t.waiting) == 0 {
			t.waiting = nil // let go of the memory
		}
		t.mu.Unlock()
	}
}

func (t *Trail) write(ctx context.Context, records []flovyn.AuditRecord) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := t.cfg.Store.WriteAudit(ctx, records); err != nil {
		return fmt.Errorf("writing %d audit records: %w", len(records), err)
	}
	return nil
}

// tell says what went to the log alone.
func (t *Trail) tell(ctx context.Context) {
	t.mu.Lock()
	dropped, held := t.dropped, t.held
	t.dropped, t.held = 0, 0
	t.mu.Unlock()
	if dropped > 0 {
		t.cfg.Log.ErrorContext(ctx, "audit records are in the log alone: the database does not take them", "records", dropped)
	}
	if held > 0 {
		t.cfg.Log.WarnContext(ctx, "audit records of refused requests are in the log alone: there are too many", "records", held)
	}
}

// Close writes what is left. The part must have stopped.
func (t *Trail) Close(ctx context.Context) error {
	err := t.Flush(ctx)
	t.mu.Lock()
	left := len(t.waiting)
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%d audit records are in the log alone: %w", left, err)
	}
	return nil
}

// List returns a page of an organization's records, newest first, and the place
// where the next one begins; nil after the last.
func (t *Trail) List(ctx context.Context, f flovyn.AuditFilter) ([]flovyn.AuditRecord, *flovyn.AuditPlace, error) {
	if f.Limit < 1 {
		return nil, nil, errors.New("a page of audit records needs a size")
	}
	wanted := f.Limit
	f.Limit++ // one more tells whether there is a next page
	records, err := t.cfg.Store.AuditRecords(ctx, f)
	if err != nil {
		return nil, nil, fmt.Errorf("reading audit records: %w", err)
	}
	if len(records) <= wanted {
		return records, nil, nil
	}
	last := records[wanted-1]
	return records[:wanted], &flovyn.AuditPlace{At: last.At, ID: last.ID}, nil
}

// short bounds a text, and makes it one that can be stored.
func short(text string) string {
	return history.FreeText(text, maxText)
}

// hostOf leaves out the port, which differs with each connection.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return strings.Trim(address, "[]")
	}
	return host
}
