// Package openapitest holds requests and answers against the document of the REST
// API, for tests that send them to a real server.
package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// resource is the name under which the document's schemas are known.
const resource = "openapi.json"

// Checker knows a document, and which of its operations were seen.
type Checker struct {
	compiler *jsonschema.Compiler
	root     map[string]any

	mu   sync.Mutex
	seen map[string]bool // by operation id
}

// Exchange is a request and its answer.
type Exchange struct {
	Method string
	// URL is the path with the query.
	URL    string
	Header http.Header
	Body   []byte

	Status       int
	AnswerHeader http.Header
	Answer       []byte
	// Refused says that the request is meant to be wrong, and is not held against
	// the document.
	Refused bool
}

// New reads a document.
func New(tb testing.TB, document []byte) *Checker {
	tb.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		tb.Fatalf("the document is no JSON: %v", err)
	}
	root, ok := value.(map[string]any)
	if !ok {
		tb.Fatal("the document is no object")
	}
	c := &Checker{compiler: jsonschema.NewCompiler(), root: root, seen: map[string]bool{}}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(resource, value); err != nil {
		tb.Fatalf("reading the schemas: %v", err)
	}
	return c
}

// Check holds a request and its answer against the document.
func (c *Checker) Check(tb testing.TB, x Exchange) {
	tb.Helper()
	if err := c.Conforms(x); err != nil {
		tb.Errorf("%s %s, answered %d, is not as documented: %v\nrequest: %s\nanswer: %s", x.Method, x.URL, x.Status, err, x.Body, x.Answer)
	}
}

// Conforms returns in what a request or its answer is not as documented.
func (c *Checker) Conforms(x Exchange) error {
	u, err := url.Parse(x.URL)
	if err != nil {
		return err
	}
	at, operation, variables := c.find(strings.ToLower(x.Method), u.EscapedPath())
	if operation == nil {
		return errors.New("the document has no such operation")
	}
	id, _ := operation["operationId"].(string)
	c.mu.Lock()
	c.seen[id] = c.seen[id] || x.Status < 300
	c.mu.Unlock()
	if !x.Refused {
		if err := c.checkRequest(at, operation, variables, u.Query(), x); err != nil {
			return fmt.Errorf("the request of %s: %w", id, err)
		}
	}
	if err := c.checkAnswer(at, operation, x); err != nil {
		return fmt.Errorf("the answer of %s: %w", id, err)
	}
	return nil
}

// Missing returns the operations that never succeeded, in order.
func (c *Checker) Missing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for id := range c.Operations() {
		if !c.seen[id] {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	return missing
}

// Operations returns all operations by their ids, as "METHOD /path".
func (c *Checker) Operations() map[string]string {
	all := map[string]string{}
	paths, _ := c.root["paths"].(map[string]any)
	for path, item := range paths {
		methods, _ := item.(map[string]any)
		for method, operation := range methods {
			o, _ := operation.(map[string]any)
			id, _ := o["operationId"].(string)
			all[id] = strings.ToUpper(method) + " " + path
		}
	}
	return all
}

// find returns the operation of a path, where it stands, and what its variables
// are. A literal is nearer than a variable.
func (c *Checker) find(method, path string) (at string, operation map[string]any, variables map[string]string) {
	paths, _ := c.root["paths"].(map[string]any)
	best := -1
	for template, item := range paths {
		methods, _ := item.(map[string]any)
		o, ok := methods[method].(map[string]any)
		if !ok {
			continue
		}
		if bound, literals, ok := match(template, path); ok && literals > best {
			best, operation, variables = literals, o, bound
			at = "/paths/" + escape(template) + "/" + method
		}
	}
	return at, operation, variables
}

func match(template, path string) (variables map[string]string, literals int, ok bool) {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, 0, false
	}
	variables = map[string]string{}
	for i, segment := range want {
		if name, variable := strings.CutPrefix(segment, "{"); variable {
			text, err := url.PathUnescape(have[i])
			if err != nil || text == "" {
				return nil, 0, false
			}
			variables[strings.TrimSuffix(name, "}")] = text
			continue
		}
		if segment != have[i] {
			return nil, 0, false
		}
		literals++
	}
	return variables, literals, true
}

