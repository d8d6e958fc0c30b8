// Manifests checks what is in deploy/ for Kubernetes: it renders the Helm chart,
// with its defaults and with each file of values that is given for tests, and
// decodes every object, of the chart and of the plain manifests, strictly: an
// unknown field, a wrong type or a kind that Kubernetes does not have is an error.
//
//	go run . ../../deploy
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(deploy string) error {
	var failures []error
	plain, err := filepath.Glob(filepath.Join(deploy, "kubernetes", "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range plain {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if filepath.Base(file) == "kustomization.yaml" {
			continue // no object of the cluster's
		}
		failures = append(failures, decode(file, string(text)))
	}
	dir := filepath.Join(deploy, "helm", "flovyn-server")
	variants, err := filepath.Glob(filepath.Join(dir, "ci", "*.yaml"))
	if err != nil {
		return err
	}
	for _, values := range append([]string{""}, variants...) {
		failures = append(failures, render(dir, values))
	}
	return errors.Join(failures...)
}

// render renders the chart with values from a file.
func render(dir, file string) error {
	chart, err := loader.Load(dir)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if file != "" {
		if values, err = chartutil.ReadValuesFile(file); err != nil {
			return err
		}
	}
	var failures []error
	for _, m := range lint.All(dir, values, "flovyn", true).Messages {
		if m.Severity >= support.WarningSev {
			failures = append(failures, fmt.Errorf("%s with %q: %s", dir, file, m))
		}
	}
	merged, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "flovyn", Namespace: "flovyn", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(chart, merged)
	if err != nil {
		return err
	}
	var names []string
	for name := range rendered {
		if strings.HasSuffix(name, ".yaml") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		failures = append(failures, decode(name+" with "+filepath.Base(file), rendered[name]))
	}
	return errors.Join(failures...)
}

// decode decodes every document of a file strictly.
func decode(name, text string) error {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var failures []error
	for i, document := range strings.Split("\n"+text, "\n---") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		object, kind, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s, document %d: %w", name, i, err))
			continue
		}
		_ = object
		fmt.Println("ok", name, kind.Kind)
	}
	return errors.Join(failures...)
}
