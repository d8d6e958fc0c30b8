// Package pgfault stands between a server under test and PostgreSQL, and breaks
// what a test wants broken: a connection before or after a statement, at a rate;
// a statement that the database refuses; a delay. Only tests import it.
//
//	proxy := pgfault.New(t, pgtest.New(t), seed)
//	store := open(t, proxy.DSN())
//	proxy.Set(pgfault.Rule{Statement: "COMMIT", Fault: pgfault.CutAfter, Rate: 0.05})
//
// # How
//
// The proxy speaks the PostgreSQL protocol just as far as it must. It copies
// messages, and looks at three of a client: Parse, which gives a statement its
// text, Bind, which is about to execute it, and Query, which does both. A
// statement goes by the name of its query in sql/queries (sqlc leaves it in the
// text), and others, such as COMMIT, by their text.
//
// A refusal is the database's own: the proxy has it execute a statement that does
// not exist, so that its transaction is aborted as by a real failure, and puts
// the wanted code into its error.
package pgfault

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is what happens to a statement.
type Fault int

// The faults.
const (
	// CutBefore loses the connection before the database sees the statement.
	CutBefore Fault = iota + 1
	// CutAfter loses the connection after the database has executed everything
	// that was sent together with the statement, and before its answers.
	CutAfter
	// CutBlind loses the connection while nobody knows how far the database is.
	CutBlind
	// Refuse answers with the rule's SQLSTATE.
	Refuse
	// Delay waits before the database gets the statement.
	Delay
)

// SerializationFailure is the SQLSTATE of a transaction that may be run again.
const SerializationFailure = "40001"

// Rule says what happens to which statements.
type Rule struct {
	// Statement is the name of a query, or the text of a statement without one.
	// Empty means every statement.
	Statement string
	Fault     Fault
	// Rate is the part of these statements to which it happens. Zero means all.
	Rate float64
	// Times bounds how often it happens. Zero does not.
	Times int
	// State is the SQLSTATE of a refusal. Default SerializationFailure.
	State string
	// Delay is how long a delay is.
	Delay time.Duration
}

// Proxy is a way to a database on which things happen. Methods are safe for
// concurrent use.
type Proxy struct {
	dsn      string
	upstream [2]string // network and address
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	rules  []Rule
	random *rand.Rand
	hits   map[string]int
	links  map[*link]struct{}
	down   bool
	closed bool
}

// New makes a proxy before the database that dsn names. It ends with the test.
func New(t testing.TB, dsn string, seed uint64) *Proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("pgfault: %v", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("pgfault: %v", err)
	}
	p := &Proxy{
		upstream: addressOf(u), listener: listener, links: map[*link]struct{}{}, hits: map[string]int{},
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // repeatable, not secret
	}
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	u.Host, u.RawQuery = listener.Addr().String(), query.Encode()
	p.dsn = u.String()
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// addressOf returns where a database listens: a socket or a port.
func addressOf(u *url.URL) [2]string {
	host, port := u.Hostname(), u.Port()
	if h := u.Query().Get("host"); h != "" {
		host = h
	}
	if p := u.Query().Get("port"); p != "" {
		port = p
	}
	if port == "" {
		port = "5432"
	}
	if strings.HasPrefix(host, "/") {
		return [2]string{"unix", host + "/.s.PGSQL." + port}
	}
	return [2]string{"tcp", net.JoinHostPort(host, port)}
}

// DSN names the database, by way of the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Set replaces the rules. The first one that matches a statement decides.
func (p *Proxy) Set(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append([]Rule(nil), rules...)
}

// Hits returns how often something happened to a statement.
func (p *Proxy) Hits(statement string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits[statement]
}

// Cut loses all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// Down loses all connections and lets nobody connect until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	p.cut()
}

// Up lets clients connect again.
func (p *Proxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

func (p *Proxy) cut() {
	for l := range p.links {
		l.cut()
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	p.cut()
	p.mu.Unlock()
	p.done.Wait()
}

// happens decides what happens to a statement.
func (p *Proxy) happens(statement string) (Rule, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, rule := range p.rules {
		if rule.Statement != "" && rule.Statement != statement {
			continue
		}
		if rule.Times < 0 || rule.Rate > 0 && p.random.Float64() >= rule.Rate {
			return Rule{}, false
		}
		if rule.Times > 0 {
			if p.rules[i].Times--; p.rules[i].Times == 0 {
				p.rules[i].Times = -1
			}
		}
		p.hits[statement]++
		return rule, true
	}
	return Rule{}, false
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		refused := p.down || p.closed
		p.mu.Unlock()
		if refused {
			_ = client.Close()
			continue
		}
		p.done.Go(func() { p.serve(client) })
	}
}

// dialTimeout bounds reaching the database.
const dialTimeout = 10 * time.Second

func (p *Proxy) serve(client net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout) //nolint:forbidigo // a connection has no caller
	defer cancel()
	server, err := (&net.Dialer{}).DialContext(ctx, p.upstream[0], p.upstream[1])
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{proxy: p, client: client, server: server, texts: map[string]string{}, gone: make(chan struct{})}
	p.mu.Lock()
	if p.closed || p.down {
		l.cut()
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { defer l.cut(); l.fromClient() })
	both.Go(func() { defer l.cut(); l.fromServer() })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// link is one connection of a client.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	once           sync.Once
	gone           chan struct{}
	// texts are the names of the prepared statements' queries.
	texts map[string]string

	mu sync.Mutex
	// asked counts the messages of the client that ask for an answer, answered
	// the answers. Once answered comes to silentFrom, nothing more is passed on,
	// and after the next answer the connection is lost.
	asked, answered, silentFrom int
	silent                      bool
	refusals                    []string // SQLSTATEs of refusals under way
}