// escape writes a name as a part of a JSON pointer in a URL.
func escape(name string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}

func (c *Checker) checkRequest(at string, operation map[string]any, variables map[string]string, query url.Values, x Exchange) error {
	parameters, _ := operation["parameters"].([]any)
	known := map[string]bool{}
	for i, p := range parameters {
		parameter, _ := p.(map[string]any)
		name, _ := parameter["name"].(string)
		var texts []string
		switch parameter["in"] {
		case "path":
			texts = []string{variables[name]}
		case "query":
			known[name] = true
			texts = query[name]
		case "header":
			texts = x.Header.Values(name)
		}
		if len(texts) == 0 {
			if parameter["required"] == true {
				return fmt.Errorf("the parameter %s is missing", name)
			}
			continue
		}
		if err := c.checkParameter(at+"/parameters/"+strconv.Itoa(i)+"/schema", parameter, texts); err != nil {
			return fmt.Errorf("the parameter %s: %w", name, err)
		}
	}
	for name := range query {
		if !known[name] {
			return fmt.Errorf("there is no parameter %s", name)
		}
	}
	body, ok := operation["requestBody"].(map[string]any)
	switch {
	case ok && len(x.Body) > 0:
		return c.checkJSON(at+"/requestBody/content/"+escape("application/json")+"/schema", x.Body)
	case ok && body["required"] == true:
		return errors.New("the body is missing")
	case !ok && len(x.Body) > 0:
		return errors.New("there is no body")
	default:
		return nil
	}
}

// checkParameter holds a parameter against its schema, as the JSON that it stands
// for.
func (c *Checker) checkParameter(at string, parameter map[string]any, texts []string) error {
	schema, _ := parameter["schema"].(map[string]any)
	if schema["type"] == "array" {
		items, _ := schema["items"].(map[string]any)
		values := make([]string, len(texts))
		for i, text := range texts {
			values[i] = asJSON(items, text)
		}
		return c.checkJSON(at, []byte("["+strings.Join(values, ",")+"]"))
	}
	if len(texts) > 1 {
		return fmt.Errorf("it is given %d times", len(texts))
	}
	return c.checkJSON(at, []byte(asJSON(schema, texts[0])))
}

func asJSON(schema map[string]any, text string) string {
	switch schema["type"] {
	case "integer", "number", "boolean", nil:
		return text
	default:
		quoted, _ := json.Marshal(text) // a string always encodes
		return string(quoted)
	}
}

func (c *Checker) checkAnswer(at string, operation map[string]any, x Exchange) error {
	responses, _ := operation["responses"].(map[string]any)
	status := strconv.Itoa(x.Status)
	response, ok := responses[status].(map[string]any)
	if !ok {
		return fmt.Errorf("the status %s is not among %v", status, slices.Sorted(maps.Keys(responses)))
	}
	at += "/responses/" + status
	if reference, ok := response["$ref"].(string); ok {
		at = strings.TrimPrefix(reference, "#")
		components, _ := c.root["components"].(map[string]any)
		shared, _ := components["responses"].(map[string]any)
		response, _ = shared[strings.TrimPrefix(at, "/components/responses/")].(map[string]any)
	}
	content, ok := response["content"].(map[string]any)
	if !ok {
		if len(x.Answer) > 0 {
			return errors.New("there is a body")
		}
		return nil
	}
	if x.Method == http.MethodHead {
		return nil
	}
	kind := x.AnswerHeader.Get("Content-Type")
	if _, ok := content[kind]; !ok {
		return fmt.Errorf("its type %q is not among %v", kind, slices.Sorted(maps.Keys(content)))
	}
	if kind != "application/json" {
		return nil // events are no JSON
	}
	return c.checkJSON(at+"/content/"+escape(kind)+"/schema", x.Answer)
}

// checkJSON holds JSON against the schema at a place.
func (c *Checker) checkJSON(at string, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	c.mu.Lock()
	schema, err := c.compiler.Compile(resource + "#" + at)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("the schema at %s: %w", at, err)
	}
	return schema.Validate(value)
}
