package deploy_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/flovyn/flovyn-server/internal/config"
)

func read(t *testing.T, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, elements...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents decodes every document of a YAML file.
func documents(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if err == io.EOF { //nolint:errorlint // what the decoder documents
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, document)
	}
}

// at follows a path of keys and indices into a document.
func at(t *testing.T, value any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := value.(map[string]any)
			value = m[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// Every YAML file is one, and the dashboard is JSON.
func TestSyntax(t *testing.T) {
	t.Parallel()
	n := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "deploy"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "templates") {
			return err
		}
		if strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml") {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(documents(t, string(text))) == 0 {
				t.Errorf("%s is empty", path)
			}
			n++
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d files, %v", n, err)
	}
}

// The unit is the guide's, and more: what it says is said here too.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	unit := read(t, "deploy", "systemd", "flovyn-server.service")
	lines := strings.Split(unit, "\n")
	for _, want := range []string{
		"Description=Flovyn Server", "After=network.target postgresql.service", "Type=simple", "User=flovyn",
		"Environment=CONFIG_FILE=/etc/flovyn/config.toml",
		"Environment=DATABASE_URL=postgres://flovyn:password@localhost:5432/flovyn",
		"ExecStart=/usr/local/bin/flovyn-server", "Restart=always", "WantedBy=multi-user.target",
		"NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q", want)
		}
	}
	if users := read(t, "deploy", "systemd", "flovyn-server.sysusers.conf"); !strings.Contains(users, "\nu flovyn ") {
		t.Error("nobody makes the user flovyn")
	}
	if files := read(t, "deploy", "systemd", "flovyn-server.tmpfiles.conf"); !strings.Contains(files, "\nd /etc/flovyn 0750 root flovyn") {
		t.Error("nobody makes /etc/flovyn")
	}
}

// The image runs as nobody in particular, in nothing but itself, and is where the
// guide mounts its configuration.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy", "Dockerfile")
	for _, want := range []string{
		"\nFROM scratch\n", "CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH", "\nWORKDIR /app\n", "\nUSER 65532:65532\n",
		"\nEXPOSE 8000 9090 9093\n", `CMD ["/app/flovyn-server", "health"]`, "\nENTRYPOINT [\"/app/flovyn-server\"]\n", "ca-certificates.crt",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	version := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if len(version) != 2 || !strings.Contains(text, "golang:"+version[1]+"-") {
		t.Errorf("it builds with another Go than go.mod's %v", version)
	}
}

