package jwt

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/flovyn/flovyn-server/internal/authn"
	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/fault"
	"github.com/flovyn/flovyn-server/internal/standin"
)

func part(value any) string {
	text, isText := value.(string)
	if !isText {
		raw, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		text = string(raw)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// forge makes a token that the provider did not sign.
func forge(header, claims any, sign func(message []byte) []byte) string {
	message := part(header) + "." + part(claims)
	return message + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(message)))
}

func hs256(secret []byte) func([]byte) []byte {
	return func(message []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(message)
		return h.Sum(nil)
	}
}

func unsigned([]byte) []byte { return nil }

// Every attack on a token, and the honest ones that look alike.
func TestTokens(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, standin.Config{})
	a := newAuthenticator(t, app)
	start(t, a)
	now := time.Now()
	good := goodClaims(app, now)
	key := app.Keys()[0]
	kid, _ := key["kid"].(string)
	public, err := base64.RawURLEncoding.DecodeString(key["x"].(string))
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := func(message []byte) []byte { return ed25519.Sign(other, message) }
	valid := sign(t, app, good, nil)
	head, rest, _ := strings.Cut(valid, ".")
	body, signature, _ := strings.Cut(rest, ".")
	with := func(by map[string]any) string { return sign(t, app, changed(good, by), nil) }
	headed := func(by map[string]any) string { return sign(t, app, good, by) }
	orgWith := func(by map[string]any) string {
		return with(map[string]any{"org": changed(good["org"].(map[string]any), by)})
	}
	role := func(r caller.Role) caller.Caller { c := alice; c.Role = r; return c }
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	jwkOfOther := map[string]any{
		"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64.RawURLEncoding.EncodeToString(other.Public().(ed25519.PublicKey)),
	}

	reject := func(cause string) authn.Result { return authn.Reject(errors.New(cause)) }
	for name, test := range map[string]struct {
		token string
		want  authn.Result
	}{
		"valid":                      {valid, authn.Accept(alice)},
		"audience in a list":         {with(map[string]any{"aud": []string{"other", audience}}), authn.Accept(alice)},
		"expired within the skew":    {with(map[string]any{"exp": ago(30 * time.Second)}), authn.Accept(alice)},
		"issued within the skew":     {with(map[string]any{"iat": ago(-30 * time.Second)}), authn.Accept(alice)},
		"not before, long ago":       {with(map[string]any{"nbf": ago(time.Hour)}), authn.Accept(alice)},
		"typ JWT":                    {headed(map[string]any{"typ": "JWT"}), authn.Accept(alice)},
		"typ of an access token":     {headed(map[string]any{"typ": "application/at+jwt"}), authn.Accept(alice)},
		"a thumbprint is no key":     {headed(map[string]any{"x5t": "abc"}), authn.Accept(alice)},
		"several roles":              {orgWith(map[string]any{"role": " member, Owner,superuser"}), authn.Accept(role(caller.Owner))},
		"an unknown role":            {orgWith(map[string]any{"role": "superuser"}), authn.Accept(role(caller.NoRole))},
		"no role":                    {orgWith(map[string]any{"role": nil}), authn.Accept(role(caller.NoRole))},
		"a role that is a list":      {orgWith(map[string]any{"role": []string{"owner"}}), authn.Accept(role(caller.NoRole))},
		"no id of the organization":  {orgWith(map[string]any{"id": nil}), authn.Accept(alice)},
		"claims that nobody asks of": {with(map[string]any{"email": "a@b.c", "x": map[string]any{"y": 1}}), authn.Accept(alice)},

		// Algorithms.
		"none":              {forge(map[string]any{"alg": "none", "kid": kid}, good, unsigned), reject("algorithm")},
		"None":              {forge(map[string]any{"alg": "None", "kid": kid}, good, unsigned), reject("algorithm")},
		"no algorithm":      {forge(map[string]any{"kid": kid}, good, unsigned), reject("algorithm")},
		"algorithm list":    {headed(map[string]any{"alg": []string{"EdDSA"}}), reject("algorithm")},
		"HS256, public key": {forge(map[string]any{"alg": "HS256", "kid": kid}, good, hs256(public)), reject("algorithm")},
		"HS256, its text":   {forge(map[string]any{"alg": "HS256", "kid": kid}, good, hs256([]byte(key["x"].(string)))), reject("algorithm")},
		"HS512":             {forge(map[string]any{"alg": "HS512", "kid": kid}, good, hs256(public)), reject("algorithm")},
		"ES256K":            {headed(map[string]any{"alg": "ES256K"}), reject("algorithm")},
		"another algorithm": {headed(map[string]any{"alg": "RS256"}), reject("publishes no key")},
		"lower case":        {headed(map[string]any{"alg": "eddsa"}), reject("algorithm")},

		// Signatures.
		"no signature":       {head + "." + body + ".", reject("signature")},
		"another's key":      {forge(map[string]any{"alg": "EdDSA", "kid": kid}, good, foreign), reject("signature")},
		"swapped claims":     {head + "." + part(changed(good, map[string]any{"sub": "eve"})) + "." + signature, reject("signature")},
		"swapped header":     {part(map[string]any{"alg": "EdDSA", "kid": kid, "typ": "JWT"}) + "." + body + "." + signature, reject("signature")},
		"truncated":          {valid[:len(valid)-2], reject("signature")},
		"alg none, signed":   {headed(map[string]any{"alg": "none"}), reject("algorithm")},
		"two signatures":     {valid + "." + signature, authn.Result{}},
		"unknown key":        {headed(map[string]any{"kid": "somebody's"}), reject("publishes no key")},
		"no key id":          {forge(map[string]any{"alg": "EdDSA"}, good, foreign), reject("kid")},
		"key id, a number":   {headed(map[string]any{"kid": 1}), reject("kid")},
		"key id, long":       {headed(map[string]any{"kid": strings.Repeat("k", 129)}), reject("kid")},
		"key id, a new line": {headed(map[string]any{"kid": "k\nadmin logged in"}), reject("kid")},
		"key id, a path":     {headed(map[string]any{"kid": "../../etc/passwd"}), reject("publishes no key")},

		// Headers.
		"jwk":            {forge(map[string]any{"alg": "EdDSA", "kid": kid, "jwk": jwkOfOther}, good, foreign), reject("own key (jwk)")},
		"jku":            {headed(map[string]any{"jku": "https://evil.example/jwks"}), reject("own key (jku)")},
		"x5u":            {headed(map[string]any{"x5u": "https://evil.example/x5u"}), reject("own key (x5u)")},
		"x5c":            {headed(map[string]any{"x5c": []string{"AAAA"}}), reject("own key (x5c)")},
		"crit":           {headed(map[string]any{"crit": []string{"exp"}, "exp": 1}), reject("extension (crit)")},
		"crit, empty":    {headed(map[string]any{"crit": []string{}}), reject("extension (crit)")},
		"b64":            {headed(map[string]any{"b64": false}), reject("extension (b64)")},
		"logout token":   {headed(map[string]any{"typ": "logout+jwt"}), reject("another kind")},
		"typ, no text":   {headed(map[string]any{"typ": 1}), reject("another kind")},
		"typ of a proof": {headed(map[string]any{"typ": "dpop+jwt"}), reject("another kind")},

		// Claims.
		"expired":              {with(map[string]any{"exp": ago(2 * time.Minute)}), reject("exp")},
		"no expiry":            {with(map[string]any{"exp": nil}), reject("exp")},
		"expiry, no number":    {with(map[string]any{"exp": "never"}), reject("claims")},
		"not yet valid":        {with(map[string]any{"nbf": ago(-2 * time.Minute)}), reject("nbf")},
		"issued in the future": {with(map[string]any{"iat": ago(-2 * time.Minute)}), reject("iat")},
		"another issuer":       {with(map[string]any{"iss": "https://evil.example"}), reject("iss")},
		"longer issuer":        {with(map[string]any{"iss": app.URL() + "/"}), reject("iss")},
		"no issuer":            {with(map[string]any{"iss": nil}), reject("iss")},
		"another audience":     {with(map[string]any{"aud": "other"}), reject("aud")},
		"other audiences":      {with(map[string]any{"aud": []string{"other", "flovyn-server-2"}}), reject("aud")},
		"no audience":          {with(map[string]any{"aud": nil}), reject("aud")},
		"empty audience":       {with(map[string]any{"aud": []string{}}), reject("aud")},
		"no subject":           {with(map[string]any{"sub": nil}), reject("sub")},
		"empty subject":        {with(map[string]any{"sub": ""}), reject("sub")},
		"blank subject":        {with(map[string]any{"sub": " "}), reject("sub")},
		"NUL in subject":       {with(map[string]any{"sub": "a\x00b"}), reject("sub")},
		"long subject":         {with(map[string]any{"sub": strings.Repeat("s", 256)}), reject("sub")},
		"subject, no text":     {with(map[string]any{"sub": 7}), reject("claims")},
		"claims in capitals":   {with(map[string]any{"exp": nil, "EXP": now.Add(time.Hour).Unix()}), reject("exp")},
		"claims are a list":    {sign(t, app, nil, nil), reject("claims")},
		"no org":               {with(map[string]any{"org": nil}), reject("JWT missing org claim")},
		"org, a text":          {with(map[string]any{"org": "acme"}), reject("JWT missing org claim")},
		"org without slug":     {orgWith(map[string]any{"slug": nil}), reject("JWT missing org claim")},
		"slug, no text":        {orgWith(map[string]any{"slug": 1}), reject("JWT missing org claim")},
		"org in capitals":      {with(map[string]any{"org": nil, "Org": good["org"]}), reject("JWT missing org claim")},
		"unknown org":          {orgWith(map[string]any{"slug": "globex"}), reject("Unknown organization: globex")},
		"old claims":           {with(map[string]any{"org": nil, "tenantId": "acme", "tenantRole": "OWNER"}), reject("JWT missing org claim")},

		// Somebody else's.
		"API key":            {"flovyn_sk_0123456789abcdef", authn.Result{}},
		"worker token":       {"fwt_0123456789abcdef", authn.Result{}},
		"placeholder":        {"fct_placeholder-6d1c5c2e-92f2-4a4e-9a35-54ef3b2a3a11", authn.Result{}},
		"dots":               {"a.b.c", authn.Result{}},
		"only dots":          {"..", authn.Result{}},
		"two parts":          {head + "." + body, authn.Result{}},
		"encrypted":          {head + "." + body + ".a.b." + signature, authn.Result{}},
		"JSON serialization": {`{"payload":"` + body + `"}`, authn.Result{}},
		"header, a list":     {part([]string{"alg"}) + "." + body + "." + signature, authn.Result{}},
		"header, null":       {part("null") + "." + body + "." + signature, authn.Result{}},
		"padding":            {valid + "=", authn.Result{}},
		"standard alphabet":  {head + "." + body + ".+/+/", authn.Result{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, round := range []string{"first", "again"} { // the second may come from memory
				got := judge(t, a, test.token)
				if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(authn.Result{}, "Cause"),
					cmpopts.IgnoreFields(caller.Caller{}, "Email", "Expires")); diff != "" {
					t.Fatalf("%s: %s\n%v", round, diff, got.Cause)
				}
				if test.want.Cause != nil && !strings.Contains(got.Cause.Error(), test.want.Cause.Error()) {
					t.Errorf("%s: because of %v, want %v", round, got.Cause, test.want.Cause)
				}
				if got.Cause != nil && strings.Contains(got.Cause.Error(), signature) {
					t.Errorf("the cause holds the credential: %v", got.Cause)
				}
			}
		})
	}
}

