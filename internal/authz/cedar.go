package authz

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

//go:embed policy/schema.cedarschema
var schemaText []byte

//go:embed policy/guard.cedar
var guardText []byte

//go:embed policy/base.cedar
var baseText []byte

// CedarConfig says which policies to use.
type CedarConfig struct {
	// PolicyPath is a file of policies that replaces the built-in permits; empty
	// means the built-in ones. The guards against crossing organizations hold
	// in either case.
	PolicyPath string
	// Log receives policies that fail to evaluate.
	Log *slog.Logger
}

// Cedar decides by policies.
type Cedar struct {
	policies *cedar.PolicySet
	// actions are the action entities with their groups. Cedar takes
	// `action in group` from the entities it is given, not from the schema:
	// without them such a policy silently does not match.
	actions types.EntityMap
	log     *slog.Logger
	// decided remembers decisions of the built-in policies; nil with others.
	decided *lru.Cache[question, verdict]
}

// A question is what the built-in policies look at, and all of it: they name no
// principal and no resource. Policies of an operator's may.
type question struct {
	kind           caller.Kind
	role           caller.Role
	action         Action
	resource       ResourceType
	ownOrg, itsOrg flovyn.OrgID
}

// A verdict is a decision, and why if it is no.
type verdict struct {
	allowed bool
	reason  string
}

// rememberedVerdicts bounds how many decisions are remembered.
const rememberedVerdicts = 10_000

// NewCedar loads the policies and checks every one against the schema.
func NewCedar(cfg CedarConfig) (*Cedar, error) {
	name, text := "base.cedar", baseText
	if cfg.PolicyPath != "" {
		var err error
		name = cfg.PolicyPath
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("reading policies: %w", err)
		}
	}
	c, err := newCedar(cfg.Log, name, text)
	if err == nil && cfg.PolicyPath == "" {
		c.decided, err = lru.New[question, verdict](rememberedVerdicts)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func newCedar(log *slog.Logger, name string, text []byte) (*Cedar, error) {
	vocabulary, err := loadSchema()
	if err != nil {
		return nil, err
	}
	policies := cedar.NewPolicySet()
	validator := validate.New(vocabulary)
	if err := addPolicies(policies, validator, "guard.cedar", guardText); err != nil {
		return nil, err
	}
	if err := addPolicies(policies, validator, name, text); err != nil {
		return nil, err
	}
	actions := make(types.EntityMap, len(vocabulary.Actions))
	for uid, action := range vocabulary.Actions {
		actions[uid] = action.Entity
	}
	return &Cedar{policies: policies, actions: actions, log: log}, nil
}

func loadSchema() (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar(schemaText); err != nil {
		return nil, fmt.Errorf("parsing the policy schema: %w", err)
	}
	vocabulary, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving the policy schema: %w", err)
	}
	return vocabulary, nil
}

// addPolicies parses a file and adds its policies to the set, under their @id
// or else their position. It reports every finding, not only the first.
func addPolicies(set *cedar.PolicySet, validator *validate.Validator, name string, text []byte) error {
	list, err := cedar.NewPolicyListFromBytes(name, text)
	if err != nil {
		return fmt.Errorf("parsing policies of %s: %w", name, err)
	}
	if len(list) == 0 {
		return fmt.Errorf("%s holds no policy", name)
	}
	var findings []error
	for i, policy := range list {
		id := cedar.PolicyID(policy.Annotations()["id"])
		if id == "" {
			id = cedar.PolicyID(fmt.Sprintf("%s#%d", name, i+1))
		}
		if err := validator.Policy(string(id), (*ast.Policy)(policy.AST())); err != nil {
			findings = append(findings, fmt.Errorf("%s:%d: policy %q: %w", name, policy.Position().Line, id, err))
		}
		if !set.Add(id, policy) {
			findings = append(findings, fmt.Errorf("%s:%d: a second policy %q", name, policy.Position().Line, id))
		}
	}
	return errors.Join(findings...)
}

// Authorize permits the request when a policy permits it, none forbids it, and
// none failed to evaluate.
func (c *Cedar) Authorize(ctx context.Context, r Request) error {
	q, general := questionOf(r)
	general = general && c.decided != nil
	if general {
		if v, known := c.decided.Get(q); known {
			if v.allowed {
				return nil
			}
			return denied(r, v.reason)
		}
	}
	v := c.decide(ctx, r)
	// What failed to evaluate is said each time.
	if general && v.reason != failedToEvaluate {
		c.decided.Add(q, v)
	}
	if !v.allowed {
		return denied(r, v.reason)
	}
	return nil
}