// The configurations are valid as they stand, and those of the manifests are the
// same.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	values := documents(t, read(t, "deploy", "helm", "flovyn-server", "values.yaml"))[0]
	chart, _ := values["config"].(string)
	texts := map[string]string{
		"self-hosted": read(t, "deploy", "config", "self-hosted.toml"), "SaaS": read(t, "deploy", "config", "saas.toml"), "chart": chart,
	}
	for name, text := range texts {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file, []string{"DATABASE_URL=postgres://flovyn:password@db:5432/flovyn"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := cfg.Buildable(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if cfg.Server.HTTPPort != 8000 || cfg.Server.GRPCPort != 9090 || !cfg.Metrics.Enabled || cfg.Metrics.Port != 9093 || cfg.Server.Drain == 0 {
			t.Errorf("%s: %+v %+v", name, cfg.Server, cfg.Metrics)
		}
		if grace := 40; int(cfg.Server.ShutdownTimeout.Seconds()) >= grace {
			t.Errorf("%s: stopping may take longer than the %d s that it is given", name, grace)
		}
	}
	if texts["SaaS"] != read(t, "deploy", "kubernetes", "config.toml") {
		t.Error("deploy/kubernetes/config.toml is not deploy/config/saas.toml")
	}
}

// The manifests are the guide's, and more.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	all := slices.Concat(documents(t, read(t, "deploy", "kubernetes", "deployment.yaml")), documents(t, read(t, "deploy", "kubernetes", "service.yaml")))
	kinds := map[string]map[string]any{}
	for _, d := range all {
		kind, _ := d["kind"].(string)
		kinds[kind] = d
	}
	deployment, service := kinds["Deployment"], kinds["Service"]
	container := []any{"spec", "template", "spec", "containers", 0}
	for _, want := range []struct {
		in    map[string]any
		path  []any
		value any
	}{
		{deployment, []any{"metadata", "name"}, "flovyn-server"},
		{deployment, []any{"spec", "replicas"}, 3},
		{deployment, []any{"spec", "selector", "matchLabels", "app"}, "flovyn-server"},
		{deployment, slices.Concat(container, []any{"image"}), "ghcr.io/flovyn/flovyn-server:latest"},
		{deployment, slices.Concat(container, []any{"ports", 0, "containerPort"}), 8000},
		{deployment, slices.Concat(container, []any{"ports", 1, "containerPort"}), 9090},
		{deployment, slices.Concat(container, []any{"env", 0, "name"}), "DATABASE_URL"},
		{deployment, slices.Concat(container, []any{"env", 0, "valueFrom", "secretKeyRef", "name"}), "flovyn-secrets"},
		{deployment, slices.Concat(container, []any{"env", 0, "valueFrom", "secretKeyRef", "key"}), "database-url"},
		{deployment, slices.Concat(container, []any{"env", 2, "value"}), "/app/config.toml"},
		{deployment, slices.Concat(container, []any{"volumeMounts", 0, "mountPath"}), "/app/config.toml"},
		{deployment, slices.Concat(container, []any{"readinessProbe", "httpGet", "path"}), "/_/health/ready"},
		{deployment, slices.Concat(container, []any{"livenessProbe", "httpGet", "path"}), "/_/health/live"},
		{deployment, slices.Concat(container, []any{"securityContext", "readOnlyRootFilesystem"}), true},
		{deployment, []any{"spec", "template", "spec", "volumes", 0, "configMap", "name"}, "flovyn-config"},
		{deployment, []any{"spec", "template", "spec", "terminationGracePeriodSeconds"}, 45},
		{service, []any{"spec", "ports", 0, "port"}, 8000},
		{service, []any{"spec", "ports", 1, "port"}, 9090},
		{kinds["PodDisruptionBudget"], []any{"spec", "maxUnavailable"}, 1},
		{kinds["NetworkPolicy"], []any{"spec", "policyTypes", 0}, "Ingress"},
	} {
		if got := at(t, want.in, want.path...); got != want.value {
			t.Errorf("%v is %v, want %v", want.path, got, want.value)
		}
	}
}

// Compose runs the guide's image with the guide's variables.
func TestCompose(t *testing.T) {
	t.Parallel()
	services, _ := documents(t, read(t, "deploy", "compose.yaml"))[0]["services"].(map[string]any)
	for _, want := range []struct {
		path  []any
		value any
	}{
		{[]any{"flovyn-server", "environment", "CONFIG_FILE"}, "/app/config.toml"},
		{[]any{"flovyn-server", "image"}, "ghcr.io/flovyn/flovyn-server:${FLOVYN_VERSION:-latest}"},
		{[]any{"flovyn-server", "ports", 0}, "8000:8000"},
		{[]any{"flovyn-server", "ports", 1}, "9090:9090"},
		{[]any{"flovyn-server", "depends_on", "postgres", "condition"}, "service_healthy"},
		{[]any{"dev", "profiles", 0}, "dev"},
		{[]any{"dev", "ports", 0}, "127.0.0.1:8000:8000"},
	} {
		if got := at(t, services, want.path...); got != want.value {
			t.Errorf("%v is %v, want %v", want.path, got, want.value)
		}
	}
}

// Alerts and dashboard ask for metrics that there are, and the dashboard for all.
func TestMetricsInUse(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(flovyn_[a-z_]+)` \\|").FindAllStringSubmatch(read(t, "docs", "metrics.md"), -1) {
		known[row[1]] = false
	}
	dashboard := read(t, "deploy", "grafana", "flovyn.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is not JSON")
	}
	for file, text := range map[string]string{"flovyn.json": dashboard, "alerts.yml": read(t, "deploy", "prometheus", "alerts.yml")} {
		for _, name := range regexp.MustCompile(`\bflovyn_[a-z_]+\b`).FindAllString(text, -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if _, ok := known[name]; !ok {
				t.Errorf("%s: there is no metric %s", file, name)
			}
			if file == "flovyn.json" {
				known[name] = true
			}
		}
	}
	for name, shown := range known {
		if !shown {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}