// isAlice reports whether a result is alice, with a credential that expires.
func isAlice(r authn.Result) bool {
	return r.Outcome == authn.Accepted && r.Caller.Same(alice) && !r.Caller.Expires.IsZero()
}

// Only two causes are for the client; all others are for the log.
func TestPublicMessages(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, standin.Config{})
	a := newAuthenticator(t, app)
	start(t, a)
	good := goodClaims(app, time.Now())
	for token, want := range map[string]string{
		sign(t, app, changed(good, map[string]any{"org": nil}), nil):                              "JWT missing org claim",
		sign(t, app, changed(good, map[string]any{"org": map[string]any{"slug": "globex"}}), nil): "Unknown organization: globex",
		sign(t, app, changed(good, map[string]any{"aud": "x"}), nil):                              authn.PublicMessage,
		sign(t, app, good, map[string]any{"kid": "x"}):                                            authn.PublicMessage,
	} {
		chain, err := authn.NewChain(a)
		if err != nil {
			t.Fatal(err)
		}
		_, err = chain.Authenticate(t.Context(), map[string][]string{"Authorization": {"Bearer " + token}})
		if !fault.Is(err, fault.Unauthenticated) || fault.Message(err) != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A database that is down is not an unknown organization.
func TestResolverDown(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, standin.Config{})
	for _, down := range []error{fault.New(fault.Unavailable, "down"), errors.New("broken"), context.Canceled, fault.New(fault.NotFound, "x")} {
		a := newAuthenticator(t, app, func(cfg *Config) { cfg.Orgs = directory{down: down} })
		start(t, a)
		if got := judge(t, a, sign(t, app, goodClaims(app, time.Now()), nil)); got.Outcome != authn.Unavailable || !errors.Is(got.Cause, down) {
			t.Errorf("%v: %+v", down, got)
		}
	}
}

