package standin

import (
	"html/template"
	"net/http"
	"net/url"
)

// pageTemplate is the one page: who to be, and then what to do about a code.
var pageTemplate = template.Must(template.New("device").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in a device</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 4rem auto; padding: 0 1rem }
input { font: 1.5rem monospace; width: 12ch; text-transform: uppercase }
button { font: inherit; margin: .5rem .5rem .5rem 0; padding: .4rem 1rem }
</style>
<h1>Sign in a device</h1>
{{with .Message}}<p role="status"><strong>{{.}}</strong></p>{{end}}
{{if .User}}
<p>You are {{.User.Name}} ({{.User.Email}}).</p>
<form method="post" action="/device">
<p><label>The code that the device shows:<br><input name="user_code" value="{{.Code}}" autocomplete="off" required></label></p>
{{with .Client}}<p>The program calls itself <code>{{.}}</code>. Approve only what you have started yourself.</p>{{end}}
<button name="decision" value="approve">Approve</button><button name="decision" value="deny">Deny</button>
</form>
{{else}}
<p>This stand-in for an identity provider has no passwords. Who do you want to be?</p>
<form method="post" action="/sign-in">
<input type="hidden" name="user_code" value="{{.Code}}">
{{range .Users}}<button name="user" value="{{.ID}}">{{.Name}} ({{.Email}})</button>{{else}}<p>There are no users.</p>{{end}}
</form>
{{end}}
</html>
`))

type page struct {
	Message, Code, Client string
	User                  *User
	Users                 []User
}

// render shows the page to whoever asks. Called with the lock held.
func (a *App) render(w http.ResponseWriter, r *http.Request, status int, p page) {
	if s := a.sessionOf(r); s != nil {
		user := a.users[s.user]
		p.User = &user
	}
	p.Users = a.usersByName()
	if d, _, _ := a.deviceByUserCode(p.Code); d != nil {
		p.Client = d.client
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	// No other page may show this one in a frame and have it clicked.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	// The browser may be gone; there is nobody else to tell.
	_ = pageTemplate.Execute(w, p)
}

func (a *App) servePage(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.render(w, r, http.StatusOK, page{Code: r.URL.Query().Get("user_code")})
}

// servePageDecision is the page's form.
func (a *App) servePageDecision(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("user_code")
	state, message := denied, "Denied. You can close this page."
	if r.PostFormValue("decision") == "approve" {
		state, message = approved, "Approved. You can close this page."
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessionOf(r)
	if s == nil {
		a.render(w, r, http.StatusUnauthorized, page{Code: code, Message: "Say first who you are."})
		return
	}
	if problem, description := a.decide(s, code, state); problem != "" {
		a.render(w, r, http.StatusBadRequest, page{Code: code, Message: description + "."})
		return
	}
	a.render(w, r, http.StatusOK, page{Message: message})
}

// serveSignIn begins a session in the browser.
func (a *App) serveSignIn(w http.ResponseWriter, r *http.Request) {
	token, err := a.SignIn(r.PostFormValue("user"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		MaxAge: int(a.cfg.SessionLifetime.Seconds()),
	})
	back := url.URL{Path: "/device", RawQuery: url.Values{"user_code": {r.PostFormValue("user_code")}}.Encode()}
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}
