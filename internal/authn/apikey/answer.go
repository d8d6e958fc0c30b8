package apikey

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/flovyn/flovyn-server/internal/caller"
	"github.com/flovyn/flovyn-server/internal/flovyn"
)

// prefixes are how keys begin, with whom they stand for.
var prefixes = map[string]caller.Kind{"flovyn_sk_": caller.User, "flovyn_wk_": caller.Worker}

// kindOf returns what a key's beginning says, or nothing for what is no key.
func kindOf(key string) caller.Kind {
	for prefix, kind := range prefixes {
		if rest, ok := strings.CutPrefix(key, prefix); ok && rest != "" {
			return kind
		}
	}
	return ""
}

// answer is a provider's answer by the exact names of its fields. Later versions
// of the contract may have more of them.
type answer map[string]json.RawMessage

// read judges the answer about a key. It is an *invalidError that says the key
// is no good; any other error, that the answer makes no sense.
func (a *Authenticator) read(key string, body []byte) (verdict, error) {
	var fields answer
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return verdict{}, fmt.Errorf("the validation service's answer of %d bytes is no JSON object", len(body))
	}
	if !bytes.Equal(fields["valid"], []byte("true")) {
		said, _ := fields.text("error") // it need not be there
		return verdict{}, invalid("the validation service says that the key is not valid: %s", quote(said, key))
	}
	slug, err := fields.either("orgSlug", "tenantSlug")
	if err != nil {
		return verdict{}, err
	}
	if slug == "" {
		return verdict{}, invalid("the validation service names no organization")
	}
	externalOrg, err := fields.either("orgId", "tenantId")
	if err != nil {
		return verdict{}, err
	}
	v := verdict{slug: slug, externalOrg: externalOrg}
	if v.kind, err = a.principalKind(key, fields); err != nil {
		return verdict{}, err
	}
	if v.role, err = a.role(v.kind, fields); err != nil {
		return verdict{}, err
	}
	if v.id, err = principalID(key, fields); err != nil {
		return verdict{}, err
	}
	return v, nil
}

// principalKind is what the key's beginning says, if the provider agrees. Only
// a key that looks like a user's can be a service's, where that is allowed.
func (a *Authenticator) principalKind(key string, fields answer) (caller.Kind, error) {
	looks := kindOf(key)
	said, err := fields.text("principalType")
	if err != nil {
		return "", err
	}
	switch kind := caller.Kind(said); {
	case said == "", kind == looks:
		return looks, nil
	case kind == caller.Service && looks == caller.User && a.cfg.AllowService:
		return caller.Service, nil
	case kind == caller.Service && looks == caller.User:
		return "", invalid("the key is a service's, and auth.better_auth.allow_service is false")
	default:
		return "", invalid("the validation service calls the key of a %s that of a %s", looks, quote(said, key))
	}
}

// role is what the provider says of a user, or else the configured one. Others
// have none.
func (a *Authenticator) role(kind caller.Kind, fields answer) (caller.Role, error) {
	said, err := fields.text("role")
	switch {
	case err != nil || kind != caller.User:
		return caller.NoRole, err
	case said == "":
		return a.cfg.DefaultUserRole, nil
	default:
		return caller.HighestRole(said), nil
	}
}

// principalID names the principal in records: after the user, or else after a
// digest of the key, which is the same on every server.
func principalID(key string, fields answer) (string, error) {
	id, err := fields.text("userId")
	if err != nil || isName(id) {
		return id, err
	}
	digest := sha256.Sum256([]byte(key))
	return "api-key:" + hex.EncodeToString(digest[:8]), nil
}

// isName reports whether a text can name a principal.
func isName(text string) bool {
	return text != "" && len(text) <= flovyn.MaxNameLength && utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0
}

// text returns a field that is a string; nothing if it is absent or null.
func (fields answer) text(name string) (string, error) {
	raw, ok := fields[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("the validation service's %q is no string", name)
	}
	return value, nil
}

// either returns a field that has two names. Where both are there they must
// agree.
func (fields answer) either(name, older string) (string, error) {
	value, err := fields.text(name)
	if err != nil {
		return "", err
	}
	other, err := fields.text(older)
	switch {
	case err != nil || other == "" || other == value:
		return value, err
	case value == "":
		return other, nil
	default:
		return "", invalid("the validation service's %s and %s differ", name, older)
	}
}

// quote shows some of what a provider says, without the key that it may repeat.
func quote(said, key string) string {
	const most = 200
	said = strings.ReplaceAll(said, key, "[key]")
	if len(said) > most {
		said = said[:most] + "..."
	}
	return fmt.Sprintf("%q", said)
}
