package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	connect "connectrpc.com/connect/v2"
	"github.com/spf13/cobra"

	apiv1 "github.com/flovyn/flovyn-server/gen/flovyn/api/v1"
	"github.com/flovyn/flovyn-server/internal/cli/output"
	"github.com/flovyn/flovyn-server/internal/client"
)

const (
	// defaultGRPCPort is the server's, for workers.
	defaultGRPCPort = "9090"
	// maxSkew is how far clocks may be apart before tokens and timers suffer.
	maxSkew = 30 * time.Second
	// checkPatience bounds one check.
	checkPatience = 10 * time.Second
)

// A finding is what one check found.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning or failed
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
	code   int
}

// examination is one run of doctor.
type examination struct {
	*invocation
	grpc     string
	findings []finding
}

func (i *invocation) doctorCommand() *cobra.Command {
	e := &examination{invocation: i}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check server, credentials, clock, ports and versions, and say what to do", Args: exact(),
		Long: "Doctor exits with 4 when the credentials are not accepted, with 1 when something else is\nwrong, and with 0 otherwise.",
		RunE: ran(func(cmd *cobra.Command, _ []string) error {
			e.examine(cmd.Context())
			return e.tell()
		}),
	}
	cmd.Flags().StringVar(&e.grpc, "grpc-server", "",
		"address of the gRPC port (FLOVYN_GRPC_SERVER_URL; default: the server's, with port "+defaultGRPCPort+")")
	return cmd
}

func (e *examination) found(check, detail string) {
	e.findings = append(e.findings, finding{Check: check, Status: "ok", Detail: detail})
}

func (e *examination) warn(check, detail, advice string) {
	e.findings = append(e.findings, finding{Check: check, Status: "warning", Detail: detail, Advice: advice})
}

func (e *examination) fail(check string, code int, detail, advice string) {
	e.findings = append(e.findings, finding{Check: check, Status: "failed", Detail: detail, Advice: advice, code: code})
}

func (e *examination) examine(ctx context.Context) {
	settings, err := e.settings()
	if err != nil {
		text, hint := e.explain(err)
		e.fail("profile", exitCode(executed{err}), text, hint)
		return
	}
	e.found("profile", settings.Profile.Name+", server from "+settings.ServerSource)
	version := e.checkServer(ctx, settings.Server)
	if version == "" {
		return // nothing else can be right
	}
	e.checkVersions(version)
	e.checkCredentials(ctx)
	e.checkGRPC(ctx, settings.Server)
}

// checkServer asks for the server's health and its time, and returns its version.
func (e *examination) checkServer(ctx context.Context, server string) (version string) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/_/health", http.NoBody)
	if err != nil {
		e.fail("server", exitUsage, err.Error(), "")
		return ""
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	asked := e.now()
	response, err := c.Do(r)
	if err != nil {
		text, hint := e.explainTransport(err)
		e.fail("server", exitFailure, cmp.Or(text, server+": "+innermost(err)), hint)
		return ""
	}
	defer response.Body.Close()
	var health struct{ Status, Version string }
	text, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err := json.Unmarshal(text, &health); err != nil || health.Status == "" {
		e.fail("server", exitFailure, fmt.Sprintf("%s answers %s, and is no Flovyn server, or hides its health", server, response.Status),
			"Is the address that of the server's HTTP port? Does a proxy stand before it?")
		return ""
	}
	if health.Status != "UP" {
		e.fail("server", exitFailure, fmt.Sprintf("%s says of itself that it is %s", server, health.Status), "Look into the server's log.")
		return ""
	}
	e.found("server", fmt.Sprintf("%s is up, version %s, answered in %s", server, cmp.Or(health.Version, "unknown"),
		output.Duration(e.now().Sub(asked))))
	e.checkClock(response.Header.Get("Date"), asked)
	return cmp.Or(health.Version, "unknown")
}

// checkClock compares this machine's clock with the server's, which is told to
// the second.
func (e *examination) checkClock(date string, asked time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		e.warn("clock", "the server does not tell its time", "")
		return
	}
	half := e.now().Sub(asked) / 2
	skew := asked.Add(half).Sub(theirs.Add(500 * time.Millisecond))
	if skew.Abs() > maxSkew {
		direction := "ahead of"
		if skew < 0 {
			direction = "behind"
		}
		e.warn("clock", fmt.Sprintf("this machine is %s %s the server", output.Duration(skew.Abs()), direction),
			"Set the clocks, best by NTP: tokens are refused before and after their time.")
		return
	}
	e.found("clock", "within "+output.Duration(maxSkew)+" of the server's")
}