func (l *link) cut() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// The beginnings of a connection that are no ordinary message.
const (
	sslRequest = 80877103
	gssRequest = 80877104
)

// fromClient passes on what the client says.
func (l *link) fromClient() {
	for { // the start-up, which has no type
		var head [8]byte
		if _, err := io.ReadFull(l.client, head[:]); err != nil {
			return
		}
		code := binary.BigEndian.Uint32(head[4:])
		if code == sslRequest || code == gssRequest {
			if _, err := l.client.Write([]byte{'N'}); err != nil {
				return
			}
			continue
		}
		if _, err := l.server.Write(head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(l.server, l.client, int64(binary.BigEndian.Uint32(head[:]))-8); err != nil {
			return
		}
		break
	}
	for {
		m, err := readMessage(l.client)
		if err != nil {
			return
		}
		blind, ok := l.meet(&m)
		if !ok {
			return
		}
		if _, err := l.server.Write(m.bytes()); err != nil || blind {
			return
		}
	}
}

// meet lets happen to a message what is to happen. blind tells to cut after it,
// ok that it is to be passed on.
func (l *link) meet(m *message) (blind, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m.kind {
	case 'P':
		name, rest := cString(m.body)
		text, _ := cString(rest)
		l.texts[name] = nameOf(text)
	case 'B':
		portal, rest := cString(m.body)
		name, rest := cString(rest)
		rule, hit := l.proxy.happens(l.texts[name])
		if !hit {
			return false, true
		}
		if rule.Fault == Refuse {
			if rule.State == "" {
				rule.State = SerializationFailure
			}
			l.refusals = append(l.refusals, rule.State)
			m.body = append([]byte(portal+"\x00"+refused+"\x00"), rest...)
			return false, true
		}
		return false, l.strike(rule)
	case 'Q':
		text, _ := cString(m.body)
		if rule, hit := l.proxy.happens(nameOf(text)); hit && rule.Fault != Refuse && !l.strike(rule) {
			return false, false
		}
		l.asked++
		return l.blind(), true
	case 'S':
		l.asked++
		return l.blind(), true
	}
	return false, true
}

const blindly = -1

// blind reports whether the connection is to be lost now.
func (l *link) blind() bool { return l.silentFrom == blindly }

// strike carries out a rule that needs no change of the message, and reports
// whether the message is to be passed on.
func (l *link) strike(rule Rule) bool {
	switch rule.Fault {
	case CutBefore:
		return false
	case CutAfter:
		l.silent, l.silentFrom = true, l.asked
	case CutBlind:
		l.silentFrom = blindly
	case Delay:
		timer := time.NewTimer(rule.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.gone:
			return false
		}
	case Refuse: // changes the message
	}
	return true
}

// fromServer passes on what the database says.
func (l *link) fromServer() {
	for {
		m, err := readMessage(l.server)
		if err != nil {
			return
		}
		pass, end := l.hear(&m)
		if pass {
			if _, err := l.client.Write(m.bytes()); err != nil {
				return
			}
		}
		if end {
			return
		}
	}
}

// hear says whether the client hears a message, and whether it was the last one.
func (l *link) hear(m *message) (pass, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent && l.answered > l.silentFrom { // the start-up counts as an answer
		return false, m.kind == 'Z'
	}
	switch m.kind {
	case 'Z':
		l.answered++
	case 'E':
		if len(l.refusals) > 0 && strings.Contains(string(m.body), refused) {
			state := l.refusals[0]
			l.refusals = l.refusals[1:]
			m.body = []byte("SERROR\x00VERROR\x00C" + state + "\x00Mrefused on purpose\x00\x00")
		}
	}
	return true, false
}

// refused is the name of the statement that does not exist.
const refused = "pgfault_refused"

var queryName = regexp.MustCompile(`^-- name: (\w+) `)

// nameOf is the name under which a statement is known to rules.
func nameOf(text string) string {
	if m := queryName.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return strings.TrimSpace(text)
}

// message is one message of the protocol.
type message struct {
	kind byte
	body []byte
}

// maxMessage bounds a message, so that what is no message is noticed.
const maxMessage = 256 << 20

func readMessage(from io.Reader) (message, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return message{}, err
	}
	n := int(binary.BigEndian.Uint32(head[1:])) - 4
	if n < 0 || n > maxMessage {
		return message{}, io.ErrUnexpectedEOF
	}
	m := message{kind: head[0], body: make([]byte, n)}
	_, err := io.ReadFull(from, m.body)
	return m, err
}

func (m message) bytes() []byte {
	out := make([]byte, 5, 5+len(m.body))
	out[0] = m.kind
	binary.BigEndian.PutUint32(out[1:], uint32(len(m.body)+4)) //nolint:gosec // bounded by maxMessage
	return append(out, m.body...)
}

func cString(b []byte) (text string, rest []byte) {
	if i := strings.IndexByte(string(b), 0); i >= 0 {
		return string(b[:i]), b[i+1:]
	}
	return string(b), nil
}
