package apikey

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// maxAnswer bounds what is read of an answer. A real one has a few hundred bytes.
const maxAnswer = 64 << 10

// newClient makes a client that follows no redirect: the body of the request is
// a secret, meant for one receiver.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
			MaxConnsPerHost: maxQuestions, MaxIdleConnsPerHost: maxQuestions, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask asks the provider about a key, when it is its turn.
func (a *Authenticator) ask(ctx context.Context, key string) (verdict, error) {
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return verdict{}, fmt.Errorf("waiting to ask the validation service: %w", ctx.Err())
	}
	response, err := a.post(ctx, key)
	if err != nil {
		return verdict{}, err
	}
	defer response.Body.Close()
	if err := a.judgeStatus(ctx, response.StatusCode); err != nil {
		// Reading it to its end keeps the connection.
		_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
		return verdict{}, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("reading the validation service's answer: %w", err)
	case len(body) > maxAnswer:
		return verdict{}, fmt.Errorf("the validation service answered more than %d bytes", maxAnswer)
	}
	return a.read(key, body)
}

// post sends the question.
func (a *Authenticator) post(ctx context.Context, key string) (*http.Response, error) {
	question, err := json.Marshal(map[string]string{"apiKey": key})
	if err != nil {
		return nil, fmt.Errorf("writing the question: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.URL, bytes.NewReader(question))
	if err != nil {
		return nil, fmt.Errorf("making the question: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the validation service: %w", err)
	}
	return response, nil
}

// judgeStatus passes an answer that is about the key, and tells one about the
// question from one about the provider.
func (a *Authenticator) judgeStatus(ctx context.Context, status int) error {
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		a.misconfigured(ctx, "the validation service does not validate keys", status)
		return invalid("the validation service answered %d", status)
	case status >= 300 && status < 400:
		a.misconfigured(ctx, "the validation service redirects, and keys are sent to nobody else", status)
	}
	return fmt.Errorf("the validation service answered %d", status)
}

// misconfigured tells operators what no client may be told.
func (a *Authenticator) misconfigured(ctx context.Context, reason string, status int) {
	a.cfg.Log.LogAttrs(ctx, slog.LevelError, "API keys cannot be validated: check auth.better_auth.validation_url",
		slog.String("reason", reason), slog.Int("status", status))
}
