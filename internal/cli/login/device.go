package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/flovyn/flovyn-server/internal/client"
	"github.com/flovyn/flovyn-server/internal/fault"
)

// clientID is the name under which the app knows the CLI.
const clientID = "flovyn-cli"

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

const (
	// defaultInterval is RFC 8628's, for an app that names none.
	defaultInterval = 5 * time.Second
	// slowDown is added for good whenever the app asks to slow down.
	slowDown = 5 * time.Second
	// maxWait bounds how long a code can be waited for, whatever the app says.
	maxWait = time.Hour
	// maxPause bounds the pause after calls that did not get through.
	maxPause = time.Minute
)

// Device is a sign-in that a person has to approve.
type Device struct {
	// VerificationURI is the page on which to enter UserCode.
	VerificationURI string
	// Complete is the same page with the code filled in; it may be empty.
	Complete string
	UserCode string

	code     string
	interval time.Duration
	expires  time.Duration
}

// Begin asks for a code.
func (a *App) Begin(ctx context.Context) (*Device, error) {
	var answer struct {
		DeviceCode              string `json:"device_code"`
		UserCode                string `json:"user_code"`
		VerificationURI         string `json:"verification_uri"`
		VerificationURIComplete string `json:"verification_uri_complete"`
		ExpiresIn               int    `json:"expires_in"`
		Interval                *int   `json:"interval"`
	}
	request := map[string]string{"client_id": clientID, "scope": "openid"}
	err := a.call(ctx, http.MethodPost, "/device/code", "", request, &answer)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound {
		a.base = "/auth"
		err = a.call(ctx, http.MethodPost, "/device/code", "", request, &answer)
	}
	if err != nil {
		return nil, a.explain(err, "asking for a code")
	}
	if answer.DeviceCode == "" || answer.UserCode == "" || !client.Confidential(answer.VerificationURI) {
		return nil, fault.New(fault.Unavailable, "%s does not answer as a Flovyn App does: it gave no code, or no page to enter it on", a.url)
	}
	d := &Device{
		VerificationURI: answer.VerificationURI, Complete: answer.VerificationURIComplete, UserCode: grouped(answer.UserCode),
		code: answer.DeviceCode, interval: defaultInterval, expires: maxWait,
	}
	if answer.Interval != nil {
		d.interval = max(time.Second, time.Duration(*answer.Interval)*time.Second)
	}
	if answer.ExpiresIn > 0 {
		d.expires = min(maxWait, time.Duration(answer.ExpiresIn)*time.Second)
	}
	if !client.Confidential(d.Complete) {
		d.Complete = ""
	}
	return d, nil
}

// grouped writes a code of eight characters as people read one out: ABCD-1234.
func grouped(code string) string {
	if len(code) != 8 {
		return code
	}
	return code[:4] + "-" + code[4:]
}

// Await returns the session once the person has approved.
func (a *App) Await(ctx context.Context, d *Device) (session string, err error) {
	expired := time.NewTimer(d.expires)
	defer expired.Stop()
	interval, pause := d.interval, time.Duration(0)
	for {
		wait := time.NewTimer(interval + pause)
		select {
		case <-wait.C:
		case <-expired.C:
			wait.Stop()
			return "", errExpired()
		case <-ctx.Done():
			wait.Stop()
			return "", ctx.Err()
		}
		var answer struct {
			AccessToken string `json:"access_token"`
		}
		err := a.call(ctx, http.MethodPost, "/device/token", "",
			map[string]string{"grant_type": deviceGrant, "device_code": d.code, "client_id": clientID}, &answer)
		refused, ok := errors.AsType[*refusal](err)
		switch {
		case err == nil && answer.AccessToken != "":
			return answer.AccessToken, nil
		case err == nil:
			return "", fault.New(fault.Unavailable, "%s approved, and gave no session", a.url)
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !ok && fault.Is(err, fault.Unavailable), ok && refused.status >= http.StatusInternalServerError:
			// It did not get through; the person may decide meanwhile.
			pause = min(maxPause, max(interval, 2*pause))
			continue
		case !ok:
			return "", err
		}
		pause = 0
		switch refused.Code {
		case "authorization_pending":
		case "slow_down":
			interval += slowDown
		case "access_denied":
			return "", fault.New(fault.Denied, "the login was denied in the browser")
		case "expired_token":
			return "", errExpired()
		default:
			return "", fault.New(fault.Unauthenticated, "the login did not succeed: %v", refused)
		}
	}
}

func errExpired() error {
	return fault.New(fault.Unauthenticated, "the code has expired before anybody approved it")
}
