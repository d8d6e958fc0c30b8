package server_test

import (
	"testing"

	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"

	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
	"github.com/flovyn/flovyn-server/gen/flovyn/v1/flovynv1connect"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
)

// With authentication off every organization is open, and none is made up.
func TestWithoutAuthenticationOrganizationsExist(t *testing.T) {
	t.Parallel()
	s := servertest.New(t, func(cfg *config.Config) { cfg.Auth.Enabled = false })
	dispatch := flovynv1connect.NewWorkflowDispatchClient(protocols[0].dial(t, s.GRPC, ""))
	start := func(org string) error {
		_, err := dispatch.StartWorkflow(t.Context(), &flovynv1.StartWorkflowRequest{OrgId: org, WorkflowKind: "k", Queue: "q"})
		return err
	}
	for range 2 {
		for _, org := range []string{servertest.Org.String(), servertest.ForeignOrg.String()} {
			if err := start(org); err != nil {
				t.Errorf("%s: %v", org, err)
			}
		}
		if err := start(uuid.NewString()); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("an organization that is not: %v", err)
		}
	}
}
