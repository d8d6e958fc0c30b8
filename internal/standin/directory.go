package standin

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// User is a person.
type User struct{ ID, Email, Name string }

// Org is an organization as the identity provider knows it: by an id of its own
// and a slug that can change.
type Org struct{ ID, Slug, Name string }

// Key is an API key to be made.
type Key struct {
	// Prefix begins the key: "flovyn_sk_" for a person's, "flovyn_wk_" for a
	// worker's.
	Prefix string
	// UserID is who made it.
	UserID string
	// OrgID is the organization it is for; without one the answer has no slug.
	OrgID string
	// Role is told when it is set.
	Role string
	// PrincipalType is told instead of what follows from the prefix.
	PrincipalType string
	// Expires is when it ends; zero is never.
	Expires time.Time
}

// directory is who and what there is.
type directory struct {
	users   map[string]User
	orgs    map[string]Org
	members map[member]string // the role, or several between commas
	keys    map[[sha256.Size]byte]Key
}

type member struct{ user, org string }

func newDirectory() directory {
	return directory{
		users: map[string]User{}, orgs: map[string]Org{}, members: map[member]string{}, keys: map[[sha256.Size]byte]Key{},
	}
}

// Letters of identifiers and of secrets.
const (
	letters      = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	alphanumeric = letters + "0123456789"
	// userLetters can be read aloud: no I, O, 0 or 1.
	userLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
)

// random returns a text that cannot be guessed.
func random(length int, alphabet string) string {
	var b strings.Builder
	for b.Len() < length {
		var chunk [64]byte
		_, _ = rand.Read(chunk[:]) // it never fails
		for _, c := range chunk {
			// Reject what would favour the first letters.
			if limit := 256 - 256%len(alphabet); int(c) < limit && b.Len() < length {
				b.WriteByte(alphabet[int(c)%len(alphabet)])
			}
		}
	}
	return b.String()
}

func newID() string { return random(32, alphanumeric) }

// AddUser adds a person, or changes one. Without an id it gets one.
func (a *App) AddUser(u User) User {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.ID == "" {
		u.ID = newID()
	}
	a.users[u.ID] = u
	return u
}

// AddOrg adds an organization, or changes one, its slug for example. Without an
// id it gets one.
func (a *App) AddOrg(o Org) Org {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.ID == "" {
		o.ID = newID()
	}
	a.orgs[o.ID] = o
	return o
}

// AddMember makes a person a member; role is owner, admin or member, or several
// of them between commas. An empty role ends the membership.
func (a *App) AddMember(userID, orgID, role string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if role == "" {
		delete(a.members, member{userID, orgID})
		return
	}
	a.members[member{userID, orgID}] = role
}

// AddKey makes an API key and returns its text, which is not kept.
func (a *App) AddKey(k Key) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := k.Prefix + random(64, letters)
	a.keys[sha256.Sum256([]byte(text))] = k
	return text
}

// RevokeKey makes a key invalid.
func (a *App) RevokeKey(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, sha256.Sum256([]byte(text)))
}

// orgsOf returns the organizations of a person, by slug.
func (d *directory) orgsOf(userID string) []Org {
	var orgs []Org
	for m := range d.members {
		if org, ok := d.orgs[m.org]; ok && m.user == userID {
			orgs = append(orgs, org)
		}
	}
	slices.SortFunc(orgs, func(a, b Org) int { return strings.Compare(a.Slug, b.Slug) })
	return orgs
}

func (d *directory) orgBySlug(slug string) (Org, bool) {
	for org := range maps.Values(d.orgs) {
		if org.Slug == slug {
			return org, true
		}
	}
	return Org{}, false
}

// usersByName are all, for a person to pick from.
func (d *directory) usersByName() []User {
	users := slices.Collect(maps.Values(d.users))
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.Email, b.Email) })
	return users
}

// errNoUser is for a method that was given an id which nobody has.
func errNoUser(id string) error { return fmt.Errorf("the stand-in has no user %q", id) }
