// Package search answers lists: it reads a query of package fql, pages through
// what it finds, and counts it.
//
// # Paging
//
// An offset counts rows from the beginning, and costs more the further it goes.
// A page token names the place where a page ended, and costs the same on every
// page. It belongs to its query: it is refused with another one, and relative
// times go on counting from when the first page was read. It holds nothing
// secret, and nothing in it is trusted: what it says becomes a parameter of the
// statement like every value of a query, within the caller's own organization.
//
// # Totals
//
// Matches are counted up to postgres.MaxTotal, once for all pages of a token.
//
// # What is fast
//
// Lists in the order of creation stop as soon as the page is full. With a kind, a
// status or an entry of metadata the matches are found by index. Other
// conditions are checked row by row, in the order of creation; other orders sort
// all matches. Either is bounded by a statement timeout, and runs on connections
// that nothing else waits for.
package search

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Searcher answers lists. Methods are safe for concurrent use.
type Searcher struct {
	store *postgres.Store
	now   func() time.Time
}

// New makes a searcher that reads the given clock.
func New(store *postgres.Store, now func() time.Time) *Searcher {
	return &Searcher{store: store, now: now}
}

// Request asks for a page of what a query finds.
type Request struct {
	Org   flovyn.OrgID
	Query string
	// Equal are conditions beside the query: field and value. Empty values do
	// not count.
	Equal []Equal
	Limit int
	// Offset and Token exclude each other.
	Offset int
	Token  string
}

// Equal is short for field = "value".
type Equal struct{ Field, Value string }

// Page is a part of what a query finds.
type Page[T any] struct {
	Items []*T
	// Total is how many there are in all; when TotalIsCapped, that many or more.
	Total         int
	TotalIsCapped bool
	// Next is the token of the next page, empty after the last one.
	Next string
}

// Workflows lists workflow executions, newest first unless the query orders
// otherwise.
func (s *Searcher) Workflows(ctx context.Context, req Request) (Page[flovyn.WorkflowExecution], error) {
	return find(ctx, s, fql.Workflow, req, s.store.SearchWorkflows, workflowPlace)
}

// Tasks lists tasks, newest first unless the query orders otherwise: those that
// belong to no workflow, unless the query says something of workflowId.
func (s *Searcher) Tasks(ctx context.Context, req Request) (Page[flovyn.TaskExecution], error) {
	return find(ctx, s, fql.Task, req, s.store.SearchTasks, taskPlace)
}

// Definitions lists what is known of the kinds of a class, by kind unless the
// query orders otherwise.
func (s *Searcher) Definitions(ctx context.Context, class flovyn.Class, req Request) (Page[postgres.DefinitionView], error) {
	entity := fql.WorkflowDefinition
	if class == flovyn.ClassTask {
		entity = fql.TaskDefinition
	}
	return find(ctx, s, entity, req, s.store.SearchDefinitions, definitionPlace)
}

// Check says what is wrong with a query, as lists would.
func Check(entity fql.Entity, query string) error {
	_, err := parse(entity, query)
	return err
}

func parse(entity fql.Entity, query string) (fql.Query, error) {
	q, err := fql.Parse(entity, query)
	if failure, ok := errors.AsType[*fql.Error](err); ok {
		return q, fault.InvalidField("query", "%s", failure.Error())
	}
	return q, err
}

// read makes the whole condition and order of a request.
func read(entity fql.Entity, req Request) (fql.Query, error) {
	q, err := parse(entity, req.Query)
	if err != nil {
		return q, err
	}
	for _, e := range req.Equal {
		if e.Value == "" {
			continue
		}
		// A single condition is read by the same rules as those of the query.
		one, err := fql.Parse(entity, e.Field+" = "+fql.QuoteText(e.Value))
		if err != nil {
			return q, equalFailure(entity, e)
		}
		q.Where = and(one.Where, q.Where)
	}
	if entity == fql.Task && !q.Mentions("workflowId") {
		standalone, err := fql.Parse(entity, "workflowId IS NULL")
		if err != nil {
			return q, fault.Bug("the condition of standalone tasks: %v", err)
		}
		q.Where = and(standalone.Where, q.Where)
	}
	if q.Order == nil {
		name, descending := "createdAt", true
		if !entity.HasMetadata() {
			name, descending = "kind", false
		}
		f, _ := entity.Field(name)
		q.Order = &fql.Order{Field: f, Descending: descending}
	}
	return q, nil
}

func and(left, right fql.Node) fql.Node {
	if right == nil {
		return left
	}
	return fql.And{Left: left, Right: right}
}

func equalFailure(entity fql.Entity, e Equal) error {
	if f, ok := entity.Field(e.Field); ok && f.Type == fql.Enum {
		return fault.InvalidField(e.Field, "want one of %s", strings.Join(f.Values, ", "))
	}
	return fault.InvalidField(e.Field, "cannot be searched for")
}

// find reads a page, and counts unless the page shows how many there are.
func find[T any](
	ctx context.Context, s *Searcher, entity fql.Entity, req Request,
	rows func(context.Context, *postgres.Search) ([]*T, error), place func(*T, fql.Field) postgres.Place,
) (Page[T], error) {
	q, err := read(entity, req)
	if err != nil {
		return Page[T]{}, err
	}
	search := &postgres.Search{
		Org: req.Org, Entity: entity, Where: q.Where, Order: *q.Order, Now: s.now(), Limit: req.Limit, Offset: req.Offset,
	}
	known := -1
	if req.Token != "" {
		if req.Offset != 0 {
			return Page[T]{}, fault.InvalidField("page_token", "give a page token or an offset, not both")
		}
		if known, err = resume(search, q, req.Token); err != nil {
			return Page[T]{}, err
		}
	}
	found, err := rows(ctx, search)
	if err != nil {
		return Page[T]{}, err
	}
	page := Page[T]{Items: found}
	if len(found) > req.Limit {
		page.Items = found[:req.Limit]
	}
	total, err := s.total(ctx, search, known, len(found))
	if err != nil {
		return Page[T]{}, err
	}
	if len(found) > req.Limit && req.Limit > 0 {
		page.Next = token(search, q, total, place(page.Items[req.Limit-1], q.Order.Field))
	}
	page.Total, page.TotalIsCapped = min(total, postgres.MaxTotal), total > postgres.MaxTotal
	return page, nil
}

// total returns how many matches there are, more than MaxTotal when there are
// more: what an earlier page counted, what the page shows, or what is counted now.
func (s *Searcher) total(ctx context.Context, search *postgres.Search, known, found int) (int, error) {
	switch {
	case known >= 0:
		return known, nil
	case found <= search.Limit && (found > 0 || search.Offset == 0):
		return search.Offset + found, nil
	default:
		return s.store.CountMatches(ctx, search)
	}
}