// questionOf is a request without the names in it. It is not general where a name
// matters: when an organization is about to be created.
func questionOf(r Request) (q question, general bool) {
	return question{
		kind: r.Caller.Kind, role: r.Caller.Role, action: r.Action, resource: r.Resource.Type,
		ownOrg: r.Caller.Org, itsOrg: r.Resource.Org,
	}, r.Caller.Claims == nil && (r.Action != Create || r.Resource.Type != Org)
}

// failedToEvaluate is why a request is denied about which a policy has failed.
const failedToEvaluate = "a policy failed to evaluate"

// decide asks the policies.
func (c *Cedar) decide(ctx context.Context, r Request) verdict {
	facts, reason := gather(r)
	if reason != "" {
		return verdict{reason: reason}
	}
	facts.actions = c.actions
	action := types.NewEntityUID("Flovyn::Action", types.String(r.Action))
	decision, diagnostic := cedar.Authorize(c.policies, facts, cedar.Request{
		Principal: facts.principal.UID,
		Action:    action,
		Resource:  facts.resource.UID,
	})
	if len(diagnostic.Errors) > 0 {
		c.report(ctx, r, diagnostic.Errors)
		return verdict{reason: failedToEvaluate}
	}
	if decision != cedar.Allow {
		return verdict{reason: refusal(diagnostic)}
	}
	return verdict{allowed: true}
}

func (c *Cedar) report(ctx context.Context, r Request, failures []cedar.DiagnosticError) {
	for _, failure := range failures {
		c.log.ErrorContext(ctx, "a policy failed to evaluate; the request is denied",
			slog.String("policy", string(failure.PolicyID)), slog.String("failure", failure.Message),
			slog.String("action", string(r.Action)), slog.String("resource_type", string(r.Resource.Type)),
			slog.String("principal_type", string(r.Caller.Kind)), slog.String("principal_id", r.Caller.ID))
	}
}

// refusal says which prohibition decided, or that nothing permits.
func refusal(d cedar.Diagnostic) string {
	if len(d.Reasons) == 0 {
		return "no policy permits it"
	}
	return "forbidden by policy " + string(d.Reasons[0].PolicyID)
}

// facts are the entities one decision is made from.
type facts struct {
	principal, resource types.Entity
	actions             types.EntityMap
}

// Get returns the entity of that name.
func (f *facts) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case f.principal.UID:
		return f.principal, true
	case f.resource.UID:
		return f.resource, true
	default:
		return f.actions.Get(uid)
	}
}

// gather turns a request into entities. A reason other than "" is why there is
// nothing to decide: Cedar compares what it is given, and would find two absent
// organizations equal.
func gather(r Request) (f *facts, reason string) {
	creatingOrg := r.Action == Create && r.Resource.Type == Org
	switch r.Caller.Kind {
	case caller.User, caller.Worker:
		if r.Caller.Org.IsZero() && (r.Caller.Claims == nil || !creatingOrg) {
			return nil, "the caller has no organization"
		}
	case caller.Service:
		if r.Caller.Org.IsZero() && !creatingOrg {
			return nil, "a service without an organization can only create one"
		}
	default:
		return nil, "not an authenticated principal"
	}
	orgID := r.Resource.Org.String()
	if r.Resource.Org.IsZero() {
		if !creatingOrg {
			return nil, "the resource has no organization"
		}
		orgID = NewID // equal to no caller's
	}
	attributes := types.RecordMap{"orgId": types.String(orgID)}
	if creatingOrg {
		attributes["slug"] = types.String(r.Resource.ID)
	}
	return &facts{
		principal: principalEntity(r.Caller),
		resource: types.Entity{
			UID:        types.NewEntityUID(types.EntityType("Flovyn::"+r.Resource.Type), types.String(r.Resource.ID)),
			Attributes: types.NewRecord(attributes),
		},
	}, ""
}

func principalEntity(c caller.Caller) types.Entity {
	attributes := types.RecordMap{}
	kind := types.EntityType("Flovyn::" + c.Kind)
	if c.Org.IsZero() && c.Claims != nil {
		kind, attributes["slug"] = "Flovyn::Applicant", types.String(c.Claims.Slug)
	}
	if !c.Org.IsZero() {
		attributes["orgId"] = types.String(c.Org.String())
	}
	if c.Role != caller.NoRole && c.Kind != caller.Worker { // the schema gives workers no role
		attributes["role"] = types.String(c.Role)
	}
	return types.Entity{
		UID:        types.NewEntityUID(kind, types.String(c.ID)),
		Attributes: types.NewRecord(attributes),
	}
}