// What the provider issues is accepted, with each of its algorithms.
func TestIssuedTokens(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{standin.EdDSA, standin.RS256, standin.ES256} {
		app, session := newApp(t, standin.Config{Algorithm: algorithm})
		a := newAuthenticator(t, app)
		start(t, a)
		if got := judge(t, a, issue(t, app, session)); !isAlice(got) {
			t.Errorf("%s: %+v", algorithm, got)
		}
	}
}

// The generic authenticator differs in its name alone.
func TestGeneric(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, standin.Config{})
	a := newAuthenticator(t, app, func(cfg *Config) { cfg.Name = Name })
	start(t, a)
	if a.Name() != "jwt" || len(a.Parts()) != 1 || a.Parts()[0].Name() != "keys of jwt" {
		t.Errorf("%s, %v", a.Name(), a.Parts())
	}
	good := goodClaims(app, time.Now())
	if got := judge(t, a, sign(t, app, good, nil)); !isAlice(got) {
		t.Errorf("%+v", got)
	}
	if got := judge(t, a, sign(t, app, changed(good, map[string]any{"org": nil}), nil)); got.Outcome != authn.Rejected {
		t.Errorf("%+v, want a user without an organization rejected", got)
	}
}

// Without verification anybody can sign, and everything else still counts.
func TestSkipVerification(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, standin.Config{})
	a := newAuthenticator(t, app, func(cfg *Config) { cfg.SkipVerification, cfg.JWKSURI = true, "" })
	if len(a.Parts()) != 0 {
		t.Error("it fetches keys")
	}
	good := goodClaims(app, time.Now())
	none := map[string]any{"alg": "none"}
	for name, test := range map[string]struct {
		claims map[string]any
		want   authn.Outcome
	}{
		"unsigned":         {good, authn.Accepted},
		"expired":          {changed(good, map[string]any{"exp": 1}), authn.Rejected},
		"another issuer":   {changed(good, map[string]any{"iss": "x"}), authn.Rejected},
		"another audience": {changed(good, map[string]any{"aud": "x"}), authn.Rejected},
		"no subject":       {changed(good, map[string]any{"sub": nil}), authn.Rejected},
		"no organization":  {changed(good, map[string]any{"org": nil}), authn.Rejected},
	} {
		if got := judge(t, a, forge(none, test.claims, unsigned)); got.Outcome != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := judge(t, a, "flovyn_sk_0123456789abcdef"); got.Outcome != authn.NotMine {
		t.Errorf("an API key: %+v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	complete := Config{Name: Name, JWKSURI: "https://app.acme.com/jwks", Issuer: "i", Audience: "a", Orgs: directory{}}
	for want, change := range map[string]func(*Config){
		"issuer is required":   func(c *Config) { c.Issuer = "" },
		"audience is required": func(c *Config) { c.Audience = "" },
		"https://":             func(c *Config) { c.JWKSURI = "http://app.acme.com/jwks" },
		"holds a password":     func(c *Config) { c.JWKSURI = "https://user:hunter2@app.acme.com/jwks" },
		"not a URL":            func(c *Config) { c.JWKSURI = "" },
		"must begin with":      func(c *Config) { c.JWKSURI = "file://host/etc/passwd" },
	} {
		cfg := complete
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, local := range []string{"http://localhost:3000/jwks", "http://127.0.0.1/jwks", "http://[::1]:3000/jwks", "https://app.acme.com/jwks"} {
		if err := CheckJWKSURI(local); err != nil {
			t.Errorf("%s: %v", local, err)
		}
	}
}

func TestParseBoundsTokens(t *testing.T) {
	t.Parallel()
	token := part(map[string]string{"alg": "EdDSA"}) + "." + strings.Repeat("A", 8<<10) + ".AAAA"
	if _, ok := parse(token); ok {
		t.Error("a token of more than 8 KiB was taken apart")
	}
}
