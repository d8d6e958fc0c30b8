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
