package rpc

import (
	"context"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/api/v1/apiv1connect"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/flovyn"
	"github.com/flovyn/flovyn-server/internal/metadata"
)

// metadataFields serves flovyn.api.v1.MetadataFieldService.
type metadataFields struct {
	apiv1connect.UnimplementedMetadataFieldServiceHandler
	door
}

// scopeOf reads which executions are meant: those of a kind, or all.
func scopeOf(workflowKind, taskKind string) (flovyn.Class, string, error) {
	switch {
	case workflowKind != "" && taskKind != "":
		return "", "", fault.InvalidField("task_kind", "give a workflow kind or a task kind, not both")
	case workflowKind != "":
		return flovyn.ClassWorkflow, workflowKind, nil
	case taskKind != "":
		return flovyn.ClassTask, taskKind, nil
	default:
		return "", "", nil
	}
}

// CreateMetadataField creates a field.
func (h metadataFields) CreateMetadataField(ctx context.Context, req *apiv1.CreateMetadataFieldRequest) (*apiv1.CreateMetadataFieldResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	class, kind, err := scopeOf(req.GetWorkflowKind(), req.GetTaskKind())
	if err != nil {
		return nil, err
	}
	f, err := h.metadata.Create(ctx, flovyn.MetadataField{
		Org: org, Key: req.GetKey(), DisplayName: req.GetDisplayName(), Description: req.Description,
		Type: flovyn.MetadataType(req.GetFieldType()), AllowedValues: req.GetAllowedValues(), Class: class, Kind: kind,
		Order: req.GetDisplayOrder(),
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateMetadataFieldResponse{Field: metadataFieldOut(f)}, nil
}

// ListMetadataFields lists the fields that hold for a kind, or the global ones.
func (h metadataFields) ListMetadataFields(ctx context.Context, req *apiv1.ListMetadataFieldsRequest) (*apiv1.ListMetadataFieldsResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	class, kind, err := scopeOf(req.GetWorkflowKind(), req.GetTaskKind())
	if err != nil {
		return nil, err
	}
	fields, err := h.metadata.List(ctx, org, class, kind)
	return &apiv1.ListMetadataFieldsResponse{Fields: convert(fields, metadataFieldOut)}, err
}

// UpdateMetadataField changes a field.
func (h metadataFields) UpdateMetadataField(ctx context.Context, req *apiv1.UpdateMetadataFieldRequest) (*apiv1.UpdateMetadataFieldResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	f, err := h.metadata.Update(ctx, org, id, metadata.Change{
		DisplayName: req.DisplayName, Description: req.Description, Type: flovyn.MetadataType(req.GetFieldType()),
		AllowedValues: req.GetAllowedValues(), Order: req.DisplayOrder,
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateMetadataFieldResponse{Field: metadataFieldOut(f)}, nil
}

// DeleteMetadataField deletes a field.
func (h metadataFields) DeleteMetadataField(ctx context.Context, req *apiv1.DeleteMetadataFieldRequest) (*apiv1.DeleteMetadataFieldResponse, error) {
	org, err := h.slugged(ctx, req.GetOrg())
	if err != nil {
		return nil, err
	}
	id, err := parseUUID("id", req.GetId())
	if err != nil {
		return nil, err
	}
	return &apiv1.DeleteMetadataFieldResponse{}, h.metadata.Delete(ctx, org, id)
}

func metadataFieldOut(f flovyn.MetadataField) *apiv1.MetadataField {
	scope := "global"
	if f.Class != "" {
		scope = string(f.Class) + ":" + f.Kind
	}
	return &apiv1.MetadataField{
		Id: f.ID.String(), Key: f.Key, DisplayName: f.DisplayName, Description: f.Description, FieldType: string(f.Type),
		AllowedValues: f.AllowedValues, Scope: scope, DisplayOrder: f.Order,
	}
}
