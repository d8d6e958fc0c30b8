package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	connect "connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/flovyn/flovyn-server/gen/flovyn/api/v1" // its services are walked
	"github.com/flovyn/flovyn-server/internal/authz"
	"github.com/flovyn/flovyn-server/internal/config"
	restdoor "github.com/flovyn/flovyn-server/internal/rest"
	"github.com/flovyn/flovyn-server/internal/server/servertest"
	"github.com/flovyn/flovyn-server/internal/standin"
)

// everyProcedure is that of both protocols, from the compiled descriptors.
func everyProcedure(t *testing.T) []connect.Spec {
	t.Helper()
	specs := procedures(t)
	protoregistry.GlobalFiles.RangeFilesByPackage("flovyn.api.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				specs = append(specs, specOf(methods.Get(j)))
			}
		}
		return true
	})
	if len(specs) < 110 {
		t.Fatalf("only %d procedures in the descriptors", len(specs))
	}
	return specs
}

// attack is a credential, and what becomes of it: whether it is refused, as whom,
// or let in.
type attack struct {
	name, credential string
	outcome          outcome
}

type outcome int

const (
	unknown outcome = iota // 401
	foreign                // 403 where the request names an organization by its id, 404 where by its slug
	denied                 // 403
	welcome                // anything else
)

