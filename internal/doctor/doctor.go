// Package doctor looks at what a server depends on, before it is started or while
// something is wrong: the database and its settings, the schema, the clocks, and
// whoever is asked about credentials. It changes nothing.
//
// Everything it finds comes with what to do about it. A finding is Bad when the
// server cannot do its work, or would lose what it acknowledged.
package doctor

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flovyn/flovyn-server/internal/authn/apikey"
	"github.com/flovyn/flovyn-server/internal/authn/jwt"
	"github.com/flovyn/flovyn-server/internal/config"
	"github.com/flovyn/flovyn-server/internal/postgres"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	Good  Level = "ok"
	Doubt Level = "warn"
	Bad   Level = "FAIL"
)

// Finding is what was seen, and what to do about it.
type Finding struct {
	Level Level
	// Subject is what was looked at, What what was seen.
	Subject, What string
	// Fix says what to do; empty when all is well.
	Fix string
}

const (
	// patience bounds each look at something elsewhere.
	patience = 10 * time.Second
	// largestSkew is what signed tokens tolerate; clocks that differ by more have
	// them refused.
	largestSkew = time.Minute
	// doubtfulSkew is what synchronized clocks do not reach.
	doubtfulSkew = 2 * time.Second
	// frozenSoon and frozenNow are ages of the oldest row, in transactions. At 2
	// billion PostgreSQL stops.
	frozenSoon, frozenNow = 1_000_000_000, 1_800_000_000
	// longTransaction keeps vacuum from cleaning up.
	longTransaction = 10 * time.Minute
	// rollout is how many servers are connected at a time while they are replaced.
	rollout = 2
)

// Examine looks at everything that a configuration names.
func Examine(ctx context.Context, cfg *config.Config) []Finding {
	d := &doctor{cfg: cfg}
	d.configuration()
	d.database(ctx)
	d.identities(ctx)
	d.collector(ctx)
	return d.findings
}

// Healthy reports whether nothing is bad.
func Healthy(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Level == Bad })
}

// Print writes findings for people.
func Print(w io.Writer, findings []Finding) error {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Subject))
	}
	var text strings.Builder
	bad, doubtful := 0, 0
	for _, f := range findings {
		fmt.Fprintf(&text, "%-4s  %-*s  %s\n", f.Level, width, f.Subject, f.What)
		if f.Fix != "" {
			fmt.Fprintf(&text, "      %-*s  -> %s\n", width, "", f.Fix)
		}
		switch f.Level {
		case Bad:
			bad++
		case Doubt:
			doubtful++
		case Good:
		}
	}
	fmt.Fprintf(&text, "\n%d checks: %d failed, %d warnings\n", len(findings), bad, doubtful)
	_, err := io.WriteString(w, text.String())
	return err
}

type doctor struct {
	cfg      *config.Config
	findings []Finding
}

func (d *doctor) add(level Level, subject, fix, what string, args ...any) {
	d.findings = append(d.findings, Finding{level, subject, fmt.Sprintf(what, args...), fix})
}

// check adds a finding that is good, or otherwise is of the level and comes with
// what to do.
func (d *doctor) check(ok bool, level Level, subject, fix, what string, args ...any) {
	if ok {
		level, fix = Good, ""
	}
	d.add(level, subject, fix, what, args...)
}

func (d *doctor) configuration() {
	if err := d.cfg.Buildable(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			d.add(Bad, "configuration", "correct it; the server does not start with it", "%s", line)
		}
	} else {
		d.add(Good, "configuration", "", "can be served")
	}
	for _, warning := range d.cfg.Warnings() {
		d.add(Doubt, "configuration", "make sure that it is meant", "%s", warning)
	}
}

func (d *doctor) database(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e, err := postgres.Examine(ctx, string(d.cfg.Database.URL))
	if err != nil {
		d.add(Bad, "database", "check database.url or DATABASE_URL, that PostgreSQL runs there, and that this machine may connect to it", "%s", err)
		return
	}
	d.check(e.VersionNumber/10_000 >= postgres.MinimumVersion, Bad, "database version",
		fmt.Sprintf("upgrade PostgreSQL to %d or newer", postgres.MinimumVersion), "PostgreSQL %s", e.Version)
	d.check(!e.Standby, Bad, "database role", "connect to the primary", "%s", map[bool]string{true: "a standby, which cannot be written to", false: "primary"}[e.Standby])
	d.check(e.Encoding == "UTF8", Bad, "encoding", "create the database with ENCODING 'UTF8'", "%s", e.Encoding)
	d.settings(e)
	d.connections(e)
	d.schema(e)
	d.upkeep(e)
	d.clocks(e)
}

func (d *doctor) settings(e *postgres.Examination) {
	for _, s := range []struct{ name, fix string }{
		{"fsync", "set fsync = on: a crash of the machine can destroy the database"},
		{"full_page_writes", "set full_page_writes = on: a crash of the machine can destroy the database"},
		{"autovacuum", "set autovacuum = on: without it tables grow and slow down"},
	} {
		d.check(e.Settings[s.name] == "on", Bad, s.name, s.fix, "%s", e.Settings[s.name])
	}
	d.check(e.Settings["synchronous_commit"] != "off", Bad, "synchronous_commit",
		"set synchronous_commit = on, for this role too: with off a crash loses what was acknowledged", "%s", e.Settings["synchronous_commit"])
	d.check(e.Settings["default_transaction_read_only"] == "off", Bad, "read-only transactions",
		"set default_transaction_read_only = off for this role", "%s", e.Settings["default_transaction_read_only"])
	d.check(e.Settings["statement_timeout"] == "0" || atLeast(e.Settings["statement_timeout"], 30*time.Second), Doubt, "statement_timeout",
		"raise it to 30s for this role, or retention and migrations may never finish", "%s", e.Settings["statement_timeout"])
}

