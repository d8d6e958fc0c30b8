package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeCertificate makes a key pair, in PEM.
func writeCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", certificate), write("key.pem", "PRIVATE KEY", private)
}

// Files that are absent, or say what cannot be used, are found before serving,
// by the line that names them.
func TestFilesMustBeUsable(t *testing.T) {
	t.Parallel()
	cert, key := writeCertificate(t)
	_, otherKey := writeCertificate(t)
	policy := func(text string) string {
		file := filepath.Join(t.TempDir(), "policy.cedar")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tlsText := func(cert, key string) string {
		return minimal + "[server]\ntls_cert_file = \"" + cert + "\"\ntls_key_file = \"" + key + "\"\n"
	}
	cedarText := func(file string) string { return minimal + "[auth.cedar]\npolicy_path = \"" + file + "\"\n" }
	const nowhere = "/does/not/exist"
	for name, test := range map[string]struct {
		text    string
		environ []string
		want    []string // of each line
	}{
		"a pair":           {text: tlsText(cert, key)},
		"no certificate":   {text: tlsText(nowhere, key), want: []string{"config.toml:7: server.tls_cert_file: open /does/not/exist: "}},
		"no key":           {text: tlsText(cert, nowhere), want: []string{"config.toml:8: server.tls_key_file: open /does/not/exist: "}},
		"neither":          {text: tlsText(nowhere, nowhere), want: []string{":7: server.tls_cert_file: open", ":8: server.tls_key_file: open"}},
		"no pair":          {text: tlsText(cert, otherKey), want: []string{"config.toml:7: server.tls_cert_file: cannot be used with server.tls_key_file: "}},
		"not PEM":          {text: tlsText(policy("x"), key), want: []string{"config.toml:7: server.tls_cert_file: cannot be used"}},
		"a policy":         {text: cedarText(policy("permit (principal is Flovyn::User, action, resource);"))},
		"no policy file":   {text: cedarText(nowhere), want: []string{"config.toml:7: auth.cedar.policy_path: reading policies: open /does/not/exist: "}},
		"no policy":        {text: cedarText(policy("")), want: []string{"config.toml:7: auth.cedar.policy_path: "}},
		"no Cedar":         {text: cedarText(policy("allow everybody")), want: []string{"config.toml:7: auth.cedar.policy_path: parsing policies of "}},
		"another schema":   {text: cedarText(policy("permit (principal is Robot, action, resource);\npermit (principal is Dog, action, resource);")), want: []string{"config.toml:7: auth.cedar.policy_path: "}},
		"by variable":      {text: minimal, environ: []string{"AUTH__CEDAR__POLICY_PATH=" + nowhere}, want: []string{"environment variable AUTH__CEDAR__POLICY_PATH: auth.cedar.policy_path: reading"}},
		"nobody asks them": {text: cedarText(nowhere), environ: []string{"AUTH__ENDPOINTS__HTTP__AUTHORIZER=org_scope", "AUTH__ENDPOINTS__GRPC__AUTHORIZER=org_scope"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := loadText(t, test.text, test.environ...)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			if err := cfg.Buildable(); err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(test.want) {
				t.Fatalf("got %q, want %q", lines, test.want)
			}
			for i, want := range test.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("got %q, want %q", lines[i], want)
				}
			}
		})
	}
}

// What needs the database alone is content with it; what is not understood is
// refused all the same.
func TestLoadDatabase(t *testing.T) {
	t.Parallel()
	const url = "postgres://u:hunter2@h/d"
	for name, test := range map[string]struct {
		text    string
		environ []string
		want    string
	}{
		"in the file":          {text: "[database]\nurl = \"" + url + "\"\n"},
		"in the environment":   {environ: []string{"DATABASE_URL=" + url}},
		"nowhere":              {want: "database.url: required"},
		"an unknown setting":   {text: "databse_url = \"" + url + "\"\n", want: "databse_url: unknown setting"},
		"what is no URL":       {environ: []string{"DATABASE_URL=postgres://u:hunter2@h:port/d"}, want: "environment variable DATABASE_URL: database.url: "},
		"what is no URL, file": {text: "[database]\nurl = \"postgres://u:hunter2@h/d?sslmode=maybe\"\n", want: "config.toml:2: database.url: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			database, err := LoadDatabase(file, test.environ)
			switch {
			case test.want == "" && (err != nil || database.URL != url):
				t.Errorf("got %q, %v", string(database.URL), err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
