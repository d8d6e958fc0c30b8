package search

import (
	"time"

	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/fql"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// The values of fields, as fql knows them: nil for one that is absent.

func workflowPlace(w *flovyn.WorkflowExecution, f fql.Field) postgres.Place {
	return postgres.Place{Value: workflowValue(w, f), ID: w.ID.UUID()}
}

func workflowValue(w *flovyn.WorkflowExecution, f fql.Field) any {
	switch f.Name {
	case "id":
		return w.ID.String()
	case "kind":
		return w.Kind
	case "status":
		return string(w.Status)
	case "queue":
		return w.Queue
	case "version":
		return text(w.Version)
	case "createdAt":
		return moment(w.CreatedAt)
	case "startedAt":
		return moment(w.StartedAt)
	case "completedAt":
		return moment(w.EndedAt)
	case "updatedAt":
		return moment(w.UpdatedAt)
	default:
		return nil
	}
}

func taskPlace(t *flovyn.TaskExecution, f fql.Field) postgres.Place {
	return postgres.Place{Value: taskValue(t, f), ID: t.ID.UUID()}
}

func taskValue(t *flovyn.TaskExecution, f fql.Field) any {
	switch f.Name {
	case "id":
		return t.ID.String()
	case "kind":
		return t.Kind
	case "status":
		return string(t.Status)
	case "queue":
		return t.Queue
	case "attempt":
		return int64(t.Attempt)
	case "maxRetries":
		return int64(t.MaxRetries)
	case "workflowId":
		if t.Standalone() {
			return nil
		}
		return t.Workflow.String()
	case "createdAt":
		return moment(t.CreatedAt)
	case "startedAt":
		return moment(t.StartedAt)
	case "completedAt":
		return moment(t.EndedAt)
	default:
		return nil
	}
}

func definitionPlace(d *postgres.DefinitionView, f fql.Field) postgres.Place {
	return postgres.Place{Value: definitionValue(d, f), ID: d.ID}
}

func definitionValue(d *postgres.DefinitionView, f fql.Field) any {
	switch f.Name {
	case "id":
		return d.ID.String()
	case "kind":
		return d.Kind
	case "name":
		return d.Name
	case "description":
		return text(d.Description)
	case "timeoutSeconds":
		if d.TimeoutSeconds == nil {
			return nil
		}
		return int64(*d.TimeoutSeconds)
	case "cancellable":
		return d.Cancellable
	case "latestVersion":
		return text(d.Version)
	case "availabilityStatus":
		return d.Availability()
	case "workerCount":
		return int64(d.Online)
	case "firstSeenAt":
		return moment(d.FirstSeenAt)
	case "lastRegisteredAt":
		return moment(d.LastRegisteredAt)
	default:
		return nil
	}
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