func (e *examination) checkVersions(server string) {
	if minor(server) != minor(e.Version) {
		e.warn("versions", fmt.Sprintf("this is flovyn %s, and the server is %s", e.Version, server),
			"Use the flovyn that came with the server, if a command misbehaves.")
		return
	}
	e.found("versions", "flovyn "+e.Version+", server "+server)
}

// minor is a version up to its second number.
func minor(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func (e *examination) checkCredentials(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	s, _, done, err := e.connect()
	if err != nil {
		e.fail("credentials", exitCode(executed{err}), err.Error(), "")
		return
	}
	defer done()
	if s.settings.Token == "" {
		e.fail("credentials", exitDenied, "there are none", "Log in with: flovyn auth login   (or set FLOVYN_API_KEY)")
		return
	}
	me, err := s.Identity.WhoAmI(ctx, &apiv1.WhoAmIRequest{})
	if err != nil {
		text, hint := e.explain(err)
		e.fail("credentials", exitCode(executed{err}), text, hint)
		return
	}
	who := strings.TrimSpace(fmt.Sprintf("%s %s %s", me.GetPrincipalType(), cmp.Or(me.GetEmail(), me.GetPrincipalId()), me.GetRole()))
	e.found("credentials", fmt.Sprintf("%s of %s, by %s", who, cmp.Or(me.GetOrgSlug(), "no organization"), s.settings.Source))
	if org := s.settings.Org; org != "" && me.GetOrgSlug() != "" && org != me.GetOrgSlug() {
		e.fail("organization", exitNotFound, fmt.Sprintf("the credential is for %s, and %s is asked for", me.GetOrgSlug(), org),
			"Take away --org or FLOVYN_ORG, or log in with: flovyn auth login --org "+org)
	}
}

// checkGRPC proves that the port for workers speaks gRPC, and that no proxy on
// the way turns it into something else.
func (e *examination) checkGRPC(ctx context.Context, server string) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	address := cmp.Or(e.grpc, e.getenv("FLOVYN_GRPC_SERVER_URL"))
	if address == "" {
		u, _ := url.Parse(server) // it was parsed before
		address = u.Scheme + "://" + u.Hostname() + ":" + defaultGRPCPort
		if strings.Contains(u.Hostname(), ":") {
			address = u.Scheme + "://[" + u.Hostname() + "]:" + defaultGRPCPort
		}
	}
	c, err := client.New(client.Config{URL: address, Protocol: client.GRPC})
	if err != nil {
		e.fail("grpc", exitUsage, err.Error(), "")
		return
	}
	defer c.Close()
	if err := c.CheckHealth(ctx); err != nil {
		advice := "Workers need it. Is it the server's gRPC port, and does a proxy before it pass HTTP/2? Name another with --grpc-server."
		detail := innermost(err)
		if code := connect.CodeOf(err); code == connect.CodeUnavailable || code == connect.CodeDeadlineExceeded {
			detail = "no answer: " + detail
		}
		e.fail("grpc", exitFailure, address+" does not speak gRPC: "+detail, advice)
		return
	}
	e.found("grpc", address+" speaks gRPC")
}

// tell prints what was found, and returns an error when something is wrong.
func (e *examination) tell() error {
	p := e.printer()
	if p.ForPrograms() {
		text, err := json.MarshalIndent(e.findings, "", "  ")
		if err != nil {
			return err
		}
		if err := p.Value(text); err != nil {
			return err
		}
	} else {
		for _, f := range e.findings {
			p.Linef("%s  %-12s  %s", p.PaintAs(f.Status, fmt.Sprintf("%-7s", f.Status)), f.Check, output.Clean(f.Detail))
			if f.Advice != "" {
				p.Linef("%s%s", strings.Repeat(" ", 23), output.Clean(f.Advice))
			}
		}
	}
	worst := sick{}
	for _, f := range e.findings {
		if f.Status == "failed" {
			worst.count++
			worst.code = cmp.Or(worst.code, f.code)
		}
	}
	if worst.count > 0 {
		return worst
	}
	return nil
}

// sick is the end of an examination that found something wrong.
type sick struct{ count, code int }

func (s sick) Error() string {
	if s.count == 1 {
		return "one check failed"
	}
	return fmt.Sprintf("%d checks failed", s.count)
}

// ExitCode is that of the first check that failed.
func (s sick) ExitCode() int { return s.code }