// atLeast reads a setting of PostgreSQL such as 500ms, 10s, 5min.
func atLeast(setting string, least time.Duration) bool {
	for unit, length := range map[string]time.Duration{"ms": time.Millisecond, "min": time.Minute, "s": time.Second, "h": time.Hour, "d": 24 * time.Hour} {
		if n, err := strconv.Atoi(strings.TrimSuffix(setting, unit)); err == nil && strings.HasSuffix(setting, unit) {
			return time.Duration(n)*length >= least
		}
	}
	return false
}

func (d *doctor) connections(e *postgres.Examination) {
	most, _ := strconv.Atoi(e.Settings["max_connections"])
	reserved, _ := strconv.Atoi(e.Settings["superuser_reserved_connections"])
	free, each := most-reserved, d.cfg.Database.MaxConnections+1 // one listens
	what := fmt.Sprintf("%d open of %d; this server uses up to %d", e.Connections, free, each)
	const fix = "raise max_connections of PostgreSQL, or lower database.max_connections"
	switch {
	case each > free:
		d.add(Bad, "connections", fix, "%s", what)
	case rollout*each > free:
		d.add(Doubt, "connections", fix+": while a server is replaced, two are connected", "%s", what)
	default:
		d.add(Good, "connections", "", "%s", what)
	}
}

func (d *doctor) schema(e *postgres.Examination) {
	what := fmt.Sprintf("migration %d of %d", e.Applied, e.Known)
	switch {
	case e.Applied == 0:
		d.add(Doubt, "schema", "run flovyn-server migrate, or start the server, which does it too", "not there yet")
		return
	case e.Applied < e.Known:
		d.add(Doubt, "schema", "run flovyn-server migrate, or start the server, which does it too", "%s", what)
	case e.Applied > e.Known:
		d.add(Doubt, "schema", "a newer version of the server has migrated it: run that one", "%s", what)
	default:
		d.add(Good, "schema", "", "%s", what)
	}
	d.check(e.MissingMonths == 0, Doubt, "history partitions", "they are made by a server that runs; if one does, look for errors of its part \"history partitions\"",
		"%d of this month and the next are missing", e.MissingMonths)
	d.check(e.Stray == 0, Doubt, "stray events", "events in the default partition come from a time when partitions were missing; retention leaves them there",
		"%d events are in no month's partition", e.Stray)
}

func (d *doctor) upkeep(e *postgres.Examination) {
	d.check(len(e.InvalidIndexes) == 0, Bad, "indexes", "REINDEX INDEX CONCURRENTLY "+strings.Join(e.InvalidIndexes, ", "),
		"%d are invalid", len(e.InvalidIndexes))
	d.check(len(e.Bloated) == 0, Doubt, "tables", "VACUUM (ANALYZE) "+strings.Join(e.Bloated, ", ")+"; find out what keeps autovacuum from it",
		"%d have more dead rows than living ones", len(e.Bloated))
	d.check(e.LongestTransaction < longTransaction, Doubt, "transactions",
		"end what holds it open (pg_stat_activity): vacuum cannot clean up behind it", "the oldest has lasted %s", e.LongestTransaction.Round(time.Second))
	level := Doubt
	if e.XactAge >= frozenNow {
		level = Bad
	}
	d.check(e.XactAge < frozenSoon, level, "wraparound", "VACUUM (FREEZE) the database; find out what keeps autovacuum from it",
		"the oldest row is %d transactions old", e.XactAge)
}

func (d *doctor) clocks(e *postgres.Examination) {
	off := max(e.Skew.Abs()-e.Doubt, 0)
	level := Doubt
	if off > largestSkew {
		level = Bad
	}
	d.check(off <= doubtfulSkew, level, "clocks", "synchronize both machines (chrony, systemd-timesyncd): tokens and timers depend on it",
		"the database's is %s apart from this machine's", off.Round(time.Millisecond))
}

// identities asks whoever judges credentials, if a chain asks them.
func (d *doctor) identities(ctx context.Context) {
	a := d.cfg.Auth
	for _, keys := range []struct {
		name     string
		settings config.JWT
	}{{jwt.BetterAuthName, a.BetterAuthJWT}, {jwt.Name, a.JWT}} {
		if !d.cfg.Asks(keys.name) || keys.settings.SkipVerification {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		n, err := jwt.Probe(ctx, keys.settings.JWKSURI)
		cancel()
		if err != nil {
			d.add(Bad, "JWKS of "+keys.name, "try: curl "+keys.settings.JWKSURI+
				" from this machine; check jwks_uri, the certificate, and that outgoing connections are allowed", "%s", err)
			continue
		}
		d.add(Good, "JWKS of "+keys.name, "", "%d keys", n)
	}
	if !d.cfg.Asks(apikey.Name) {
		return
	}
	if err := apikey.Probe(ctx, a.BetterAuth.ValidationURL, a.BetterAuth.Timeout); err != nil {
		d.add(Bad, "validation of API keys", "check auth.better_auth.validation_url, and that this machine can reach the Flovyn App there", "%s", err)
		return
	}
	d.add(Good, "validation of API keys", "", "answers")
}

// collector looks whether somebody listens where traces are sent.
func (d *doctor) collector(ctx context.Context) {
	if !d.cfg.OTel.Enabled {
		return
	}
	u, err := url.Parse(d.cfg.OTel.Endpoint)
	if err != nil {
		return // the check of the configuration has said so
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	dialer := &net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		d.add(Doubt, "collector of traces", "check otel.otlp_endpoint; traces are lost meanwhile, nothing else", "%s", err)
		return
	}
	_ = conn.Close()
	d.add(Good, "collector of traces", "", "listens")
}
