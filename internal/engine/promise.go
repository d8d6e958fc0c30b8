package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/history"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// ResolvePromise settles a promise with a value. ref is its id, or
// <execution>:<name> or <execution>/<name> as old clients say. A promise that
// is settled already stays as it is, without an error.
func (e *Engine) ResolvePromise(ctx context.Context, org flovyn.OrgID, ref string, value []byte) error {
	value, err := e.payload("value", value)
	if err != nil {
		return err
	}
	return e.settleByRef(ctx, org, ref, flovyn.PromiseResolved, func(p *flovyn.Promise) history.Draft {
		return history.PromiseKept(p, value)
	})
}

// RejectPromise settles a promise with an error text.
func (e *Engine) RejectPromise(ctx context.Context, org flovyn.OrgID, ref, errorText string) error {
	errorText = history.FreeText(errorText, e.cfg.MaxPayload)
	return e.settleByRef(ctx, org, ref, flovyn.PromiseRejected, func(p *flovyn.Promise) history.Draft {
		return history.PromiseBroken(p, errorText)
	})
}

// Settlement is what became of a request to settle a promise.
type Settlement struct {
	ID flovyn.PromiseID
	// Settled tells that this request settled it; otherwise it was settled before.
	Settled bool
}

// FindPromise returns the promise that goes by an id or, with byKey, by an
// idempotency key that lives.
func (e *Engine) FindPromise(ctx context.Context, org flovyn.OrgID, name string, byKey bool) (*flovyn.Promise, error) {
	var id uuid.UUID
	var err error
	if byKey {
		id, err = e.store.FindKey(ctx, flovyn.Key{Org: org, Scope: flovyn.KeyPromise, Name: name})
		if fault.Is(err, fault.NotFound) {
			err = fault.New(fault.NotFound, "promise key:%s not found", name)
		}
	} else if id, err = uuid.Parse(name); err != nil {
		err = fault.InvalidField("identifier", "is not a UUID after id:")
	}
	if err != nil {
		return nil, err
	}
	return e.store.Promise(ctx, org, flovyn.PromiseID(id))
}

// Resolve settles a promise with a value, and says whether it did.
func (e *Engine) Resolve(ctx context.Context, org flovyn.OrgID, id flovyn.PromiseID, value []byte) (Settlement, error) {
	value, err := e.payload("value", value)
	if err != nil {
		return Settlement{}, err
	}
	return e.settleReporting(ctx, org, id, flovyn.PromiseResolved, func(p *flovyn.Promise) history.Draft {
		return history.PromiseKept(p, value)
	})
}

// Reject settles a promise with an error text, and says whether it did.
func (e *Engine) Reject(ctx context.Context, org flovyn.OrgID, id flovyn.PromiseID, errorText string) (Settlement, error) {
	errorText = history.FreeText(errorText, e.cfg.MaxPayload)
	return e.settleReporting(ctx, org, id, flovyn.PromiseRejected, func(p *flovyn.Promise) history.Draft {
		return history.PromiseBroken(p, errorText)
	})
}

func (e *Engine) settleReporting(ctx context.Context, org flovyn.OrgID, id flovyn.PromiseID, status flovyn.PromiseStatus,
	event func(*flovyn.Promise) history.Draft,
) (Settlement, error) {
	var settled bool
	err := e.store.Do(ctx, postgres.Touch{Promises: []flovyn.PromiseID{id}}, func(tx *postgres.Tx) error {
		p, err := tx.Promise(org, id)
		if err != nil {
			return err
		}
		settled = p.Status == flovyn.PromisePending
		return e.settle(tx, org, id, status, event)
	})
	if err != nil { // the step of a caller who went away may still write the result
		return Settlement{}, err
	}
	return Settlement{id, settled}, nil
}

// ExpirePromise settles a promise whose timeout has come.
func (e *Engine) ExpirePromise(ctx context.Context, timer flovyn.Timer) error {
	id, err := uuid.Parse(timer.Name)
	if err != nil {
		return fault.Bug("a timer names promise %q", timer.Name)
	}
	touch := postgres.Touch{Promises: []flovyn.PromiseID{flovyn.PromiseID(id)}}
	err = e.store.Do(ctx, touch, func(tx *postgres.Tx) error {
		tx.DropTimer(timer.TimerKey)
		return ignoreAbsent(e.settle(tx, timer.Org, flovyn.PromiseID(id), flovyn.PromiseTimedOut, history.PromiseExpired))
	})
	if err != nil {
		return fmt.Errorf("expiring promise %s: %w", id, err)
	}
	return nil
}

func (e *Engine) settleByRef(ctx context.Context, org flovyn.OrgID, ref string, status flovyn.PromiseStatus,
	event func(*flovyn.Promise) history.Draft,
) error {
	id, err := e.findPromise(ctx, org, ref)
	if err != nil {
		return err
	}
	return e.store.Do(ctx, postgres.Touch{Promises: []flovyn.PromiseID{id}}, func(tx *postgres.Tx) error {
		return e.settle(tx, org, id, status, event)
	})
}

func (e *Engine) findPromise(ctx context.Context, org flovyn.OrgID, ref string) (flovyn.PromiseID, error) {
	if id, err := uuid.Parse(ref); err == nil {
		return flovyn.PromiseID(id), nil
	}
	i := strings.IndexAny(ref, ":/")
	if i < 0 {
		return flovyn.PromiseID{}, fault.InvalidField("promise_id", "neither a UUID nor <execution>:<name>")
	}
	execution, err := uuid.Parse(ref[:i])
	if err != nil {
		return flovyn.PromiseID{}, fault.InvalidField("promise_id", "neither a UUID nor <execution>:<name>")
	}
	id, err := e.store.FindPromiseByName(ctx, org, flovyn.ExecutionID(execution), ref[i+1:])
	if fault.Is(err, fault.NotFound) {
		return id, fault.New(fault.NotFound, "promise %s not found", ref)
	}
	return id, err
}

// settle is the one way in which a promise ends. The first settlement wins.
func (e *Engine) settle(tx *postgres.Tx, org flovyn.OrgID, id flovyn.PromiseID, status flovyn.PromiseStatus,
	event func(*flovyn.Promise) history.Draft,
) error {
	p, err := tx.Promise(org, id)
	if err != nil || p.Status != flovyn.PromisePending {
		return err
	}
	e.markSettled(tx, p, status)
	w, err := tx.Execution(org, p.Execution)
	if err != nil {
		return err
	}
	return e.Tell(tx, w, event(p))
}

func (e *Engine) markSettled(tx *postgres.Tx, p *flovyn.Promise, status flovyn.PromiseStatus) {
	p.Status, p.SettledAt = status, tx.Now()
	tx.UpdatePromise(p)
	if !p.TimeoutAt.IsZero() {
		tx.DropTimer(promiseTimer(p.Execution, p.ID))
	}
}

func promiseTimer(owner flovyn.ExecutionID, id flovyn.PromiseID) flovyn.TimerKey {
	return flovyn.TimerKey{Owner: owner.UUID(), Kind: flovyn.TimerPromise, Name: id.String()}
}
