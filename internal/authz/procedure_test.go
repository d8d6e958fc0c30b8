package authz

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	flovynv1 "github.com/flovyn/flovyn-server/gen/flovyn/v1"
)

// managed are the files of the management API.
func managed() (files []protoreflect.FileDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage(apiv1.File_flovyn_api_v1_rest_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		files = append(files, file)
		return true
	})
	return files
}

// described returns every method of the compiled descriptors.
func described(t *testing.T) map[string]bool {
	t.Helper()
	procedures := map[string]bool{}
	for _, file := range append(managed(), []protoreflect.FileDescriptor{
		flovynv1.File_flovyn_v1_flovyn_proto, flovynv1.File_flovyn_v1_agent_proto,
		healthv1.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto,
	}...) {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				procedures["/"+string(service.FullName())+"/"+string(service.Methods().Get(j).Name())] = true
			}
		}
	}
	if len(procedures) < 51+70 {
		t.Fatalf("the descriptors hold only %d procedures", len(procedures))
	}
	return procedures
}

func TestEveryProcedureHasARule(t *testing.T) {
	t.Parallel()
	procedures := described(t)
	for procedure := range procedures {
		if _, ok := Lookup(procedure); !ok {
			t.Errorf("%s has no rule, so nobody may call it", procedure)
		}
	}
	for procedure := range rules {
		if !procedures[procedure] {
			t.Errorf("the rule for %s is for no procedure", procedure)
		}
	}
}

func TestRulesAreWellFormed(t *testing.T) {
	t.Parallel()
	for procedure, rule := range rules {
		if (rule.Public || rule.Authenticated) != (len(rule.Checks) == 0) {
			t.Errorf("%s: public %v, authenticated %v with %d checks", procedure, rule.Public, rule.Authenticated, len(rule.Checks))
		}
		if rule.Authenticated && (rule.Public || !strings.HasSuffix(procedure, "/WhoAmI")) {
			t.Errorf("%s needs no permission", procedure)
		}
		if rule.Public && strings.HasPrefix(procedure, "/flovyn.") {
			t.Errorf("%s is public", procedure)
		}
		for _, check := range rule.Checks {
			if !slices.Contains(allActions, check.Action) || !slices.Contains(allTypes, check.Type) {
				t.Errorf("%s: %s on %s is not in the vocabulary", procedure, check.Action, check.Type)
			}
		}
	}
}

func TestLookupOfUnknownProcedure(t *testing.T) {
	t.Parallel()
	for _, procedure := range []string{
		"", "/", "/flovyn.v1.WorkflowDispatch/", "flovyn.v1.WorkflowDispatch/PollWorkflow",
		"/flovyn.v1.WorkflowDispatch/pollworkflow", "/flovyn.v1.WorkflowDispatch/PollWorkflow/",
	} {
		if rule, ok := Lookup(procedure); ok || rule.Public {
			t.Errorf("Lookup(%q) = %+v, %v; want no rule", procedure, rule, ok)
		}
	}
}

func TestSignalWithStartNeedsBoth(t *testing.T) {
	t.Parallel()
	rule, _ := Lookup("/flovyn.v1.WorkflowDispatch/SignalWithStartWorkflow")
	want := []Check{{Execute, Workflow}, {Update, WorkflowExecution}}
	if diff := cmp.Diff(want, rule.Checks); diff != "" {
		t.Error(diff)
	}
}

func TestPublicProcedures(t *testing.T) {
	t.Parallel()
	want := []string{
		"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
	}
	if diff := cmp.Diff(want, PublicProcedures()); diff != "" {
		t.Error(diff)
	}
}
