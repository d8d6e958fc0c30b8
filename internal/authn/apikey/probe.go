package apikey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// probeKey is no key of anybody's.
const probeKey = "flovyn_sk_doctor_asks_about_no_key"

// Probe asks a validation service about a key that is none, as the authenticator
// does, and returns why its answer cannot be used.
func Probe(ctx context.Context, address string, timeout time.Duration) error {
	if err := CheckURL(address); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := &Authenticator{cfg: Config{URL: address}, client: newClient()}
	defer a.client.CloseIdleConnections()
	response, err := a.post(ctx, probeKey)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the validation service answered %d to a question about a key that is not valid; want 200 and {\"valid\": false}", response.StatusCode)
	}
	var answer struct {
		Valid *bool `json:"valid"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil || answer.Valid == nil {
		return errors.New("the validation service's answer is no JSON object with a field valid")
	}
	if *answer.Valid {
		return errors.New("the validation service calls a key valid that nobody has made")
	}
	return nil
}
