package rpc

import (
	"context"
	"slices"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/fql"
)

// queryLanguage serves flovyn.api.v1.QueryLanguageService.
type queryLanguage struct {
	apiv1connect.UnimplementedQueryLanguageServiceHandler
	door
}

// AutocompleteQuery suggests what may stand at a position of a query.
func (h queryLanguage) AutocompleteQuery(ctx context.Context, req *apiv1.AutocompleteQueryRequest) (*apiv1.AutocompleteQueryResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	position := len(req.GetPartial())
	if req.Position != nil {
		position = int(req.GetPosition())
	}
	found, err := h.search.Complete(ctx, org, fql.Entity(req.GetEntity()), req.GetPartial(), position)
	if err != nil {
		return nil, err
	}
	return &apiv1.AutocompleteQueryResponse{Suggestions: convert(found, func(s fql.Suggestion) *apiv1.QuerySuggestion {
		return &apiv1.QuerySuggestion{Value: s.Value, Label: s.Label, Type: string(s.Type), Description: s.Description}
	})}, nil
}

// ListQueryFields lists the fields of an entity.
func (h queryLanguage) ListQueryFields(ctx context.Context, req *apiv1.ListQueryFieldsRequest) (*apiv1.ListQueryFieldsResponse, error) {
	if _, err := h.slugged(ctx, req.GetOrg()); err != nil {
		return nil, err
	}
	entity := fql.Entity(req.GetEntity())
	fields := entity.Fields()
	if f, ok := entity.Field("metadata.<key>"); ok {
		fields = append(slices.Clip(fields), f)
	}
	return &apiv1.ListQueryFieldsResponse{Fields: convert(fields, func(f fql.Field) *apiv1.QueryField {
		return &apiv1.QueryField{
			Name: f.Name, Type: fieldType(f), Description: f.Description, Operators: operatorTexts(f.Type.Operators()),
			Values: f.Values, Sortable: !f.Unsortable,
		}
	})}, nil
}

// fieldType is the type as editors know it: an entry of metadata is a text.
func fieldType(f fql.Field) string {
	if f.Type == fql.Meta {
		return string(fql.Text)
	}
	return string(f.Type)
}

func operatorTexts(ops []fql.Op) []string {
	return convert(ops, func(op fql.Op) string { return string(op) })
}

// ListQueryOperators lists the operators of one field, or all.
func (h queryLanguage) ListQueryOperators(ctx context.Context, req *apiv1.ListQueryOperatorsRequest) (*apiv1.ListQueryOperatorsResponse, error) {
	if _, err := h.slugged(ctx, req.GetOrg()); err != nil {
		return nil, err
	}
	ops := fql.Operators()
	if req.GetField() != "" {
		entity := fql.Entity(req.GetEntity())
		if entity.Fields() == nil {
			return nil, fault.InvalidField("entity", "want one of workflow, task, workflowDefinition, taskDefinition")
		}
		f, ok := entity.Field(req.GetField())
		if !ok {
			return nil, fault.InvalidField("field", "%s has no field %q", entity, req.GetField())
		}
		ops = f.Type.Operators()
	}
	return &apiv1.ListQueryOperatorsResponse{Operators: convert(ops, func(op fql.Op) *apiv1.QueryOperator {
		return &apiv1.QueryOperator{Value: string(op), Description: op.Describe()}
	})}, nil
}

// ListQueryValues lists values of a field.
func (h queryLanguage) ListQueryValues(ctx context.Context, req *apiv1.ListQueryValuesRequest) (*apiv1.ListQueryValuesResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	values, err := h.search.Values(ctx, org, fql.Entity(req.GetEntity()), req.GetField(), req.GetPrefix())
	return &apiv1.ListQueryValuesResponse{Values: values}, err
}
