package archtest

// A floor is a level of the building.
type floor int

// The floors, from the bottom. The tower stands beside them.
const (
	words floor = iota
	rules
	world
	deeds
	doors
	assembly
	mains
	tower
)

// String names a floor and what its packages are for.
func (f floor) String() string {
	return [...]string{
		"floor 0 (words: the nouns everybody uses)",
		"floor 1 (rules: values in, values out)",
		"floor 2 (world: the database, the clock, the network)",
		"floor 3 (deeds: the use-cases)",
		"floor 4 (doors: how callers come in)",
		"floor 5 (assembly: one place builds the program)",
		"floor 6 (mains)",
		"the tower (programs that talk to the server over the wire)",
	}[f]
}

// A place says where a package stands and what it may import beyond that.
type place struct {
	// name is the package's path in the module, without internal/. A name that
	// ends in /* covers the packages below it.
	name  string
	floor floor
	// also are packages that it may import although its floor does not say so.
	also []string
}

// places is the law. Keep it in the order of the floors, and no place or arrow in
// advance.
var places = []place{
	{name: "fault", floor: words},
	{name: "flovyn", floor: words, also: []string{"fault"}},
	{name: "caller", floor: words, also: []string{"fault", "flovyn"}},
	// The generated protocol; who may import it is said below.
	{name: "gen/*", floor: words, also: []string{"gen/*"}},

	{name: "history", floor: rules},
	// A model of the engine to compare it with; it knows nobody, not even history.
	{name: "oracle", floor: rules},
	{name: "fql", floor: rules},
	{name: "cron", floor: rules},

	{name: "telemetry", floor: world},
	{name: "trace", floor: world},
	{name: "trace/tracetest", floor: world},
	{name: "metrics", floor: world},
	{name: "lookup", floor: world},
	{name: "loop", floor: world},
	{name: "schema", floor: world},
	{name: "wake", floor: world},
	{name: "quota", floor: world},
	{name: "pgserver", floor: world},
	// The migrations, embedded; the SQL itself is text.
	{name: "sql", floor: world},
	{name: "postgres/internal/pgq", floor: world},
	{name: "postgres", floor: world, also: []string{"postgres/internal/pgq", "sql"}},
	// What breaks connections, for tests.
	{name: "pgfault", floor: world},
	{name: "pgtest", floor: world, also: []string{"postgres", "pgserver"}},

	{name: "live", floor: world},
	{name: "live/*", floor: world, also: []string{"live"}},

	{name: "engine", floor: deeds},
	{name: "task", floor: deeds, also: []string{"engine"}},
	{name: "worker", floor: deeds, also: []string{"engine"}},
	{name: "schedule", floor: deeds, also: []string{"task", "engine"}},
	// The loops that keep the promises of the others.
	{name: "upkeep", floor: deeds, also: []string{"schedule", "worker", "task", "engine"}},
	{name: "search", floor: deeds},
	{name: "metadata", floor: deeds},
	{name: "org", floor: deeds},
	{name: "audit", floor: deeds},
	{name: "token", floor: deeds},

	{name: "authn", floor: doors},
	{name: "authn/*", floor: doors, also: []string{"authn"}},
	{name: "authz", floor: doors},
	{name: "rest", floor: doors},
	{name: "openapi", floor: doors, also: []string{"rest"}},
	{name: "openapi/openapitest", floor: doors},
	{name: "rpc", floor: doors, also: []string{"authn", "authz", "rest"}},

	{name: "config", floor: assembly},
	{name: "server", floor: assembly, also: []string{"config"}},
	{name: "doctor", floor: assembly, also: []string{"config"}},
	{name: "server/servertest", floor: assembly, also: []string{"config", "server"}},
	// An identity provider to test and to develop with.
	{name: "standin", floor: assembly},
	{name: "devserver", floor: assembly, also: []string{"config", "server", "standin"}},

	// The command `dev` of both mains; with --demo it starts the example workflow.
	{name: "devcommand", floor: mains, also: []string{"demo"}},
	{name: "cmd/flovyn-server", floor: mains, also: []string{"devcommand"}},
	// The CLI's main is a main of the tower, but for `dev`: below it there is no
	// other way to the server than the wire.
	{name: "cmd/flovyn", floor: tower, also: []string{"cli", "devcommand"}},

	{name: "client", floor: tower},
	{name: "client/flow", floor: tower, also: []string{"client"}},
	{name: "examples/*", floor: tower, also: []string{"examples/*", "client", "client/flow"}},
	{name: "cli", floor: tower, also: []string{"client", "cli/*"}},
	{name: "cli/profile", floor: tower, also: []string{"client"}},
	{name: "cli/login", floor: tower, also: []string{"client"}},
	{name: "cli/output", floor: tower},
	{name: "cli/timeline", floor: tower, also: []string{"client", "cli/output"}},
	{name: "cli/dashboard", floor: tower, also: []string{"client", "cli/output", "cli/timeline"}},
	{name: "demo", floor: tower, also: []string{"client", "client/flow", "examples/*"}},
	// It starts a durable database and servers, and talks to them over the wire.
	{name: "bench", floor: tower, also: []string{"pgserver"}},
	{name: "cmd/flovyn-bench", floor: tower, also: []string{"bench"}},

	// These hold nothing but tests.
	{name: "archtest", floor: words},
	{name: "wirecontract", floor: words},
	{name: "deploy", floor: words},
	{name: "docs", floor: words},
	{name: "browser", floor: words},
}

