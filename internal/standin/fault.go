package standin

import (
	"bytes"
	"io"
	"net/http"
)

// A Fault answers a request in the place of the stand-in.
type Fault func(w http.ResponseWriter, r *http.Request)

// Down closes the connection without an answer.
func Down(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2 and handlers without a connection: nothing to close
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = connection.Close()
}

// Slow does not answer until the client gives up, which the server only notices
// once the request is read, or until the stand-in is closed.
func Slow(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// Huge answers with sixteen mebibytes of what begins like JSON.
func Huge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	chunk[0] = '{'
	for range 16 {
		if _, err := w.Write(chunk); err != nil {
			return // the client has had enough
		}
		chunk[0] = ' '
	}
}

// TooManyRequests answers 429.
func TooManyRequests(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "60")
	writeJSON(w, http.StatusTooManyRequests, map[string]string{"message": "Too many requests. Please try again later."})
}

// Broken answers 500.
func Broken(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Internal Server Error", http.StatusInternalServerError)
}

// NotJSON answers 200 with a page, as a proxy with a login form does.
func NotJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>Sign in</title>"))
}

// Redirect sends the client elsewhere.
func Redirect(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, http.StatusFound) }
}

// Fail makes a path fail from now on; a nil fault heals it.
func (a *App) Fail(path string, fault Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[path] = fault
}

// Requests returns how often a path was asked for.
func (a *App) Requests(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[path]
}

// count notes a request, and returns how it is to fail, if it is.
func (a *App) count(path string) Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests[path]++
	return a.faults[path]
}

// SlowDown answers a device that it asks too often.
func SlowDown(w http.ResponseWriter, _ *http.Request) {
	refuse(w, "slow_down", "Polling too frequently")
}
