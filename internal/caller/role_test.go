package caller

import "testing"

func TestHighestRole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Role{
		"": NoRole, ",": NoRole, "owner": Owner, "ADMIN": Admin, " Member ": Member, "member,owner": Owner,
		"owner, admin": Owner, "superuser": NoRole, "superuser,member": Member, "owneradmin": NoRole,
	} {
		if got := HighestRole(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