// A monopoly limits who may import something: a library that would otherwise
// spread, or a package of ours.
type monopoly struct {
	// of is an import path or the beginning of one.
	of string
	// by are the packages that may import it. Without any, one package may,
	// whichever it is.
	by     []string
	reason string
}

// The importers of the wire: who knows messages, and who knows transports.
var wire = []string{"gen/*", "rpc", "rest", "openapi", "client", "client/flow", "bench", "cli", "cli/*", "examples/hello"}

var monopolies = []monopoly{
	{
		// Tests are no part of the tree that is looked at.
		of: "github.com/flovyn/flovyn-server/internal/pgfault", by: []string{"pgfault"},
		reason: "faults are for tests alone",
	},
	{
		of: "github.com/flovyn/flovyn-server/gen", by: wire,
		reason: "below the doors there are no messages, only the nouns of internal/flovyn",
	},
	{
		of: "google.golang.org/protobuf", by: append([]string{"server"}, wire...),
		reason: "below the doors there are no messages, only the nouns of internal/flovyn",
	},
	{
		of: "connectrpc.com", by: append([]string{"server"}, wire...),
		reason: "only the doors and the assembly know how calls travel",
	},
	{
		of: "google.golang.org/grpc", by: append([]string{"server", "trace/tracetest"}, wire...),
		reason: "only the doors and the assembly know how calls travel",
	},
	{
		of: "github.com/jackc/pgx", by: []string{"postgres", "postgres/internal/pgq", "pgserver", "pgtest", "bench"},
		reason: "rows and SQL errors do not leave the storage packages",
	},
	{
		of: "database/sql", by: []string{"postgres"},
		reason: "pgx is the driver; only the migrations need the standard interface",
	},
	{
		of: "github.com/pressly/goose", by: []string{"postgres"},
		reason: "the schema has one keeper",
	},
	{
		of: "github.com/fergusstrange/embedded-postgres", by: []string{"pgserver"},
		reason: "a database server is started in one place",
	},
	{
		of: "github.com/cedar-policy", by: []string{"authz"},
		reason: "policy is decided in one place, which denies when it is unsure",
	},
	{
		of:     "github.com/lestrrat-go/jwx",
		reason: "one package verifies tokens, so that there is one set of checks",
	},
	{
		of: "github.com/prometheus", by: []string{"metrics"},
		reason: "one package decides what is measured and how many series there are",
	},
	{
		of: "go.opentelemetry.io", by: []string{"trace", "trace/tracetest", "telemetry"},
		reason: "one package makes spans; logs name the one they belong to",
	},
	{
		of: "github.com/spf13", by: []string{"cmd/flovyn", "cmd/flovyn-server", "cmd/flovyn-bench", "cli", "devcommand"},
		reason: "flags are for programs; the rest takes a configuration struct",
	},
	{
		of: "github.com/swaggest/swgui", by: []string{"openapi"},
		reason: "one page shows the API",
	},
	{
		of: "github.com/pelletier/go-toml", by: []string{"config", "cli/profile"},
		reason: "configuration is read in one place per program",
	},
	{
		of: "testing", by: []string{"fault", "pgfault", "pgtest", "server/servertest", "trace/tracetest", "openapi/openapitest"},
		reason: "production code does not test; fault.Bug alone asks whether it runs in a test",
	},
}

// A purity keeps packages of a floor away from the world.
type purity struct {
	floors []floor
	// of is an import path or the beginning of one.
	of string
	// but are the packages for which it does not hold.
	but    []string
	reason string
}

var purities = []purity{
	{
		floors: []floor{words, rules}, of: "context", but: []string{"caller", "fault", "gen/*"},
		reason: "rules and nouns decide at once; caller rides on a context, and fault recognizes its errors",
	},
	{
		floors: []floor{words, rules}, of: "net", but: []string{"gen/*"},
		reason: "rules and nouns know no network",
	},
	{
		floors: []floor{words, rules}, of: "os",
		reason: "rules and nouns know no machine",
	},
	{
		floors: []floor{words, rules}, of: "sync", but: []string{"gen/*"},
		reason: "rules and nouns are values; nothing in them is shared",
	},
	{
		floors: []floor{words, rules}, of: "log",
		reason: "rules and nouns return what happened, they do not tell",
	},
	{
		floors: []floor{words, rules}, of: "math/rand",
		reason: "the same values in give the same values out",
	},
	{
		floors: []floor{words, rules, world, deeds, assembly}, of: "net/http/httptest",
		reason: "for tests only",
	},
}