// attacks are all ways to come in, good and bad, with the tokens of one provider.
func attacks(t *testing.T, app *standin.App) []attack {
	t.Helper()
	claims := func(change map[string]any) map[string]any {
		c := map[string]any{
			"sub": "owner-of-acme", "iss": app.URL(), "aud": "flovyn-server", "exp": time.Now().Add(time.Hour).Unix(),
			"org": map[string]any{"id": "external-acme", "slug": "acme", "role": "owner"},
		}
		maps.Copy(c, change)
		return c
	}
	sign := func(change, header map[string]any) string {
		token, err := app.Sign(claims(change), header)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	encode := func(value any) string {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	key := app.Keys()[0]
	forge := func(algorithm string, with func([]byte) []byte) string {
		message := encode(map[string]any{"alg": algorithm, "kid": key["kid"]}) + "." + encode(claims(nil))
		return message + "." + base64.RawURLEncoding.EncodeToString(with([]byte(message)))
	}
	public, err := base64.RawURLEncoding.DecodeString(key["x"].(string))
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return []attack{
		{"no credentials", "", unknown},
		{"garbage", "eyJhbGciOiJFZERTQSJ9.garbage.garbage", unknown},
		{"expired", sign(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, nil), unknown},
		{"wrong issuer", sign(map[string]any{"iss": "https://evil.example"}, nil), unknown},
		{"wrong audience", sign(map[string]any{"aud": "another-server"}, nil), unknown},
		{"wrong key", forge("EdDSA", func(m []byte) []byte { return ed25519.Sign(stranger, m) }), unknown},
		{"none", forge("none", func([]byte) []byte { return nil }), unknown},
		{"HS256 with the public key", forge("HS256", func(m []byte) []byte {
			h := hmac.New(sha256.New, public)
			h.Write(m)
			return h.Sum(nil)
		}), unknown},
		{"unknown kid", sign(nil, map[string]any{"kid": "nobody's"}), unknown},
		{"foreign org", tokenOf(t, app, "owner-of-globex"), foreign},
		{"wrong role", sign(map[string]any{"org": map[string]any{"id": "external-acme", "slug": "acme", "role": "guest"}}, nil), denied},
		{"right role", tokenOf(t, app, "owner-of-acme"), welcome},
	}
}

// good returns a message for a procedure that is valid and about acme, and names
// things that there are not.
func good(t *testing.T, validator protovalidate.Validator, input protoreflect.MessageDescriptor) *dynamicpb.Message {
	t.Helper()
	m := dynamicpb.NewMessage(input)
	for i := range input.Fields().Len() {
		f := input.Fields().Get(i)
		name := string(f.Name())
		switch {
		case name == "org_id":
			m.Set(f, protoreflect.ValueOfString(servertest.Org.String()))
		case name == "org" || name == "slug":
			m.Set(f, protoreflect.ValueOfString(servertest.OrgSlug))
		case name == "kind" && f.Kind() == protoreflect.StringKind: // part of paths, and so never empty
			m.Set(f, protoreflect.ValueOfString("k"))
		case name == "timeout_seconds": // of what waits
			m.Set(f, numberOf(f.Kind(), 1))
		}
	}
	candidates := map[protoreflect.Kind][]protoreflect.Value{
		protoreflect.StringKind: {protoreflect.ValueOfString("x"), protoreflect.ValueOfString(uuid.NewString())},
		protoreflect.BytesKind:  {protoreflect.ValueOfBytes([]byte("1"))},
		protoreflect.BoolKind:   {protoreflect.ValueOfBool(true)},
		protoreflect.Int32Kind:  {protoreflect.ValueOfInt32(1)},
		protoreflect.Int64Kind:  {protoreflect.ValueOfInt64(1)},
	}
	for range 20 { // a field may need a second candidate
		err := validator.Validate(m)
		violations, ok := errors.AsType[*protovalidate.ValidationError](err)
		if err == nil {
			return m
		}
		if !ok {
			t.Fatalf("%s: %v", input.FullName(), err)
		}
		f := input.Fields().ByName(protoreflect.Name(violations.Violations[0].Proto.GetField().GetElements()[0].GetFieldName()))
		if f == nil { // a oneof is required: its first member
			f = input.Oneofs().ByName(protoreflect.Name(violations.Violations[0].Proto.GetField().GetElements()[0].GetFieldName())).Fields().Get(0)
		}
		rule := violations.Violations[0]
		switch {
		case rule.RuleDescriptor != nil && rule.RuleDescriptor.Name() == "in":
			m.Set(f, rule.RuleValue.List().Get(0))
		case f.IsList():
			m.Mutable(f).List().Append(candidates[f.Kind()][0])
		case f.Message() != nil:
			m.Set(f, protoreflect.ValueOfMessage(good(t, validator, f.Message())))
		case len(candidates[f.Kind()]) == 0:
			t.Fatalf("%s: nothing fits %s: %v", input.FullName(), f.Name(), err)
		default:
			next := candidates[f.Kind()]
			at := 0
			for i, c := range next {
				if m.Has(f) && m.Get(f).Equal(c) {
					at = (i + 1) % len(next)
				}
			}
			m.Set(f, next[at])
		}
	}
	t.Fatalf("%s: no valid message was found: %v", input.FullName(), validator.Validate(m))
	return nil
}

func numberOf(kind protoreflect.Kind, n int32) protoreflect.Value {
	if kind == protoreflect.Int64Kind {
		return protoreflect.ValueOfInt64(int64(n))
	}
	return protoreflect.ValueOfInt32(n)
}

// attacked is a server with every chain at both doors, which ends what stays open
// soon.
func attacked(t *testing.T) (*servertest.Server, *standin.App) {
	t.Helper()
	app := newProvider(t)
	s := servertest.New(t, guideChains(app), func(cfg *config.Config) {
		chain := []string{"better_auth_jwt", "better_auth_api_key", "worker_token", "static_api_key"}
		cfg.Auth.Endpoints.HTTP.Authenticators, cfg.Auth.Endpoints.GRPC.Authenticators = chain, chain
		cfg.Auth.StreamMaxAge, cfg.Engine.PollMaxHold = time.Second, time.Second
	})
	return s, app
}

// Every procedure, at each port, in each protocol of procedures, with every
// credential: the answer is the one that is expected.
func TestAttackOnEveryProcedure(t *testing.T) {
	t.Parallel()
	s, app := attacked(t)
	table := attacks(t, app)
	specs := everyProcedure(t)
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	requests := map[string]*dynamicpb.Message{}
	for _, spec := range specs {
		requests[spec.Procedure] = good(t, validator, spec.Schema.(protoreflect.MethodDescriptor).Input())
	}
	for port, url := range ports(s) {
		for _, p := range protocols[:3] { // JSON differs from Connect in the codec alone
			for _, a := range table {
				t.Run(port+"/"+p.name+"/"+a.name, func(t *testing.T) {
					t.Parallel()
					client := p.dial(t, url, a.credential)
					var slow sync.WaitGroup
					defer slow.Wait()
					for _, spec := range specs {
						try := func() {
							_, out := messages(spec)
							got := codeOf(call(t, client, spec, requests[spec.Procedure], out))
							if want := a.outcome.codes(spec); !slices.Contains(want, got) == (a.outcome != welcome) {
								t.Errorf("%s: %v, want %v", spec.Procedure, got, want)
							}
						}
						if a.outcome == welcome { // some of them wait
							slow.Go(try)
						} else {
							try()
						}
					}
				})
			}
		}
	}
	t.Cleanup(func() {
		if n := app.Requests(jwksPath); n > 2 { // at the start, and once for the unknown key
			t.Errorf("the keys were fetched %d times", n)
		}
	})
}

// codeOf is the code of an answer, 0 of a good one.
func codeOf(err error) connect.Code {
	if err == nil {
		return 0
	}
	return connect.CodeOf(err)
}

// codes are those with which a procedure may be answered; for who is welcome, those
// with which it must not be.
func (o outcome) codes(spec connect.Spec) []connect.Code {
	in := spec.Schema.(protoreflect.MethodDescriptor).Input().Fields()
	rule, _ := authz.Lookup(spec.Procedure)
	switch {
	case o == unknown:
		return []connect.Code{connect.CodeUnauthenticated}
	case o == welcome:
		return []connect.Code{connect.CodeUnauthenticated, connect.CodePermissionDenied}
	case rule.Authenticated: // about the caller alone
		return []connect.Code{0}
	case o == denied, in.ByName("org_id") != nil, spec.Procedure == authz.CreateOrganization:
		return []connect.Code{connect.CodePermissionDenied}
	case in.ByName("org") != nil:
		return []connect.Code{connect.CodeNotFound}
	default: // about what is not in the caller's organization
		return []connect.Code{
			0, connect.CodeNotFound, connect.CodeUnimplemented, connect.CodeInvalidArgument,
		}
	}
}

// Every route of REST, the streams among them, at each port, with every
// credential: likewise.
func TestAttackOnEveryRoute(t *testing.T) {
	t.Parallel()
	s, app := attacked(t)
	table := attacks(t, app)
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	operations, err := restdoor.Operations(slices.Values(everyProcedure(t)))
	if err != nil || len(operations) < 60 {
		t.Fatalf("%d routes, %v", len(operations), err)
	}
	requests, streams := map[*restdoor.Operation]*dynamicpb.Message{}, 0
	for _, o := range operations {
		requests[o] = good(t, validator, o.Procedure.Input())
		if o.Stream {
			streams++
		}
	}
	if streams < 4 {
		t.Errorf("only %d of the routes are streams", streams)
	}
	for port, base := range ports(s) {
		for _, a := range table {
			t.Run(port+"/"+a.name, func(t *testing.T) {
				t.Parallel()
				client := overHTTP1(t)
				var slow sync.WaitGroup
				defer slow.Wait()
				for _, o := range operations {
					try := func() {
						got := knock(t, client, base, a.credential, o, requests[o])
						if want := a.outcome.statuses(o); !slices.Contains(want, got) == (a.outcome != welcome) {
							t.Errorf("%s %s: %d, want %d", o.Method, o.Path, got, want)
						}
					}
					if a.outcome == welcome {
						slow.Go(try)
					} else {
						try()
					}
				}
			})
		}
	}
}

func (o outcome) statuses(operation *restdoor.Operation) []int {
	switch {
	case o == unknown:
		return []int{401}
	case o == welcome:
		return []int{401, 403}
	case operation.Path == "/api/whoami":
		return []int{200}
	case o == denied, operation.Path == "/api/orgs":
		return []int{403}
	default: // every other route is about an organization
		return []int{404}
	}
}

// knock sends a request to a route, and returns the status of the answer. Of a
// stream that opens it reads no more than that.
func knock(t *testing.T, client *http.Client, base, credential string, o *restdoor.Operation, m *dynamicpb.Message) int {
	t.Helper()
	path, members := o.Path, jsonOf(t, m)
	for _, v := range o.Variables {
		path = strings.Replace(path, "{"+string(v.Name())+"}", m.Get(v).String(), 1)
		delete(members, v.JSONName())
	}
	var body []byte
	query := url.Values{}
	if o.HasBody {
		var err error
		if body, err = json.Marshal(members); err != nil {
			t.Fatal(err)
		}
	} else {
		for name, value := range members {
			query.Set(name, strings.Trim(string(value), `"`))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, o.Method, base+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if o.HasBody {
		r.Header.Set("Content-Type", "application/json")
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	return response.StatusCode
}

// jsonOf returns the members of a message as REST has them: payloads are JSON, and
// numbers are numbers.
func jsonOf(t *testing.T, m *dynamicpb.Message) map[string]json.RawMessage {
	t.Helper()
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() || f.IsMap():
		case f.Kind() == protoreflect.BytesKind:
			members[f.JSONName()] = v.Bytes()
		case f.Kind() == protoreflect.Int64Kind:
			members[f.JSONName()] = json.RawMessage(v.String())
		}
		return true
	})
	return members
}
