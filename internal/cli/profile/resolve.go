package profile

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// DefaultServer is where `flovyn dev` listens.
const DefaultServer = "http://localhost:8000"

// The variables of the environment.
const (
	EnvProfile = "FLOVYN_PROFILE"
	EnvAPIKey  = "FLOVYN_API_KEY" //nolint:gosec // the name of a variable
	EnvServer  = "FLOVYN_SERVER"
	EnvOrg     = "FLOVYN_ORG"
	EnvApp     = "FLOVYN_APP_URL"
)

// Flags are what the command line says; empty is nothing.
type Flags struct{ Profile, Server, Org, APIKey string }

// Settings are what applies to a command, and where it comes from.
type Settings struct {
	// Profile is the stored one. It is empty but for its name when there is none.
	Profile Profile
	Session Session
	Server  string
	Org     string
	// Token opens the server; empty when there is none.
	Token string
	// Source says in words where the token comes from.
	Source string
	// ServerSource says in words where the server comes from.
	ServerSource string
}

// Stored reports whether the token is the profile's.
func (s *Settings) Stored() bool { return s.Token != "" && s.Token == s.Profile.Token }

// Resolve decides what applies: flags over getenv over the profile.
func Resolve(flags Flags, getenv func(string) string, store *Store) (*Settings, error) {
	s, err := resolveProfile(flags, getenv, store)
	if err != nil {
		return nil, err
	}
	switch {
	case flags.Server != "":
		s.Server, s.ServerSource = flags.Server, "--server"
	case getenv(EnvServer) != "":
		s.Server, s.ServerSource = getenv(EnvServer), EnvServer
	case s.Profile.ServerURL != "":
		s.Server, s.ServerSource = s.Profile.ServerURL, "profile "+s.Profile.Name
	default:
		s.Server, s.ServerSource = DefaultServer, "the default"
	}
	s.Server = strings.TrimRight(s.Server, "/")
	if err := checkServer(s.ServerSource, s.Server); err != nil {
		return nil, err
	}
	s.Org = cmp.Or(flags.Org, getenv(EnvOrg), s.Profile.OrgSlug)
	return s, s.resolveToken(flags, getenv)
}

func resolveProfile(flags Flags, getenv func(string) string, store *Store) (*Settings, error) {
	name := cmp.Or(flags.Profile, getenv(EnvProfile), Default)
	p, session, err := store.Load(name)
	if err != nil {
		// Nobody asked for the default one, and who brings a key needs no file.
		named := flags.Profile != "" || getenv(EnvProfile) != ""
		if !fault.Is(err, fault.NotFound) || named {
			return nil, err
		}
		p, session = Profile{Name: name}, Session{}
	}
	return &Settings{Profile: p, Session: session}, nil
}

func (s *Settings) resolveToken(flags Flags, getenv func(string) string) error {
	switch {
	case flags.APIKey != "":
		s.Token, s.Source = flags.APIKey, "--api-key"
	case getenv(EnvAPIKey) != "":
		s.Token, s.Source = getenv(EnvAPIKey), EnvAPIKey
	case s.Profile.Token != "":
		s.Token, s.Source = s.Profile.Token, "profile "+s.Profile.Name
		if !SameServer(s.Server, s.Profile.ServerURL) {
			return fault.New(fault.Invalid,
				"the token of profile %s is for %s and is not sent to %s (%s); log in there with: flovyn --profile NAME --server %s auth login",
				s.Profile.Name, s.Profile.ServerURL, s.Server, s.ServerSource, s.Server)
		}
	default:
		return nil
	}
	if err := CheckToken(s.Source, s.Token); err != nil {
		return err
	}
	if !client.Confidential(s.Server) {
		return fault.InvalidField(s.ServerSource, "the key would travel to %s in clear text; use https", s.Server)
	}
	return nil
}

func checkServer(source, server string) error {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fault.InvalidField(source, "%q is not the address of a server; want something like https://api.example.com or %s", server,
			DefaultServer)
	}
	if u.User != nil {
		return fault.InvalidField(source, "an address with a user or a password in it; give a key with %s instead", EnvAPIKey)
	}
	return nil
}

// SameServer reports whether two addresses are of one server: the same scheme,
// host and port.
func SameServer(a, b string) bool {
	one, err1 := url.Parse(a)
	two, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && one.Scheme == two.Scheme && strings.EqualFold(one.Hostname(), two.Hostname()) &&
		port(one) == port(two)
}

func port(u *url.URL) string {
	if u.Port() == "" && u.Scheme == "https" {
		return "443"
	}
	return cmp.Or(u.Port(), "80")
}
